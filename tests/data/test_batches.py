"""Batches: their order, their sizes and their tensors."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import functional

from crackdet.config.file_data import FolderData
from crackdet.config.schema import Runtime
from crackdet.core.errors import RunFailed
from crackdet.data.batches import Batch, GpuCache, iter_batches, make_batches, shuffled_indices, to_input
from crackdet.data.dataset import ImageDataset, load_splits
from tests.data.image_files import make_folders, make_pixels

SIZE = 12
CPU = torch.device("cpu")
COUNTS = {"train/crack": 8, "train/noncrack": 8, "valid/crack": 1, "valid/noncrack": 1}


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> ImageDataset:
    """The sixteen training images of `COUNTS`, from the cache."""
    folder = tmp_path_factory.mktemp("batches")
    return load_train(make_folders(folder / "data", COUNTS), Runtime(cache=str(folder / "cache")))


@pytest.fixture(scope="module")
def streamed(cached: ImageDataset, tmp_path_factory: pytest.TempPathFactory) -> ImageDataset:
    """The same images, streamed from their files."""
    root = cached.pixels.source.root  # type: ignore[attr-defined]
    return load_train(root, Runtime(cache=str(tmp_path_factory.mktemp("streamed")), cache_gib=0))


def load_train(root: Path, runtime: Runtime) -> ImageDataset:
    return load_splits(FolderData(root=str(root), image_size=SIZE), runtime)["train"]


def load_batches(dataset: ImageDataset, batch_size: int, num_workers: int | None = 2) -> list[Batch]:
    return list(iter_batches(dataset, make_batches(shuffled_indices(len(dataset), 0, 0), batch_size), CPU, num_workers))


# --- order --------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 200), seed=st.integers(0, 2**40), epoch=st.integers(0, 1000))
def test_each_epoch_has_every_image_once(count: int, seed: int, epoch: int) -> None:
    assert sorted(shuffled_indices(count, seed, epoch)) == list(range(count))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**40), epoch=st.integers(0, 1000))
def test_the_order_depends_only_on_seed_and_epoch(seed: int, epoch: int) -> None:
    order = shuffled_indices(100, seed, epoch).tolist()
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    shuffled_indices(100, seed, epoch + 1)
    assert shuffled_indices(100, seed, epoch).tolist() == order
    assert shuffled_indices(100, seed, epoch + 1).tolist() != order
    assert shuffled_indices(100, seed + 1, epoch).tolist() != order


def test_seed_and_epoch_are_not_interchangeable() -> None:
    assert shuffled_indices(100, 0, 1).tolist() != shuffled_indices(100, 1, 0).tolist()


# --- sizes --------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(count=st.integers(1, 200), batch_size=st.integers(1, 64))
def test_batches_lose_no_image_and_the_last_has_at_least_two(count: int, batch_size: int) -> None:
    order = shuffled_indices(count, 0, 0)
    batches = make_batches(order, batch_size)
    assert np.concatenate(batches).tolist() == order.tolist()
    assert all(len(batch) == batch_size for batch in batches[:-1])
    if batch_size > 1 and count > 1:
        assert 2 <= len(batches[-1]) <= batch_size + 1


def test_one_image_makes_one_batch() -> None:
    assert [batch.tolist() for batch in make_batches(np.array([0]), 8)] == [[0]]


def test_a_batch_size_of_one_gives_single_images() -> None:
    assert [batch.tolist() for batch in make_batches(np.array([2, 0, 1]), 1)] == [[2], [0], [1]]


# --- tensors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["cached", "streamed"])
def test_batches_hold_the_images_of_their_indices(mode: str, request: pytest.FixtureRequest) -> None:
    dataset: ImageDataset = request.getfixturevalue(mode)
    assert (dataset.pixels.file is None) == (mode == "streamed")
    seen = []
    for batch in load_batches(dataset, batch_size=3):
        for image, label, index in zip(to_input(batch.inputs), batch.labels, batch.indices, strict=True):
            name = dataset.records[int(index)].name
            number = int(Path(name).stem) + (8 if "noncrack" in name else 0)
            reference = functional.to_tensor(Image.fromarray(make_pixels(number)))
            torch.testing.assert_close(image, reference, atol=1e-6, rtol=0)
            assert label == float("noncrack" not in name)
            seen.append(name)
    assert sorted(seen) == sorted(record.name for record in dataset.records)
    assert len(seen) == 16


@pytest.mark.parametrize("batch_size", [1, 3, 5, 16])
@pytest.mark.parametrize("num_workers", [None, 0, 1, 4, 5])
def test_cached_and_streamed_batches_are_equal(
    batch_size: int, num_workers: int | None, cached: ImageDataset, streamed: ImageDataset
) -> None:
    for one, other in zip(
        load_batches(cached, batch_size), load_batches(streamed, batch_size, num_workers), strict=True
    ):
        assert torch.equal(one.inputs, other.inputs)
        assert torch.equal(one.labels, other.labels)
        assert torch.equal(one.indices, other.indices)


def test_streamed_batches_keep_their_order(streamed: ImageDataset) -> None:
    order = [np.array([5, 1]), np.array([3]), np.array([0, 15, 7])]
    assert [batch.indices.tolist() for batch in iter_batches(streamed, order, CPU, 2)] == [[5, 1], [3], [0, 15, 7]]


@pytest.mark.parametrize("num_workers", [2, 5])
def test_the_error_names_an_image_that_was_deleted(num_workers: int, tmp_path: Path) -> None:
    dataset = load_train(make_folders(tmp_path / "data", COUNTS), Runtime(cache=str(tmp_path / "cache"), cache_gib=0))
    (tmp_path / "data" / "train" / "crack" / "003.png").unlink()
    with pytest.raises(RunFailed, match=r"^data: train/crack/003\.png: No such file[^\n]*$"):
        load_batches(dataset, 3, num_workers)


def test_images_are_floats_from_0_to_1_with_channels_last_in_memory(cached: ImageDataset) -> None:
    batch = load_batches(cached, 16)[0]
    assert to_input(batch.inputs).shape == (16, 3, SIZE, SIZE)
    assert to_input(batch.inputs).dtype == batch.labels.dtype == torch.float32
    assert to_input(batch.inputs).is_contiguous(memory_format=torch.channels_last)
    assert 0 <= to_input(batch.inputs).min() < 0.1 < 0.9 < to_input(batch.inputs).max() <= 1


def test_changing_a_batch_does_not_change_the_next_epoch(cached: ImageDataset) -> None:
    before = load_batches(cached, 16)[0].inputs.clone()
    load_batches(cached, 16)[0].inputs.zero_()
    assert torch.equal(load_batches(cached, 16)[0].inputs, before)


def test_copies_are_loaded_separately(cached: ImageDataset) -> None:
    first = cached.records[0]
    doubled = replace(cached, records=[*cached.records, first._replace(name="copy")])
    (batch,) = iter_batches(doubled, [np.array([0, 16])], CPU, None)
    assert torch.equal(to_input(batch.inputs)[0], to_input(batch.inputs)[1])


def test_no_batches_yield_nothing(cached: ImageDataset, streamed: ImageDataset) -> None:
    assert list(iter_batches(cached, [], CPU, None)) == []
    assert list(iter_batches(streamed, [], CPU, None)) == []


def test_the_gpu_cache_holds_the_last_dataset_that_fits(
    cached: ImageDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the CPU, which stands in for a GPU with a given amount of free memory."""
    other = load_train(make_folders(tmp_path / "data", COUNTS | {"train/crack": 9}), Runtime(cache=str(tmp_path)))
    gpu_cache = GpuCache()
    for free, dataset, fits in ((10**9, cached, True), (10**9, other, True), (1000, cached, False)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 10**9))
        gpu_cache.load(dataset, CPU)
        pixels = gpu_cache.get(dataset, CPU)
        assert (pixels is not None) == fits
        assert pixels is None or np.array_equal(pixels.numpy(), dataset.pixels.array)
        assert gpu_cache.get(cached if dataset is other else other, CPU) is None
