"""Batches: order, cut, and the tensors that arrive."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import functional

from crackdet.config.schema import FolderData, Runtime
from crackdet.core.errors import RunFailed
from crackdet.data.batches import Batch, iter_batches, make_batches, shuffled_indices
from crackdet.data.dataset import ImageDataset, load_splits
from tests.data.pictures import fill, picture

SIZE = 12
CPU = torch.device("cpu")
COUNTS = {"train/crack": 8, "train/noncrack": 8, "valid/crack": 1, "valid/noncrack": 1}


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> ImageDataset:
    """Sixteen images of `COUNTS`, from the cache."""
    folder = tmp_path_factory.mktemp("batches")
    return load_train(fill(folder / "data", COUNTS), Runtime(cache=str(folder / "cache")))


@pytest.fixture(scope="module")
def streamed(cached: ImageDataset, tmp_path_factory: pytest.TempPathFactory) -> ImageDataset:
    """The same images, from their files."""
    root = cached.pixels.source.root  # type: ignore[attr-defined]
    return load_train(root, Runtime(cache=str(tmp_path_factory.mktemp("streamed")), cache_gib=0))


def load_train(root: Path, runtime: Runtime) -> ImageDataset:
    return load_splits(FolderData(root=str(root), image_size=SIZE), runtime)["train"]


def batches_of(images: ImageDataset, batch_size: int, num_workers: int | None = 2) -> list[Batch]:
    return list(iter_batches(images, make_batches(shuffled_indices(len(images), 0, 0), batch_size), CPU, num_workers))


# --- order --------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 200), seed=st.integers(0, 2**40), epoch=st.integers(0, 1000))
def test_each_epoch_has_every_image_once(count: int, seed: int, epoch: int) -> None:
    assert sorted(shuffled_indices(count, seed, epoch)) == list(range(count))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**40), epoch=st.integers(0, 1000))
def test_the_order_depends_on_seed_and_epoch_only(seed: int, epoch: int) -> None:
    order = shuffled_indices(100, seed, epoch).tolist()
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    shuffled_indices(100, seed, epoch + 1)
    assert shuffled_indices(100, seed, epoch).tolist() == order
    assert shuffled_indices(100, seed, epoch + 1).tolist() != order
    assert shuffled_indices(100, seed + 1, epoch).tolist() != order


def test_seed_and_epoch_are_not_interchangeable() -> None:
    assert shuffled_indices(100, 0, 1).tolist() != shuffled_indices(100, 1, 0).tolist()


# --- cut ----------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(count=st.integers(1, 200), batch_size=st.integers(1, 64))
def test_the_order_is_cut_without_loss_and_without_a_single_image_left(count: int, batch_size: int) -> None:
    order = shuffled_indices(count, 0, 0)
    pieces = make_batches(order, batch_size)
    assert np.concatenate(pieces).tolist() == order.tolist()
    assert all(len(piece) == batch_size for piece in pieces[:-1])
    if batch_size > 1 and count > 1:
        assert 2 <= len(pieces[-1]) <= batch_size + 1


def test_one_image_is_one_batch() -> None:
    assert [piece.tolist() for piece in make_batches(np.array([0]), 8)] == [[0]]


def test_a_batch_size_of_one_is_honoured() -> None:
    assert [piece.tolist() for piece in make_batches(np.array([2, 0, 1]), 1)] == [[2], [0], [1]]


# --- tensors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["cached", "streamed"])
def test_batches_hold_the_images_they_name(way: str, request: pytest.FixtureRequest) -> None:
    images: ImageDataset = request.getfixturevalue(way)
    assert (images.pixels.file is None) == (way == "streamed")
    seen = []
    for batch in batches_of(images, batch_size=3):
        for image, label, index in zip(batch.images, batch.labels, batch.indices, strict=True):
            name = images.photographs[int(index)].name
            number = int(Path(name).stem) + (8 if "noncrack" in name else 0)
            reference = functional.to_tensor(Image.fromarray(picture(number)))
            torch.testing.assert_close(image, reference, atol=1e-6, rtol=0)
            assert label == float("noncrack" not in name)
            seen.append(name)
    assert sorted(seen) == sorted(photograph.name for photograph in images.photographs)
    assert len(seen) == 16


@pytest.mark.parametrize("batch_size", [1, 3, 5, 16])
@pytest.mark.parametrize("num_workers", [None, 0, 1, 4, 5])
def test_cache_and_files_give_the_same_tensors(
    batch_size: int, num_workers: int | None, cached: ImageDataset, streamed: ImageDataset
) -> None:
    for one, other in zip(batches_of(cached, batch_size), batches_of(streamed, batch_size, num_workers), strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)
        assert torch.equal(one.indices, other.indices)


def test_batches_come_in_the_given_order(streamed: ImageDataset) -> None:
    order = [np.array([5, 1]), np.array([3]), np.array([0, 15, 7])]
    assert [batch.indices.tolist() for batch in iter_batches(streamed, order, CPU, 2)] == [[5, 1], [3], [0, 15, 7]]


@pytest.mark.parametrize("num_workers", [2, 5])
def test_an_image_that_vanishes_is_named(num_workers: int, tmp_path: Path) -> None:
    images = load_train(fill(tmp_path / "data", COUNTS), Runtime(cache=str(tmp_path / "cache"), cache_gib=0))
    (tmp_path / "data" / "train" / "crack" / "003.png").unlink()
    with pytest.raises(RunFailed, match=r"^data: train/crack/003\.png: No such file[^\n]*$"):
        batches_of(images, 3, num_workers)


def test_images_are_floats_from_0_to_1_with_channels_last_in_memory(cached: ImageDataset) -> None:
    batch = batches_of(cached, 16)[0]
    assert batch.images.shape == (16, 3, SIZE, SIZE)
    assert batch.images.dtype == batch.labels.dtype == torch.float32
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert 0 <= batch.images.min() < 0.1 < 0.9 < batch.images.max() <= 1


def test_changing_a_batch_does_not_change_the_next_epoch(cached: ImageDataset) -> None:
    before = batches_of(cached, 16)[0].images.clone()
    batches_of(cached, 16)[0].images.zero_()
    assert torch.equal(batches_of(cached, 16)[0].images, before)


def test_copies_among_the_images_are_loaded_each(cached: ImageDataset) -> None:
    first = cached.photographs[0]
    doubled = replace(cached, photographs=[*cached.photographs, first._replace(name="copy")])
    (batch,) = iter_batches(doubled, [np.array([0, 16])], CPU, None)
    assert torch.equal(batch.images[0], batch.images[1])


def test_no_batches_are_no_batches(cached: ImageDataset, streamed: ImageDataset) -> None:
    assert list(iter_batches(cached, [], CPU, None)) == []
    assert list(iter_batches(streamed, [], CPU, None)) == []
