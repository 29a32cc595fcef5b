"""Statistics of feature maps: dead maps, and scores against maps whose meaning is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import mannwhitneyu
from torch import nn

from crackdet.core.errors import UserError
from crackdet.inference.loaded_run import LoadedRun
from crackdet.inspection import maps
from crackdet.inspection.layers import Layer, capture, find_layers
from crackdet.inspection.loaded_network import LoadedNetwork, Sample, load_network
from crackdet.inspection.maps import Basis, MapStatistics, measure_maps
from crackdet.inspection.samples import load_split, to_samples
from crackdet.models.classifier import Classifier, mlp_head
from crackdet.models.factory import build
from tests.composing import compose

DARK, BRIGHT, DEAD = 0, 1, 2  # maps of the first convolution of `network`


@pytest.fixture(scope="module")
def network(clean_run: LoadedRun) -> LoadedNetwork:
    """The clean run's network, with three maps whose meaning is known."""
    loaded = load_network(clean_run)
    convolution = loaded.model.feature_extractor.get_submodule("0")
    assert isinstance(convolution, nn.Conv2d) and convolution.bias is not None
    with torch.no_grad():
        for number, (weight, bias) in enumerate([(-1 / 3, 1.0), (1 / 3, 0.0), (0.0, -1.0)]):
            convolution.weight[number] = 0
            convolution.weight[number, :, 1, 1] = weight
            convolution.bias[number] = bias
    return loaded


@pytest.fixture(scope="module")
def samples(network: LoadedNetwork) -> list[Sample]:
    images = load_split(network, "valid")
    return to_samples(images, images.records)


def first_layer(network: LoadedNetwork, samples: list[Sample]) -> MapStatistics:
    return measure_maps(network, find_layers(network.model)[:1], samples)[0]


def roc_auc(positive: np.ndarray, negative: np.ndarray) -> float:
    """ROC-AUC as the share of pairs whose positive is higher, ties counting half: the statistic of Mann and Whitney."""
    return float(mannwhitneyu(positive, negative).statistic / (len(positive) * len(negative)))


def test_a_single_crack_pixel_among_many_images_is_scored(network: LoadedNetwork, samples: list[Sample]) -> None:
    background = [p for p in samples if not p.crack]
    cracked = next(p for p in samples if p.crack)
    mask = np.zeros(cracked.pixels.shape[:2], dtype=bool)
    mask[5, 5] = True
    darkness = [1 - sample.pixels.mean(2) / 255 for sample in (cracked, *background * 4)]
    expected = roc_auc(
        darkness[0][mask], np.concatenate([darkness[0][~mask], *(values.ravel() for values in darkness[1:])])
    )
    found = first_layer(network, [replace(cracked, mask=mask), *background * 4])
    assert found.score[DARK] == pytest.approx(max(expected, 1 - expected), abs=0.01)


def test_cracks_count_equally_in_every_batch(
    network: LoadedNetwork, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maps, "MAX_CELLS", 4000)
    cracked, background = ([p for p in samples if p.crack is crack][:9] for crack in (True, False))
    wide = [replace(p, mask=np.ones_like(p.mask), pixels=np.full_like(p.pixels, 20)) for p in cracked[:8]]
    other = replace(cracked[8], mask=np.ones_like(cracked[8].mask), pixels=np.full_like(cracked[8].pixels, 250))
    darkness = [1 - sample.pixels.mean(2).ravel() / 255 for sample in (*wide, other, *background)]
    expected = roc_auc(np.concatenate(darkness[:9]), np.concatenate(darkness[9:]))
    assert first_layer(network, [*wide, other, *background]).score[DARK] == pytest.approx(expected, abs=0.03)


def test_a_map_is_scored_by_how_often_a_crack_pixel_has_the_higher_activation(
    network: LoadedNetwork, samples: list[Sample]
) -> None:
    few = [next(p for p in samples if p.crack), next(p for p in samples if not p.crack)]
    darkness = np.concatenate([1 - sample.pixels.mean(2).ravel() / 255 for sample in few])
    assert few[0].mask is not None
    cracked = np.concatenate([few[0].mask.ravel(), np.zeros(few[1].pixels.shape[:2], bool).ravel()])
    found = first_layer(network, few)
    assert found.basis is Basis.PIXELS
    expected = roc_auc(darkness[cracked], darkness[~cracked])
    assert found.score[[DARK, BRIGHT]] == pytest.approx([expected, expected], abs=1e-3)


def test_a_map_that_a_crack_lowers_scores_as_well(network: LoadedNetwork, samples: list[Sample]) -> None:
    found = first_layer(network, samples)
    assert found.increases[DARK]
    assert not found.increases[BRIGHT]
    assert {DARK, BRIGHT} <= set(found.ranked()[:4])
    crack = next(p for p in samples if p.crack)
    maps = capture(network.model, [found.layer], network.tensor([crack]))[found.layer.name][0].numpy()
    for number in (DARK, BRIGHT):
        intensity = found.intensity(maps[number], number)
        assert crack.mask is not None
        assert intensity[crack.mask].mean() > 2 * intensity[~crack.mask].mean()


def test_dead_maps_are_detected_and_not_ranked(network: LoadedNetwork, samples: list[Sample]) -> None:
    found = first_layer(network, samples)
    assert found.dead[DEAD]
    assert not found.dead[[DARK, BRIGHT]].any()
    assert DEAD not in found.ranked()


def test_without_masks_images_are_scored_by_their_highest_activation(
    network: LoadedNetwork, samples: list[Sample]
) -> None:
    unmasked = [Sample(p.name, p.pixels, p.crack) for p in samples]
    found = first_layer(network, unmasked)
    darkest = np.array([1 - p.pixels.mean(2).min() / 255 for p in unmasked])
    cracked = np.array([p.crack for p in unmasked])
    assert found.basis is Basis.IMAGES
    assert found.score[DARK] == pytest.approx(roc_auc(darkest[cracked], darkest[~cracked]), abs=1e-3)


def test_without_labels_maps_are_ranked_by_their_standard_deviation(network: LoadedNetwork) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    found = first_layer(network, [Sample("unlabelled", pixels)])
    assert found.basis is Basis.SPREAD
    assert found.score[DARK] == pytest.approx(pixels.mean(2).std() / 255, rel=1e-3)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "vgg11", "swin_t"])
def test_maps_of_torchvision_stages_have_channels_first(name: str) -> None:
    model = build(compose(["model=torchvision", f"model.name={name}", "model.weights=null", "data.image_size=64"]))
    layers = find_layers(model.eval())
    maps = capture(model, layers, torch.rand(2, 3, 64, 64))
    sides = [maps[layer.name].shape[2] for layer in layers if layer.name in maps]
    assert [maps[layer.name].shape[:2] for layer in layers] == [(2, layer.channels) for layer in layers]
    assert sides == sorted(sides, reverse=True)


def test_a_following_in_place_operation_does_not_change_a_captured_map() -> None:
    model = build(compose(["model=torchvision", "model.name=resnet18", "model.weights=null", "data.image_size=64"]))
    maps = capture(model.eval(), [Layer("bn1", "bn1", 64)], torch.rand(1, 3, 64, 64))
    assert maps["bn1"].min() < 0


def test_a_network_without_maps_is_rejected() -> None:
    with pytest.raises(UserError, match="no feature maps"):
        find_layers(Classifier(nn.Sequential(nn.Flatten(), nn.Linear(12, 4)), mlp_head(4, 8), 2))
