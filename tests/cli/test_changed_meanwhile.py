"""Images or a run store that change while a grid trains its first run; run in this process."""

import logging
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import hydra
import pytest

from crackdet.cli.train import run_hydra
from crackdet.config.composing import CONF
from crackdet.running.job import Job
from crackdet.sweep.task import run_job
from tests.data.image_files import make_folders

Grid = Callable[[Callable[[], object]], tuple[object, list[str]]]


@pytest.fixture
def grid(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: Path) -> Iterator[Grid]:
    """Run a grid of three runs, and an action during the first; return the exit status and the runs that began."""
    make_folders(tmp_path / "photos", {"crack": 8, "noncrack": 8})
    monkeypatch.chdir(tmp_path)

    def run(action: Callable[[], object]) -> tuple[object, list[str]]:
        began: list[str] = []

        def execute(job: Job, *_: object) -> float:
            began.append(job.run.id)
            if len(began) == 1:
                action()
            return 0.5

        monkeypatch.setattr("crackdet.sweep.task.execute", execute)
        settings = ["data=folder", "data.root=photos", "data.image_size=32", "model.conv_out=[4]", "seed=0,1,2"]
        places = ["runtime.store=runs", f"runtime.cache={cache}", "hydra.sweep.dir=sweep", "sweep.report=false"]
        monkeypatch.setattr(sys, "argv", ["train.py", "-m", *settings, *places])
        with pytest.raises(SystemExit) as stopped:
            run_hydra(hydra.main(config_path=str(CONF), config_name="config")(lambda config: run_job(config)))
        return stopped.value.code, began

    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield run
    root.handlers[:] = handlers  # Hydra has replaced them
    root.setLevel(level)


def test_images_that_change_stop_the_other_runs_of_a_grid(grid: Grid, capfd: pytest.CaptureFixture[str]) -> None:
    def exchange() -> None:
        one, other = (sorted(Path("photos").glob(f"{name}/*"))[0] for name in ("crack", "noncrack"))
        content = one.read_bytes()
        one.write_bytes(other.read_bytes())
        other.write_bytes(content)

    status, began = grid(exchange)
    assert status == 1 and len(began) == 1
    assert "the images have changed since the command began" in "".join(capfd.readouterr())


def test_a_store_that_is_removed_between_two_runs_is_not_created_again(
    grid: Grid, capsys: pytest.CaptureFixture[str]
) -> None:
    status, began = grid(lambda: shutil.rmtree("runs"))
    assert status == 2 and len(began) == 1
    assert "runtime.store=runs: the folder was moved" in capsys.readouterr().err and not Path("runs").exists()
