"""Feature maps: which are dead, and how well each tells cracks, against networks whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from crackdet.config.composing import compose
from crackdet.core.errors import UserError
from crackdet.inference.loaded_run import LoadedRun
from crackdet.inspection import maps
from crackdet.inspection.layers import Layer, capture, layers_of
from crackdet.inspection.loaded_network import LoadedNetwork, Picture, load_split, open_subject, pictures_of
from crackdet.inspection.maps import Basis, MapStatistics, measure_maps
from crackdet.models.classifier import Classifier
from crackdet.models.factory import build

DARK, BRIGHT, DEAD = 0, 1, 2  # maps of the first convolution in `known`


@pytest.fixture(scope="module")
def known(clean: LoadedRun) -> LoadedNetwork:
    """The clean run's network, with three maps whose meaning is known."""
    subject = open_subject(clean)
    convolution = subject.model.feature_extractor.get_submodule("0")
    with torch.no_grad():
        for number, (weight, bias) in enumerate([(-1 / 3, 1.0), (1 / 3, 0.0), (0.0, -1.0)]):
            convolution.weight[number] = 0
            convolution.weight[number, :, 1, 1] = weight
            convolution.bias[number] = bias
    return subject


@pytest.fixture(scope="module")
def pictures(known: LoadedNetwork) -> list[Picture]:
    images = load_split(known, "valid")
    return pictures_of(images, images.photographs)


def first(subject: LoadedNetwork, pictures: list[Picture]) -> MapStatistics:
    return measure_maps(subject, layers_of(subject.model)[:1], pictures)[0]


def area(positive: np.ndarray, negative: np.ndarray) -> float:
    """ROC-AUC by its definition: over all pairs, a tie being half."""
    difference = positive[:, None] - negative[None, :]
    return float((difference > 0).mean() + 0.5 * (difference == 0).mean())


def test_a_crack_of_a_pixel_among_many_images_is_scored(known: LoadedNetwork, pictures: list[Picture]) -> None:
    sound = [p for p in pictures if not p.crack]
    cracked = next(p for p in pictures if p.crack)
    mask = np.zeros(cracked.pixels.shape[:2], dtype=bool)
    mask[5, 5] = True
    darkness = [1 - picture.pixels.mean(2) / 255 for picture in (cracked, *sound * 4)]
    expected = area(
        darkness[0][mask], np.concatenate([darkness[0][~mask], *(values.ravel() for values in darkness[1:])])
    )
    found = first(known, [replace(cracked, mask=mask), *sound * 4])
    assert found.score[DARK] == pytest.approx(max(expected, 1 - expected), abs=0.01)


def test_cracks_count_alike_in_whatever_batch_they_are(
    known: LoadedNetwork, pictures: list[Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maps, "CELLS", 4000)
    cracked, sound = ([p for p in pictures if p.crack is crack][:9] for crack in (True, False))
    wide = [replace(p, mask=np.ones_like(p.mask), pixels=np.full_like(p.pixels, 20)) for p in cracked[:8]]
    other = replace(cracked[8], mask=np.ones_like(cracked[8].mask), pixels=np.full_like(cracked[8].pixels, 250))
    darkness = [1 - picture.pixels.mean(2).ravel() / 255 for picture in (*wide, other, *sound)]
    expected = area(np.concatenate(darkness[:9]), np.concatenate(darkness[9:]))
    assert first(known, [*wide, other, *sound]).score[DARK] == pytest.approx(expected, abs=0.03)


def test_a_map_is_scored_by_how_often_a_crack_pixel_gets_the_stronger_answer(
    known: LoadedNetwork, pictures: list[Picture]
) -> None:
    few = [next(p for p in pictures if p.crack), next(p for p in pictures if not p.crack)]
    darkness = np.concatenate([1 - picture.pixels.mean(2).ravel() / 255 for picture in few])
    assert few[0].mask is not None
    cracked = np.concatenate([few[0].mask.ravel(), np.zeros(few[1].pixels.shape[:2], bool).ravel()])
    found = first(known, few)
    assert found.basis is Basis.PIXELS
    expected = area(darkness[cracked], darkness[~cracked])
    assert found.score[[DARK, BRIGHT]] == pytest.approx([expected, expected], abs=1e-3)


def test_a_map_that_a_crack_makes_weaker_is_as_good_and_says_so(known: LoadedNetwork, pictures: list[Picture]) -> None:
    found = first(known, pictures)
    assert found.rises[DARK]
    assert not found.rises[BRIGHT]
    assert {DARK, BRIGHT} <= set(found.strongest()[:4])
    crack = next(p for p in pictures if p.crack)
    maps = capture(known.model, [found.layer], known.tensor([crack]))[found.layer.name][0].numpy()
    for number in (DARK, BRIGHT):
        shown = found.intensity(maps[number], number)
        assert shown[crack.mask].mean() > 2 * shown[~crack.mask].mean()


def test_dead_maps_are_counted_and_not_shown(known: LoadedNetwork, pictures: list[Picture]) -> None:
    found = first(known, pictures)
    assert found.dead[DEAD]
    assert not found.dead[[DARK, BRIGHT]].any()
    assert DEAD not in found.strongest()


def test_without_masks_images_are_told_apart_by_their_strongest_answer(
    known: LoadedNetwork, pictures: list[Picture]
) -> None:
    unmasked = [Picture(p.name, p.pixels, p.crack) for p in pictures]
    found = first(known, unmasked)
    darkest = np.array([1 - p.pixels.mean(2).min() / 255 for p in unmasked])
    cracked = np.array([p.crack for p in unmasked])
    assert found.basis is Basis.IMAGES
    assert found.score[DARK] == pytest.approx(area(darkest[cracked], darkest[~cracked]), abs=1e-3)


def test_where_nothing_is_known_of_cracks_maps_are_ordered_by_how_much_they_vary(known: LoadedNetwork) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    found = first(known, [Picture("somebody's", pixels)])
    assert found.basis is Basis.SPREAD
    assert found.score[DARK] == pytest.approx(pixels.mean(2).std() / 255, rel=1e-3)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "vgg11", "swin_t"])
def test_stages_of_torchvision_give_maps_channel_by_channel(name: str) -> None:
    model = build(compose(["model=torchvision", f"model.name={name}", "model.weights=null", "data.image_size=64"]))
    layers = layers_of(model.eval())
    maps = capture(model, layers, torch.rand(2, 3, 64, 64))
    sides = [maps[layer.name].shape[2] for layer in layers if layer.name in maps]
    assert [maps[layer.name].shape[:2] for layer in layers] == [(2, layer.channels) for layer in layers]
    assert sides == sorted(sides, reverse=True)


def test_what_comes_next_in_place_does_not_change_a_recorded_map() -> None:
    model = build(compose(["model=torchvision", "model.name=resnet18", "model.weights=null", "data.image_size=64"]))
    maps = capture(model.eval(), [Layer("bn1", "bn1", 64)], torch.rand(1, 3, 64, 64))
    assert maps["bn1"].min() < 0


def test_a_network_without_maps_is_refused() -> None:
    with pytest.raises(UserError, match="no feature maps"):
        layers_of(Classifier(nn.Sequential(nn.Flatten(), nn.Linear(12, 4)), 4, 8, 2))
