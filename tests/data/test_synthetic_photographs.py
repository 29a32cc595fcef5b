"""Synthetic photographs of whole walls."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crackdet.data.synthetic.photographs import SyntheticPhotograph, render_photograph

SIZE = (160, 120)


def render_some(number: int = 24, **changed: float) -> list[SyntheticPhotograph]:
    return [render_photograph(index, seed=0, size=SIZE, **changed) for index in range(number)]


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 2**63 - 1), st.tuples(st.integers(64, 200), st.integers(64, 200)))
def test_the_same_parameters_give_the_same_photograph_of_the_requested_size(
    index: int, seed: int, size: tuple[int, int]
) -> None:
    first, again = (render_photograph(index, seed=seed, size=size) for _ in range(2))
    assert first.image.shape == (size[1], size[0], 3) and first.mask.shape == (size[1], size[0])
    assert np.array_equal(first.image, again.image) and np.array_equal(first.mask, again.mask)


def test_every_index_and_every_seed_give_another_photograph() -> None:
    images = {
        render_photograph(index, seed=seed, size=(64, 64)).image.tobytes() for index in range(4) for seed in range(4)
    }
    assert len(images) == 16


def test_each_crack_pixel_is_in_a_box_and_each_box_is_the_smallest() -> None:
    for photograph in render_some():
        covered = np.zeros_like(photograph.mask)
        for left, top, right, bottom in photograph.boxes:
            inside = photograph.mask[top:bottom, left:right]
            assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()
            covered[top:bottom, left:right] = True
        assert not (photograph.mask & ~covered).any()


def test_some_walls_are_clean_and_others_have_several_cracks() -> None:
    counts = [len(photograph.boxes) for photograph in render_some()]
    assert min(counts) == 0 and max(counts) >= 2
    shares = [photograph.mask.mean() for photograph in render_some()]
    assert max(shares) < 0.3


@pytest.mark.parametrize("difficulty", [0.0, 1.0])
def test_cracks_are_darker_than_the_wall(difficulty: float) -> None:
    cracked = [one for one in render_some(difficulty=difficulty) if one.mask.any()]
    depths = [one.image[~one.mask].mean() - one.image[one.mask].mean() for one in cracked]
    assert np.mean(depths) > 15.0
