"""Two runs of a second that all tests of this folder use: on drawn images, and on photographs of several shapes."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

import crackdet
from crackdet.config.composing import compose
from crackdet.data import synthetic
from crackdet.data.dataset import data_fingerprint
from crackdet.inference.loaded_run import LoadedRun
from crackdet.running.job import Job, execute
from crackdet.store.identity import identify
from crackdet.store.run_store import RunStore
from tests.conftest import TINY


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("inference") / "runs"


@pytest.fixture(scope="session")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty-four drawn photographs of 60 x 48 pixels in `crack` and `noncrack`."""
    root = tmp_path_factory.mktemp("camera")
    for index in range(24):
        drawing = synthetic.draw(index, seed=3, image_size=60, crack_fraction=0.5, hard_negatives=0, difficulty=0)
        folder = root / ("crack" if drawing.mask.any() else "noncrack")
        folder.mkdir(exist_ok=True)
        Image.fromarray(drawing.image).resize((60, 48)).save(folder / f"{index:03d}.png")
    return root


def trained(store: Path, cache: Path, overrides: Sequence[str]) -> LoadedRun:
    places = [f"runtime.store={store}", f"runtime.cache={cache}", "runtime.device=cpu"]
    tiny = [
        override for override in TINY if not override.startswith("data.num_images") or "data=folder" not in overrides
    ]
    config = compose([*tiny, *places, *overrides])
    identity = identify(config, data_fingerprint(config.data, config.runtime))
    job = Job(config, identity, RunStore(store).run(identity.run_id), list(overrides))
    assert execute(job) is not None
    return crackdet.load_run(job.run.id, store)


@pytest.fixture(scope="session")
def drawn(store: Path, cache: Path) -> LoadedRun:
    return trained(store, cache, ["data.hard_negatives=0", "data.difficulty=0", "trainer.max_epochs=4"])


@pytest.fixture(scope="session")
def photographed(store: Path, cache: Path, camera: Path) -> LoadedRun:
    return trained(
        store, cache, ["data=folder", f"data.root={camera}", "data.image_size=32", "data.valid_fraction=0.5"]
    )
