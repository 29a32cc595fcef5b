"""Changes of training images, compared with those of torchvision."""

from dataclasses import fields

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms.v2 import functional

from crackdet.config.schema import Augmentation
from crackdet.data.augmentation import COLUMNS, augment, is_active, sample_params

FLIP_H, FLIP_V, TURN, ANGLE, BRIGHT, CONTRAST, SATURATE, HUE = range(COLUMNS)
EVERYTHING = Augmentation(
    horizontal_flip=True,
    vertical_flip=True,
    rotate90=True,
    rotation=30,
    brightness=0.3,
    contrast=0.3,
    saturation=0.3,
    hue=0.1,
)
EACH = {item.name: Augmentation(**{item.name: getattr(EVERYTHING, item.name)}) for item in fields(Augmentation)}


def pictures(count: int, size: int = 16) -> Tensor:
    return torch.rand((count, 3, size, size), generator=torch.Generator().manual_seed(count))


def numbers(column: int, *values: float) -> Tensor:
    """Rows of drawn numbers, one for each value, which stands in `column`."""
    rows = torch.full((len(values), COLUMNS), 0.5)
    rows[:, column] = torch.tensor(values)
    return rows


def test_there_is_none_by_default() -> None:
    images = pictures(3)
    assert not is_active(Augmentation())
    assert torch.equal(augment(images, sample_params(3, 0, 0), Augmentation()), images)


@pytest.mark.parametrize("name", EACH)
def test_each_setting_makes_it_active(name: str) -> None:
    assert is_active(EACH[name])


@pytest.mark.parametrize("name", EACH)
def test_each_setting_changes_images_of_one_batch_differently(name: str) -> None:
    images = pictures(1).expand(24, -1, -1, -1)
    changed = augment(images, sample_params(24, 0, 1), EACH[name])
    assert len({tuple(image.flatten().tolist()) for image in changed}) > 1


@pytest.mark.parametrize("name", EACH)
def test_the_given_images_stay_as_they_are(name: str) -> None:
    images = pictures(8)
    before = images.clone()
    augment(images, sample_params(8, 0, 0), EACH[name])
    assert torch.equal(images, before)


@settings(max_examples=15, deadline=None)
@given(
    name=st.sampled_from([*EACH, "everything"]),
    order=st.permutations(range(9)),
    batch_size=st.integers(1, 9),
    seed=st.integers(0, 2**40),
    epoch=st.integers(0, 1000),
)
def test_the_change_of_an_image_depends_neither_on_its_batch_nor_on_the_order(
    name: str, order: list[int], batch_size: int, seed: int, epoch: int
) -> None:
    choice = EACH.get(name, EVERYTHING)
    images, rows = pictures(9), sample_params(9, seed, epoch)
    together = augment(images, rows, choice)
    for start in range(0, 9, batch_size):
        places = torch.tensor(order[start : start + batch_size])
        torch.testing.assert_close(augment(images[places], rows[places], choice), together[places])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**40), epoch=st.integers(0, 1000))
def test_each_seed_and_epoch_draws_other_numbers(seed: int, epoch: int) -> None:
    rows = sample_params(5, seed, epoch)
    assert torch.equal(rows, sample_params(5, seed, epoch))
    assert not torch.equal(rows, sample_params(5, seed, epoch + 1))
    assert not torch.equal(rows, sample_params(5, seed + 1, epoch))


def test_seed_and_epoch_are_not_interchangeable() -> None:
    assert not torch.equal(sample_params(5, 0, 1), sample_params(5, 1, 0))


def test_the_numbers_of_an_image_do_not_depend_on_how_many_there_are() -> None:
    assert torch.equal(sample_params(5, 0, 0), sample_params(50, 0, 0)[:5])


def test_the_drawn_numbers_are_uniform() -> None:
    rows = sample_params(4000, 0, 0)
    assert rows.shape == (4000, COLUMNS)
    assert rows.min() >= 0
    assert rows.max() < 1
    assert (rows.mean(0) - 0.5).abs().max() < 0.03
    assert (torch.corrcoef(rows.T) - torch.eye(COLUMNS)).abs().max() < 0.08


def test_flips_are_those_of_torchvision() -> None:
    images = pictures(2)
    across = augment(images, numbers(FLIP_H, 0.1, 0.9), Augmentation(horizontal_flip=True))
    down = augment(images, numbers(FLIP_V, 0.1, 0.9), Augmentation(vertical_flip=True))
    assert torch.equal(across[0], functional.horizontal_flip(images[0]))
    assert torch.equal(down[0], functional.vertical_flip(images[0]))
    assert torch.equal(across[1], images[1])
    assert torch.equal(down[1], images[1])


def test_rotate90_are_those_of_torchvision() -> None:
    images = pictures(1).expand(4, -1, -1, -1)
    turned = augment(images, numbers(TURN, 0.0, 0.3, 0.6, 0.9999999), Augmentation(rotate90=True))
    for image, degrees in zip(turned, (0, 90, 180, 270), strict=True):
        assert torch.equal(image, functional.rotate(images[0], degrees))


@pytest.mark.parametrize(("number", "degrees"), [(0.0, -40.0), (0.75, 20.0), (0.5, 0.0)])
def test_rotation_is_that_of_torchvision_away_from_the_border(number: float, degrees: float) -> None:
    images = functional.gaussian_blur(pictures(1, 48), [5, 5])
    turned = augment(images, numbers(ANGLE, number), Augmentation(rotation=40))
    reference = functional.rotate(images, degrees, interpolation=functional.InterpolationMode.BILINEAR)
    middle = slice(16, 32)
    torch.testing.assert_close(turned[..., middle, middle], reference[..., middle, middle], atol=2e-3, rtol=0)


def test_rotation_leaves_no_black_corners() -> None:
    turned = augment(torch.full((1, 3, 32, 32), 0.7), numbers(ANGLE, 1.0), Augmentation(rotation=45))
    torch.testing.assert_close(turned, torch.full_like(turned, 0.7))


@pytest.mark.parametrize("number", [0.0, 0.3, 0.5, 0.99])
def test_colours_are_those_of_torchvision(number: float) -> None:
    images = pictures(1)
    factor = 1 + (2 * number - 1) * 0.4
    for column, choice, reference in (
        (BRIGHT, Augmentation(brightness=0.4), functional.adjust_brightness(images, factor)),
        (CONTRAST, Augmentation(contrast=0.4), functional.adjust_contrast(images, factor)),
        (SATURATE, Augmentation(saturation=0.4), functional.adjust_saturation(images, factor)),
        (HUE, Augmentation(hue=0.4), functional.adjust_hue(images, factor - 1)),
    ):
        torch.testing.assert_close(augment(images, numbers(column, number), choice), reference, atol=2e-4, rtol=0)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**40))
def test_changed_images_stay_between_black_and_white(seed: int) -> None:
    extreme = Augmentation(rotation=180, brightness=1, contrast=1, saturation=1, hue=0.5)
    changed = augment(pictures(6), sample_params(6, seed, 0), extreme)
    assert changed.min() >= 0
    assert changed.max() <= 1


@pytest.mark.parametrize("shift", [-0.5, -0.2, 0.0, 0.1, 1 / 3, 0.5])
def test_hue_turns_every_colour_as_torchvision_does(shift: float) -> None:
    levels = torch.linspace(0, 1, 6)
    colours = torch.cartesian_prod(levels, levels, levels).T.reshape(1, 3, 6, 36)  # grey ones among them
    turned = augment(colours, numbers(HUE, (shift / 0.5 + 1) / 2), Augmentation(hue=0.5))
    assert torch.allclose(turned, functional.adjust_hue(colours, shift), atol=1e-5)
