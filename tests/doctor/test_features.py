"""Feature vectors of images."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from crackdet.config.schema import Config
from crackdet.data import synthetic
from crackdet.data.dataset import load_splits
from crackdet.doctor.descriptor import describe, describe_batch
from crackdet.doctor.examination import examine
from crackdet.doctor.features import APPEARANCE, measure, network_descriptor
from crackdet.doctor.probe import fit_probe
from crackdet.models import factory
from tests.composing import compose

Tiny = Callable[..., Config]


@pytest.mark.parametrize("shape", [(8, 8), (50, 90), (128, 128), (300, 200)])
def test_the_descriptor_has_finite_features_of_one_length_for_images_of_any_size(shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    for image in (noise, np.zeros_like(noise), np.full_like(noise, 255)):
        features = describe(image)
        assert features.shape == (282,) and np.isfinite(features).all()


def test_the_features_of_a_batch_are_those_of_its_images_in_order() -> None:
    images = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3), np.uint8)
    assert np.array_equal(describe_batch(images), np.stack([describe(image) for image in images]))


def test_the_descriptor_tells_synthetic_cracks_from_other_images() -> None:
    samples = [
        synthetic.render(i, seed=0, image_size=64, crack_fraction=0.5, hard_negatives=0.5, difficulty=0.4)
        for i in range(300)
    ]
    labels = np.array([synthetic.label(i, seed=0, crack_fraction=0.5) for i in range(300)])
    features = describe_batch(np.stack([sample.image for sample in samples]))
    probe = fit_probe(features, labels, [str(index) for index in range(300)])
    assert probe is not None and probe.accuracy > 0.9 and probe.roc_auc > 0.95


def test_the_features_of_a_network_are_the_means_of_its_last_map_at_its_own_size(tiny: Tiny) -> None:
    model = factory.build(tiny())
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
    features = network_descriptor(model)(images)
    with torch.no_grad():
        maps = model.feature_extractor(torch.from_numpy(images).permute(0, 3, 1, 2) / 255)
    assert features.shape == (5, 8) and np.allclose(features, maps.mean((2, 3)).numpy(), atol=1e-5)
    assert network_descriptor(model)(np.zeros((2, 50, 50, 3), np.uint8)).shape == (2, 8)


@pytest.mark.parametrize("cache_gib", [1, 0])
def test_images_are_measured_in_the_order_of_their_records(tiny: Tiny, cache_gib: int) -> None:
    config = tiny(f"runtime.cache_gib={cache_gib}")
    dataset = load_splits(config.data, config.runtime)["train"]
    measured = measure(dataset)
    images = [dataset.pixels.read(record) for record in dataset.records]
    assert np.array_equal(measured.features, np.stack([describe(image) for image in images]))
    brightness = measured.appearance[:, APPEARANCE.index("brightness")]
    assert np.allclose(brightness, [image.mean() / 255 for image in images], atol=0.02)


def test_a_data_set_is_examined_as_a_whole(photographs: Path, tmp_path: Path) -> None:
    config = compose(
        ["data=folder", f"data.root={photographs}", "data.image_size=32", f"runtime.cache={tmp_path / 'cache'}"]
    )
    found = examine(load_splits(config.data, config.runtime), config.data)
    assert [one.split for one in found.sizes.splits] == ["train", "valid"]
    assert found.labels is not None and found.labels.num_images == 16
    assert [drift.split for drift in found.drift] == ["valid"] and len(found.confounds) == 2
