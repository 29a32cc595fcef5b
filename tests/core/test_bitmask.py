"""Bits as texts and as bytes: what is packed comes out again, and what is no such text is told from it."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from crackdet.core.bitmask import count, one_by_one, pack, unpack

answers = st.integers(0, 40).flatmap(
    lambda number: st.lists(st.lists(st.booleans(), min_size=number, max_size=number), min_size=1, max_size=5)
)


@given(answers)
def test_what_was_packed_comes_out_again(rows: list[list[bool]]) -> None:
    number = len(rows[0])
    packed, known = unpack([pack(np.array(row, bool)) for row in rows], number)
    assert known.all()
    assert one_by_one(packed, number).tolist() == rows
    assert count(packed).tolist() == [sum(row) for row in rows]


@given(answers, st.integers(0, 40))
def test_a_text_of_another_number_of_bytes_is_not_known(rows: list[list[bool]], number: int) -> None:
    _, known = unpack([pack(np.array(row, bool)) for row in rows], number)
    fits = -(-number // 8) == -(-len(rows[0]) // 8)
    assert known.tolist() == [fits] * len(rows)


def test_other_texts_are_not_known_and_hold_nothing() -> None:
    sound = pack(np.ones(3, bool))
    packed, known = unpack([None, "", "!", "4", "4A=", "ü", sound, "/w=="], 3)
    assert known.tolist() == [False] * 6 + [True, True]
    assert count(packed).tolist() == [0] * 6 + [3, 3]  # the bits beyond the third do not count
