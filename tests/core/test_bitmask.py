"""Bits as text and as bytes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from crackdet.core.bitmask import count_set, decode, encode, unpack

bit_rows = st.integers(0, 40).flatmap(
    lambda number: st.lists(st.lists(st.booleans(), min_size=number, max_size=number), min_size=1, max_size=5)
)


@given(bit_rows)
def test_packing_round_trips(rows: list[list[bool]]) -> None:
    number = len(rows[0])
    packed, valid = decode([encode(np.array(row, bool)) for row in rows], number)
    assert valid.all()
    assert unpack(packed, number).tolist() == rows
    assert count_set(packed).tolist() == [sum(row) for row in rows]


@given(bit_rows, st.integers(0, 40))
def test_a_text_of_another_number_of_bytes_is_invalid(rows: list[list[bool]], number: int) -> None:
    _, valid = decode([encode(np.array(row, bool)) for row in rows], number)
    fits = -(-number // 8) == -(-len(rows[0]) // 8)
    assert valid.tolist() == [fits] * len(rows)


def test_other_texts_are_invalid_and_give_zeros() -> None:
    text = encode(np.ones(3, bool))
    packed, valid = decode([None, "", "!", "4", "4A=", "ü", text, "/w=="], 3)
    assert valid.tolist() == [False] * 6 + [True, True]
    assert count_set(packed).tolist() == [0] * 6 + [3, 3]  # bits beyond the third do not count
