"""Three tiny runs on the same synthetic images: clean, with a mark on each crack, with a mark on all other images."""

from pathlib import Path

import pytest

import crackdet
from benchmarks.wrong_reason import write_sets
from crackdet.inference.loaded_run import LoadedRun
from tests import jobs
from tests.composing import compose

SIZE = 40  # pixels


@pytest.fixture(scope="session")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets")
    write_sets(folder, num_images=200, image_size=SIZE)
    return folder


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("inspection") / "runs"


@pytest.fixture(scope="session")
def clean_run(sets: Path, store: Path, cache: Path) -> LoadedRun:
    return train(sets / "clean", store, cache, "data.masks=masks")


@pytest.fixture(scope="session")
def marked_run(sets: Path, store: Path, cache: Path) -> LoadedRun:
    return train(sets / "marked", store, cache, "data.masks=masks")


@pytest.fixture(scope="session")
def unmarked_run(sets: Path, store: Path, cache: Path) -> LoadedRun:
    return train(sets / "unmarked", store, cache, "data.masks=masks")


def train(images: Path, store: Path, cache: Path, *overrides: str) -> LoadedRun:
    config = compose(
        [
            "data=folder", f"data.root={images}", f"data.image_size={SIZE}", "model.conv_out=[8,16]",
            "model.linear_features=32", "optimizer.learning_rate=3e-3", "trainer.max_epochs=8",
            "trainer.batch_size=16", "trainer.precision=fp32", f"runtime.store={store}", f"runtime.cache={cache}",
            "runtime.device=cpu", *overrides,
        ]
    )  # fmt: skip
    return crackdet.load_run(jobs.train(config).id, store)
