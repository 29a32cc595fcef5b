"""Augmentation of training images, compared with torchvision."""

from dataclasses import fields

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms.v2 import functional

from crackdet.config.schema import Augmentation
from crackdet.data.augmentation import NUM_PARAMS, augment, sample_params

FLIP_H, FLIP_V, QUARTER_TURN, ANGLE, BRIGHTNESS, CONTRAST, SATURATION, HUE = range(NUM_PARAMS)
ALL = Augmentation(
    horizontal_flip=True,
    vertical_flip=True,
    rotate90=True,
    rotation=30,
    brightness=0.3,
    contrast=0.3,
    saturation=0.3,
    hue=0.1,
)
SINGLE = {
    item.name: Augmentation(**{item.name: getattr(ALL, item.name)})
    for item in fields(Augmentation)
    if item.name not in ("views", "rand_augment")  # the latter is not a part of `augment`
}


def random_images(count: int, size: int = 16) -> Tensor:
    return torch.rand((count, 3, size, size), generator=torch.Generator().manual_seed(count))


def params(column: int, *values: float) -> Tensor:
    """Return one row of parameters per value, with the value in one column and 0.5 in the others."""
    rows = torch.full((len(values), NUM_PARAMS), 0.5)
    rows[:, column] = torch.tensor(values)
    return rows


def test_the_default_changes_nothing() -> None:
    images = random_images(3)
    assert not Augmentation().is_active
    assert torch.equal(augment(images, sample_params(3, 0, 0), Augmentation()), images)


@pytest.mark.parametrize("name", SINGLE)
def test_each_setting_is_active(name: str) -> None:
    assert SINGLE[name].is_active


@pytest.mark.parametrize("name", SINGLE)
def test_each_setting_augments_the_images_of_a_batch_differently(name: str) -> None:
    images = random_images(1).expand(24, -1, -1, -1)
    augmented = augment(images, sample_params(24, 0, 1), SINGLE[name])
    assert len({tuple(image.flatten().tolist()) for image in augmented}) > 1


@pytest.mark.parametrize("name", SINGLE)
def test_the_input_is_not_modified(name: str) -> None:
    images = random_images(8)
    before = images.clone()
    augment(images, sample_params(8, 0, 0), SINGLE[name])
    assert torch.equal(images, before)


@settings(max_examples=15, deadline=None)
@given(
    name=st.sampled_from([*SINGLE, "all"]),
    order=st.permutations(range(9)),
    batch_size=st.integers(1, 9),
    seed=st.integers(0, 2**40),
    epoch=st.integers(0, 1000),
)
def test_the_augmentation_of_an_image_depends_neither_on_its_batch_nor_on_the_order(
    name: str, order: list[int], batch_size: int, seed: int, epoch: int
) -> None:
    augmentation = SINGLE.get(name, ALL)
    images, rows = random_images(9), sample_params(9, seed, epoch)
    together = augment(images, rows, augmentation)
    for start in range(0, 9, batch_size):
        indices = torch.tensor(order[start : start + batch_size])
        torch.testing.assert_close(augment(images[indices], rows[indices], augmentation), together[indices])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**40), epoch=st.integers(0, 1000))
def test_each_seed_and_epoch_has_its_own_parameters(seed: int, epoch: int) -> None:
    rows = sample_params(5, seed, epoch)
    assert torch.equal(rows, sample_params(5, seed, epoch))
    assert not torch.equal(rows, sample_params(5, seed, epoch + 1))
    assert not torch.equal(rows, sample_params(5, seed + 1, epoch))


def test_seed_and_epoch_are_not_interchangeable() -> None:
    assert not torch.equal(sample_params(5, 0, 1), sample_params(5, 1, 0))


def test_the_parameters_of_an_image_do_not_depend_on_the_number_of_images() -> None:
    assert torch.equal(sample_params(5, 0, 0), sample_params(50, 0, 0)[:5])


def test_the_parameters_are_uniform() -> None:
    rows = sample_params(4000, 0, 0)
    assert rows.shape == (4000, NUM_PARAMS)
    assert rows.min() >= 0
    assert rows.max() < 1
    assert (rows.mean(0) - 0.5).abs().max() < 0.03
    assert (torch.corrcoef(rows.T) - torch.eye(NUM_PARAMS)).abs().max() < 0.08


def test_flips_equal_torchvision() -> None:
    images = random_images(2)
    horizontal = augment(images, params(FLIP_H, 0.1, 0.9), Augmentation(horizontal_flip=True))
    vertical = augment(images, params(FLIP_V, 0.1, 0.9), Augmentation(vertical_flip=True))
    assert torch.equal(horizontal[0], functional.horizontal_flip(images[0]))
    assert torch.equal(vertical[0], functional.vertical_flip(images[0]))
    assert torch.equal(horizontal[1], images[1])
    assert torch.equal(vertical[1], images[1])


def test_rotate90_equals_torchvision() -> None:
    images = random_images(1).expand(4, -1, -1, -1)
    rotated = augment(images, params(QUARTER_TURN, 0.0, 0.3, 0.6, 0.9999999), Augmentation(rotate90=True))
    for image, degrees in zip(rotated, (0, 90, 180, 270), strict=True):
        assert torch.equal(image, functional.rotate(images[0], degrees))


@pytest.mark.parametrize(("param", "degrees"), [(0.0, -40.0), (0.75, 20.0), (0.5, 0.0)])
def test_rotation_equals_torchvision_away_from_the_border(param: float, degrees: float) -> None:
    images = functional.gaussian_blur(random_images(1, 48), [5, 5])
    rotated = augment(images, params(ANGLE, param), Augmentation(rotation=40))
    reference = functional.rotate(images, degrees, interpolation=functional.InterpolationMode.BILINEAR)
    middle = slice(16, 32)
    torch.testing.assert_close(rotated[..., middle, middle], reference[..., middle, middle], atol=2e-3, rtol=0)


def test_rotation_leaves_no_black_corners() -> None:
    rotated = augment(torch.full((1, 3, 32, 32), 0.7), params(ANGLE, 1.0), Augmentation(rotation=45))
    torch.testing.assert_close(rotated, torch.full_like(rotated, 0.7))


@pytest.mark.parametrize("param", [0.0, 0.3, 0.5, 0.99])
def test_colour_adjustments_equal_torchvision(param: float) -> None:
    images = random_images(1)
    factor = 1 + (2 * param - 1) * 0.4
    for column, augmentation, reference in (
        (BRIGHTNESS, Augmentation(brightness=0.4), functional.adjust_brightness(images, factor)),
        (CONTRAST, Augmentation(contrast=0.4), functional.adjust_contrast(images, factor)),
        (SATURATION, Augmentation(saturation=0.4), functional.adjust_saturation(images, factor)),
        (HUE, Augmentation(hue=0.4), functional.adjust_hue(images, factor - 1)),
    ):
        torch.testing.assert_close(augment(images, params(column, param), augmentation), reference, atol=2e-4, rtol=0)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**40))
def test_augmented_images_stay_in_the_unit_interval(seed: int) -> None:
    extreme = Augmentation(rotation=180, brightness=1, contrast=1, saturation=1, hue=0.5)
    augmented = augment(random_images(6), sample_params(6, seed, 0), extreme)
    assert augmented.min() >= 0
    assert augmented.max() <= 1


@pytest.mark.parametrize("shift", [-0.5, -0.2, 0.0, 0.1, 1 / 3, 0.5])
def test_hue_equals_torchvision_for_every_colour(shift: float) -> None:
    levels = torch.linspace(0, 1, 6)
    colours = torch.cartesian_prod(levels, levels, levels).T.reshape(1, 3, 6, 36)  # grey ones among them
    rotated = augment(colours, params(HUE, (shift / 0.5 + 1) / 2), Augmentation(hue=0.5))
    assert torch.allclose(rotated, functional.adjust_hue(colours, shift), atol=1e-5)
