"""Synthetic images, tested through the public interface of their module."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from crackdet.data import synthetic
from crackdet.data.synthetic import SyntheticImage, label

seeds = st.integers(0, 2**32 - 1)
indices = st.integers(0, 10**6)
shares = st.floats(0.0, 1.0)


def render_one(index: int, **changed: float) -> SyntheticImage:
    defaults = {"seed": 0, "image_size": 64, "crack_fraction": 0.5, "hard_negatives": 0.5, "difficulty": 0.5}
    return synthetic.render(index, **(defaults | changed))  # type: ignore[arg-type]


def thumbnail(image: NDArray[np.uint8], cells: int = 8) -> NDArray[np.float64]:
    """Return the mean grey level of cells x cells tiles; the image size must be a multiple of cells."""
    tile = image.shape[0] // cells
    return np.asarray(image.mean(axis=2).reshape(cells, tile, cells, tile).mean(axis=(1, 3)))


@settings(max_examples=15, deadline=None)
@given(index=indices, seed=seeds, crack_fraction=shares, hard_negatives=shares, difficulty=shares)
def test_the_same_parameters_give_the_same_image_whatever_was_rendered_before(
    index: int, seed: int, crack_fraction: float, hard_negatives: float, difficulty: float
) -> None:
    parameters = {
        "seed": seed,
        "crack_fraction": crack_fraction,
        "hard_negatives": hard_negatives,
        "difficulty": difficulty,
    }
    first = render_one(index, **parameters)
    render_one(index + 1, **parameters)
    again = render_one(index, **parameters)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.mask, again.mask)
    assert first.kind == again.kind


def test_the_order_of_rendering_does_not_matter() -> None:
    forwards = [render_one(index).image for index in range(12)]
    backwards = [render_one(index).image for index in reversed(range(12))]
    assert np.array_equal(forwards, backwards[::-1])


def test_every_index_and_every_seed_give_another_image() -> None:
    images = {render_one(index, seed=seed).image.tobytes() for index in range(10) for seed in range(5)}
    assert len(images) == 50


@settings(max_examples=40, deadline=None)
@given(
    index=indices,
    seed=seeds,
    crack_fraction=shares,
    hard_negatives=shares,
    difficulty=shares,
    size=st.integers(24, 96),
)
def test_the_label_agrees_with_the_mask_and_a_crack_has_a_visible_length(
    index: int, seed: int, crack_fraction: float, hard_negatives: float, difficulty: float, size: int
) -> None:
    rendered = synthetic.render(
        index,
        seed=seed,
        image_size=size,
        crack_fraction=crack_fraction,
        hard_negatives=hard_negatives,
        difficulty=difficulty,
    )
    cracked = label(index, seed=seed, crack_fraction=crack_fraction)
    assert bool(rendered.mask.any()) == cracked == (rendered.kind == "crack")
    if cracked:
        assert rendered.mask.sum() >= size / 4


@pytest.mark.parametrize("size", [24, 37, 64, 224, 300])
def test_images_have_the_requested_size(size: int) -> None:
    rendered = render_one(3, image_size=size, crack_fraction=1.0)
    assert rendered.image.shape == (size, size, 3)
    assert rendered.image.dtype == np.uint8
    assert rendered.mask.shape == (size, size)
    assert rendered.mask.dtype == np.bool_


@pytest.mark.parametrize("index", range(6))
def test_another_size_shows_the_same_content(index: int) -> None:
    small = render_one(index, image_size=64)
    large = render_one(index, image_size=192)
    unrelated = render_one(index + 100, image_size=192)
    assert np.abs(thumbnail(small.image) - thumbnail(large.image)).max() < 8.0
    assert np.abs(thumbnail(small.image) - thumbnail(unrelated.image)).max() > 8.0
    assert small.kind == large.kind


@pytest.mark.parametrize("difficulty", [0.0, 0.5, 1.0])
def test_cracks_are_darker_than_their_surroundings(difficulty: float) -> None:
    images = [render_one(index, crack_fraction=1.0, difficulty=difficulty) for index in range(40)]
    depths = [d.image[~d.mask].mean() - d.image[d.mask].mean() for d in images]
    assert np.mean([depth > 5.0 for depth in depths]) > 0.9
    assert np.mean(depths) > 20.0


def test_difficulty_makes_cracks_finer_and_fainter() -> None:
    easy, hard = ([render_one(i, crack_fraction=1.0, difficulty=d) for i in range(40)] for d in (0.0, 1.0))
    assert np.mean([d.mask.mean() for d in easy]) > 1.3 * np.mean([d.mask.mean() for d in hard])
    depth = [np.mean([d.image[~d.mask].mean() - d.image[d.mask].mean() for d in ds]) for ds in (easy, hard)]
    assert depth[0] > 1.3 * depth[1]


@pytest.mark.parametrize("crack_fraction", [0.0, 0.2, 0.5, 1.0])
def test_the_share_of_cracks_is_near_the_crack_fraction(crack_fraction: float) -> None:
    share = np.mean([label(index, seed=7, crack_fraction=crack_fraction) for index in range(4000)])
    assert share == pytest.approx(crack_fraction, abs=0.03)


@given(index=indices, seed=seeds, low=shares, high=shares)
def test_raising_the_crack_fraction_only_adds_cracks(index: int, seed: int, low: float, high: float) -> None:
    low, high = sorted((low, high))
    assert label(index, seed=seed, crack_fraction=low) <= label(index, seed=seed, crack_fraction=high)


def test_without_hard_negatives_all_negatives_are_plain() -> None:
    kinds = {render_one(index, crack_fraction=0.0, hard_negatives=0.0).kind for index in range(40)}
    assert kinds == {"plain"}


def test_all_hard_negatives_have_a_distractor_and_every_kind_occurs() -> None:
    kinds = {render_one(index, crack_fraction=0.0, hard_negatives=1.0).kind for index in range(60)}
    assert kinds == set(synthetic.DISTRACTORS)


def test_distractors_widen_the_range_of_grey_levels() -> None:
    def grey_range(rendered: SyntheticImage) -> float:
        return float(np.ptp(np.percentile(rendered.image.mean(axis=2), [1, 99])))

    plain = [grey_range(render_one(index, crack_fraction=0.0, hard_negatives=0.0)) for index in range(100)]
    hard = [render_one(index, crack_fraction=0.0, hard_negatives=1.0) for index in range(100)]
    for kind in synthetic.DISTRACTORS:
        assert np.mean([grey_range(rendered) for rendered in hard if rendered.kind == kind]) > 1.2 * np.mean(plain), (
            kind
        )


# Images of this GENERATOR_VERSION: index, kind, mean grey level of the quarters, spread, crack pixels.
PINNED = [
    (0, "crack", [176.5, 175.0, 173.9, 173.8], 19.4, 193),
    (1, "plain", [142.4, 142.9, 141.5, 143.2], 8.6, 0),
    (2, "scratch", [149.4, 153.4, 150.2, 151.5], 10.1, 0),
    (10, "joint", [157.2, 159.6, 159.8, 162.8], 8.4, 0),
    (15, "shadow", [115.1, 114.8, 109.8, 110.7], 9.4, 0),
    (22, "stain", [168.9, 176.5, 182.4, 176.6], 25.3, 0),
    (60, "texture", [140.8, 143.0, 145.6, 148.2], 5.9, 0),
]


@pytest.mark.parametrize(("index", "kind", "quarters", "spread", "crack_pixels"), PINNED)
def test_the_images_change_only_with_the_generator_version(
    index: int, kind: str, quarters: list[float], spread: float, crack_pixels: int
) -> None:
    rendered = render_one(index)
    assert synthetic.GENERATOR_VERSION == 1
    assert rendered.kind == kind
    assert thumbnail(rendered.image, cells=2).ravel() == pytest.approx(np.array(quarters), abs=1.0)
    assert rendered.image.std() == pytest.approx(spread, abs=0.5)
    assert rendered.mask.sum() == pytest.approx(crack_pixels, abs=2)


def test_images_have_the_colours_of_concrete() -> None:
    images = np.stack([render_one(index, crack_fraction=0.0, hard_negatives=0.0).image for index in range(60)])
    means = images.mean(axis=(1, 2))
    assert np.all((means > 90.0) & (means < 245.0))
    assert np.all(np.ptp(means, axis=1) < 45.0)  # nearly grey
    assert means[:, 0].mean() > means[:, 2].mean()  # slightly warm
