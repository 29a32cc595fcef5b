"""`train.py` with a single run, and commands that it refuses."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import Command


def imported(result: "subprocess.CompletedProcess[str]") -> set[str]:
    """Return the modules that a process started with `-X importtime` has imported."""
    return {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}


def test_a_finished_run_is_skipped_without_importing_torch(command: Command, tmp_path: Path) -> None:
    first = command(options=("-X", "importtime"))
    assert first.returncode == 0, first.stderr
    assert re.search(r"finished custom-[0-9a-f]{12}: accuracy 0\.\d{4} in epoch \d, ", first.stdout)
    assert "torch" in imported(first)
    assert not imported(first) & {"torch._dynamo", "sympy", "torchvision", "timm", "torchmetrics", "optuna", "scipy"}
    second = command("seed=0", options=("-X", "importtime"))
    assert second.returncode == 0
    assert re.fullmatch(r"already finished custom-[0-9a-f]{12}: accuracy .*\n", second.stdout)
    assert "crackdet.config.parsing" in imported(second)
    assert not imported(second) & {"torch", "torchvision", "timm", "torchmetrics", "optuna", "scipy"}
    third = command(options=("-X", "importtime"))  # the same command line as the first
    assert third.returncode == 0 and third.stdout == second.stdout
    assert not imported(third) & {"torch", "hydra", "omegaconf", "numpy", "rich", "yaml"}


def test_a_run_without_its_result_is_trained_again_despite_the_command_cache(command: Command, tmp_path: Path) -> None:
    first = command()
    (result,) = (tmp_path / "runs").glob("*/result.json")
    result.unlink()
    again = command()
    assert re.findall("finished custom.*", again.stdout) == re.findall("finished custom.*", first.stdout)
    assert "already" not in again.stdout and result.exists()


def test_settings_from_environment_variables_are_not_cached(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = "seed=${oc.env:CRACKDET_TEST_SEED}"
    trained = set()
    for seed in ("1", "1", "2"):
        monkeypatch.setenv("CRACKDET_TEST_SEED", seed)
        trained |= set(re.findall(r"finished (custom-\w+)", command(setting).stdout))
    assert len(trained) == 2


def test_retrain_trains_a_finished_run_again(command: Command) -> None:
    first, again = command(), command("runtime.retrain=true")
    line = re.compile(r"finished custom-.*")
    assert line.search(again.stdout) and "epoch 1/2" in again.stdout
    assert line.findall(first.stdout) == line.findall(again.stdout)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.augmentation=flips", "must be a group of settings; choose an option with data/augmentation=flips"),
        ("model.conv_out=[64,-1]", "model.conv_out=[64,-1]: must be a non-empty list of integers"),
        ("optimizer.learning_rate=abc", "optimizer.learning_rate=abc: must be a number > 0"),
        ("trainer.max_epochs=0", "trainer.max_epochs=0: must be an integer >= 1"),
        ("trainer.epochs=3", "trainer.epochs: unknown key; did you mean trainer.max_epochs?"),
        ("model=resnet", "resnet18, resnet50, resnext50, timm, torchvision; did you mean model=resnet50?"),
        ("trainer.max_epochs=", "trainer.max_epochs"),
        ("data=folder", "data.num_images: unknown key; it belongs to data=synthetic"),
        ("data.image_size=24 model.conv_out=[4,4,4,4,4]", "data.image_size=24: must be at least 32"),
        ("model.conv_out=[1,", "model.conv_out=[1,: no viable alternative"),
        (
            "hydra.run.dir=/dev/null/logs",
            "/dev/null/logs: cannot be written (Not a directory); make room, or set another",
        ),
        ("sweep.dry_run=true", "sweep.dry_run=true: lists the runs of a sweep; give -m"),
    ],
)
def test_a_wrong_value_is_refused_with_one_message(
    command: Command, tmp_path: Path, override: str, message: str
) -> None:
    result = command(*override.split())
    assert result.returncode == 2
    assert result.stderr.startswith("error: ") and message in result.stderr
    assert "Traceback" not in result.stderr + result.stdout
    assert not (tmp_path / "runs").exists()


def test_unusable_data_is_refused_with_one_message(command: Command, tmp_path: Path, photographs: Path) -> None:
    folder = ["data=folder", "data.image_size=32", "model.conv_out=[4,8]"]
    without = command(*folder, tiny=False)
    assert without.returncode == 2 and "data.root: missing; give it as in data.root=VALUE" in without.stderr
    missing = command(*folder, "data.root=nowhere", tiny=False)
    assert missing.returncode == 2 and "data.root=nowhere: there is no such folder" in missing.stderr
    (photographs / "Positive" / "bad.jpg").write_bytes(b"no image")
    bad = command(*folder, f"data.root={photographs}", tiny=False)
    assert bad.returncode == 2 and "1 of 17 images of" in bad.stderr and "bad.jpg" in bad.stderr
    for path in (photographs / "Negative").iterdir():
        path.unlink()
    empty = command(*folder, f"data.root={photographs}", tiny=False)
    assert empty.returncode == 2 and "Negative holds no image" in empty.stderr


def test_a_store_that_cannot_be_written_is_refused(command: Command, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for arguments in ((), ("-m", "seed=0,1")):
        result = command(*arguments, f"runtime.store={tmp_path / 'file'}")
        assert result.returncode == 2 and "runtime.store=" in result.stderr, result.stderr
        assert "Traceback" not in result.stdout + result.stderr
