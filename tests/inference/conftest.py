"""Two tiny runs shared by all tests of this folder: one on synthetic images, one on image files."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

import crackdet
from crackdet.data import synthetic
from crackdet.inference.loaded_run import LoadedRun
from tests import jobs
from tests.composing import compose
from tests.conftest import TINY


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("inference") / "runs"


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 24 image files of 60 x 48 pixels in `crack` and `noncrack`."""
    root = tmp_path_factory.mktemp("photos")
    for index in range(24):
        sample = synthetic.render(index, seed=3, image_size=60, crack_fraction=0.5, hard_negatives=0, difficulty=0)
        folder = root / ("crack" if sample.mask.any() else "noncrack")
        folder.mkdir(exist_ok=True)
        Image.fromarray(sample.image).resize((60, 48)).save(folder / f"{index:03d}.png")
    return root


def train(store: Path, cache: Path, overrides: Sequence[str]) -> LoadedRun:
    paths = [f"runtime.store={store}", f"runtime.cache={cache}", "runtime.device=cpu"]
    of_synthetic = not any(override.startswith("data=") for override in overrides)
    tiny = [override for override in TINY if of_synthetic or not override.startswith("data.num_images")]
    run = jobs.train(compose([*tiny, *paths, *overrides]), *overrides)
    return crackdet.load_run(run.id, store)


@pytest.fixture(scope="session")
def synthetic_run(store: Path, cache: Path) -> LoadedRun:
    return train(store, cache, ["data.hard_negatives=0", "data.difficulty=0", "trainer.max_epochs=4"])


@pytest.fixture(scope="session")
def photo_run(store: Path, cache: Path, photo_folder: Path) -> LoadedRun:
    return train(
        store, cache, ["data=folder", f"data.root={photo_folder}", "data.image_size=32", "data.valid_fraction=0.5"]
    )
