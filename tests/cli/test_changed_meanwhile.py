"""Images or a run store that change while a grid trains its first run."""

from pathlib import Path

from tests.data.image_files import make_folders
from tests.preloaded import run_python

PROGRAM = """
import shutil, sys
from pathlib import Path
import hydra
from crackdet.cli.train import run_hydra
from crackdet.config.composing import CONF
from crackdet.sweep import task

def exchange():
    one, other = (sorted(Path("photos").glob(f"{name}/*"))[0] for name in ("crack", "noncrack"))
    one.rename("aside"), other.rename(one), Path("aside").rename(other)

def remove():
    shutil.rmtree("runs")

def execute(job, *_):  # in place of training
    if not Path("began").exists():
        ACTION()
    with open("began", "a") as file:
        file.write(job.run.id + "\\n")
    return 0.5

task.execute = execute
run_hydra(hydra.main(config_path=str(CONF), config_name="config")(lambda config: task.run_job(config)))
"""


def run_grid(folder: Path, cache: Path, action: str) -> tuple[int, str, int]:
    """Run a grid of three runs, and an action during the first; return the status, the output and the runs that began.

    Hydra changes the logging of a process, so the grid has its own.
    """
    make_folders(folder / "photos", {"crack": 8, "noncrack": 8})
    (folder / "program.py").write_text(PROGRAM.replace("ACTION", action))
    settings = ["data=folder", "data.root=photos", "data.image_size=32", "model.conv_out=[4]", "seed=0,1,2"]
    places = ["runtime.store=runs", f"runtime.cache={cache}", "hydra.sweep.dir=sweep", "sweep.report=false"]
    ended = run_python([folder / "program.py", "-m", *settings, *places], folder)
    return ended.returncode, ended.stdout + ended.stderr, len((folder / "began").read_text().splitlines())


def test_images_that_change_stop_the_other_runs_of_a_grid(tmp_path: Path, cache: Path) -> None:
    status, output, began = run_grid(tmp_path, cache, "exchange")
    assert status == 1 and began == 1, output
    assert "the images have changed since the command began" in output


def test_a_store_that_is_removed_between_two_runs_is_not_created_again(tmp_path: Path, cache: Path) -> None:
    status, output, began = run_grid(tmp_path, cache, "remove")
    assert status == 2 and began == 1, output
    assert "runtime.store=runs: the folder was moved" in output and not (tmp_path / "runs").exists()
