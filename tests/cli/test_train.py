"""`train.py` and `crackdet` as a user starts them: whole processes, real runs, what they print and leave."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
from hydra_plugins.hydra_optuna_sweeper.config import OptunaSweeperConf
from omegaconf import OmegaConf
from typer.testing import CliRunner

from crackdet.cli.main import app
from tests.conftest import TINY

ROOT = Path(__file__).parents[2]
Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def command(tmp_path: Path, places: list[str]) -> Command:
    """Runs `python train.py` with tiny settings, its logs and its store in the test's folder."""

    def run(*arguments: str, tiny: bool = True, options: tuple[str, ...] = ()) -> "subprocess.CompletedProcess[str]":
        folders = [f"hydra.run.dir={tmp_path / 'single'}", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
        settings = [*(TINY if tiny else ()), *places, *folders]
        first = next((i for i, argument in enumerate(arguments) if "=" in argument), len(arguments))
        flags, overrides = arguments[:first], arguments[first:]
        line = [sys.executable, *options, str(ROOT / "train.py"), *flags, *settings, *overrides]
        return subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=300)

    return run


def crackdet(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    line = [sys.executable, "-m", "crackdet", *arguments]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=300)


def summary(tmp_path: Path) -> dict:  # type: ignore[type-arg]
    return json.loads((tmp_path / "sweep" / "summary.json").read_text())  # type: ignore[no-any-return]


def imported(result: "subprocess.CompletedProcess[str]") -> set[str]:
    """The modules that a process started with `-X importtime` has imported."""
    return {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}


def test_one_run_is_trained_then_recognised_without_importing_torch(command: Command, tmp_path: Path) -> None:
    first = command(options=("-X", "importtime"))
    assert first.returncode == 0, first.stderr
    assert re.search(r"finished custom-[0-9a-f]{12}: accuracy 0\.\d{4} in epoch \d, ", first.stdout)
    assert "torch" in imported(first)
    assert not imported(first) & {"torch._dynamo", "sympy", "torchvision", "torchmetrics", "optuna", "scipy"}
    second = command("seed=0", options=("-X", "importtime"))
    assert second.returncode == 0
    assert re.fullmatch(r"already finished custom-[0-9a-f]{12}: accuracy .*\n", second.stdout)
    assert "crackdet.config.parsing" in imported(second)
    assert not imported(second) & {"torch", "torchvision", "torchmetrics", "optuna", "scipy"}
    third = command(options=("-X", "importtime"))  # the same words as at first
    assert third.returncode == 0 and third.stdout == second.stdout
    assert not imported(third) & {"torch", "hydra", "omegaconf", "numpy", "rich", "yaml"}


def test_a_run_whose_result_is_gone_is_trained_again_however_well_it_is_remembered(
    command: Command, tmp_path: Path
) -> None:
    first = command()
    (result,) = (tmp_path / "runs").glob("*/result.json")
    result.unlink()
    again = command()
    assert re.findall("finished custom.*", again.stdout) == re.findall("finished custom.*", first.stdout)
    assert "already" not in again.stdout and result.exists()


def test_what_the_environment_decides_is_asked_again(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = "seed=${oc.env:CRACKDET_TEST_SEED}"
    trained = set()
    for seed in ("1", "1", "2"):
        monkeypatch.setenv("CRACKDET_TEST_SEED", seed)
        trained |= set(re.findall(r"finished (custom-\w+)", command(setting).stdout))
    assert len(trained) == 2


def test_rerun_trains_a_finished_run_again(command: Command) -> None:
    first, again = command(), command("runtime.retrain=true")
    line = re.compile(r"finished custom-.*")
    assert line.search(again.stdout) and "epoch 1/2" in again.stdout
    assert line.findall(first.stdout) == line.findall(again.stdout)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.augmentation=flips", "must be a group of settings; one is chosen by data/augmentation=flips"),
        ("model.conv_out=[64,-1]", "model.conv_out=[64,-1]: must be a list of whole numbers"),
        ("optimizer.learning_rate=abc", "optimizer.learning_rate=abc: must be a number above 0"),
        ("trainer.max_epochs=0", "trainer.max_epochs=0: must be a whole number at least 1"),
        ("trainer.epochs=3", "trainer.epochs: unknown key; did you mean max_epochs?"),
        ("model=resnet", "model=resnet: no such option; there are custom, resnext50, torchvision"),
        ("trainer.max_epochs=", "trainer.max_epochs"),
        ("data=folder", "data.num_images: unknown key; it belongs to data=synthetic"),
        ("data.image_size=24 model.conv_out=[4,4,4,4,4]", "data.image_size=24: too small for the 5 poolings"),
        ("model.conv_out=[1,", "model.conv_out=[1,: no viable alternative"),
        (
            "hydra.run.dir=/dev/null/logs",
            "/dev/null/logs: cannot be written (Not a directory); make room, or give another",
        ),
        ("sweep.dry_run=true", "sweep.dry_run=true: lists the runs of a sweep; give -m"),
    ],
)
def test_a_wrong_value_is_one_message_and_nothing_is_trained(
    command: Command, tmp_path: Path, override: str, message: str
) -> None:
    result = command(*override.split())
    assert result.returncode == 2
    assert result.stderr.startswith("error: ") and message in result.stderr
    assert "Traceback" not in result.stderr + result.stdout
    assert not (tmp_path / "runs").exists()


def test_data_that_cannot_be_used_is_one_message(command: Command, tmp_path: Path, photographs: Path) -> None:
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


def test_a_sweep_trains_each_combination_once_and_names_the_best(command: Command, tmp_path: Path) -> None:
    grid = ("-m", "model=custom", "model.conv_out=[4,8],[8,8],[4,8]", "seed=0,1")
    first = command(*grid)
    assert first.returncode == 0, first.stderr
    found = summary(tmp_path)
    assert found["schema"] == 2 and len(found["runs"]) == 4
    accuracies = [row["accuracy"] for row in found["runs"]]
    assert found["best"] == found["runs"][0]["id"] and accuracies == sorted(accuracies, reverse=True)
    store = (tmp_path / "sweep" / found["store"]).resolve()
    for row in found["runs"]:
        result = json.loads((store / row["id"] / "result.json").read_text())
        assert all(row[name] == result[name] for name in ("accuracy", "loss", "epoch", "parameters", "seconds"))
        assert (store / row["checkpoint"]).is_file()
    assert f"max accuracy {accuracies[0]:.4f}: {found['best']}" in first.stdout
    with (tmp_path / "sweep" / "summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [row["id"] for row in found["runs"]]
    assert {(row["model.conv_out"], row["seed"]) for row in rows} == {
        (conv_out, seed) for conv_out in ("[4, 8]", "[8, 8]") for seed in "01"
    }
    again = command(*grid, options=("-X", "importtime"))
    assert again.returncode == 0 and "4 runs, 4 of them already finished" in again.stdout
    assert not re.search(r"\| +torch$", again.stderr, re.MULTILINE)
    assert summary(tmp_path) == found
    assert not (tmp_path / "sweep" / "report.html").exists(), "it is switched off"
    assert found["best"] in crackdet(tmp_path, "summary", "sweep").stdout


def test_invalid_combinations_are_all_named_before_anything_is_trained(command: Command, tmp_path: Path) -> None:
    result = command("-m", "model.conv_out=[4,8],[4,0]", "trainer.max_epochs=2,-1")
    assert result.returncode == 2
    assert "3 of 4 combinations cannot be trained, so none was" in result.stderr
    assert result.stderr.count("model.conv_out=[4,0]: must be") == 2 or result.stderr.count("must be") == 3
    assert not (tmp_path / "runs").exists()


def test_a_failing_run_does_not_stop_the_sweep(command: Command, tmp_path: Path) -> None:
    result = command("-m", "optimizer=sgd", "optimizer.learning_rate=1e30,1e-3")
    assert result.returncode == 1
    statuses = {row["status"]: row for row in summary(tmp_path)["runs"]}
    assert set(statuses) == {"finished", "failed"}
    assert "the loss is" in statuses["failed"]["reason"]
    assert "failed custom-" in result.stdout.splitlines()[-1]
    assert "Traceback" not in result.stdout + result.stderr


def test_hydras_own_sweepers_end_with_the_summary_too(command: Command, tmp_path: Path) -> None:
    result = command("-m", "hydra/sweeper=basic", "seed=0,1")
    assert result.returncode == 0, result.stderr
    assert len(summary(tmp_path)["runs"]) == 2 and "max accuracy" in result.stdout
    assert not (tmp_path / "sweep" / "report.html").exists(), "it is switched off"


def test_an_optuna_search_explores_a_range(command: Command, tmp_path: Path) -> None:
    tiny = [override for override in TINY if "linear_features" not in override]
    width = "model.linear_features=range(8,33,step=8)"
    result = command("-m", "experiment=linear_width", "hydra.sweeper.n_trials=3", *tiny, width, tiny=False)
    assert result.returncode == 0, result.stderr
    found = summary(tmp_path)
    assert 1 <= len(found["runs"]) <= 3 and found["best"]


def test_the_sweeper_of_hydra_optuna_sweeper_maximises_accuracy(command: Command, tmp_path: Path) -> None:
    tiny = [override for override in TINY if not override.startswith("model.linear_features")]
    result = command("-m", "hydra/sweeper=optuna", *tiny, "model.linear_features=interval(16,64)", "seed=range(0,99)",
                     "hydra.sweeper.n_trials=4", "hydra.sweeper.sampler.seed=1", tiny=False)  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "Warning" not in result.stderr
    accuracies = [row["accuracy"] for row in summary(tmp_path)["runs"]]
    assert max(accuracies) > min(accuracies)
    best = OmegaConf.load(tmp_path / "sweep" / "optimization_results.yaml")
    assert best.best_value == max(accuracies)
    assert isinstance(best.best_params["model.linear_features"], int)


def test_the_optuna_sweeper_has_the_settings_of_the_plugin() -> None:
    ours = OmegaConf.load(ROOT / "conf" / "hydra" / "sweeper" / "optuna.yaml")
    theirs = {item.name: getattr(OptunaSweeperConf(), item.name) for item in fields(OptunaSweeperConf)}
    assert ours.defaults == [*theirs.pop("defaults"), "_self_"] and set(ours) == {*theirs, "defaults"} - {"sampler"}
    same = [key for key in ours if key not in ("defaults", "_target_", "direction")]
    assert {key: ours[key] for key in same} == {key: theirs[key] for key in same}


def test_a_network_and_settings_of_ones_own_stand_outside_of_the_clone(command: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Sequential):\n"
        "    def __init__(self, width: int) -> None:\n"
        "        super().__init__(nn.Conv2d(3, width, 5, stride=4), nn.ReLU())\n"
    )
    (tmp_path / "settings" / "model").mkdir(parents=True)
    (tmp_path / "settings" / "model" / "mine.yaml").write_text("_target_: mine.Net\nname: mine\nwidth: 4\n")
    tiny = [override for override in TINY if not override.startswith("model.")]
    result = command("--config-dir", "settings", "-m", "model=mine", "model.width=4,6", *tiny, tiny=False)
    assert result.returncode == 0, result.stderr
    assert {row["id"].split("-")[0] for row in summary(tmp_path)["runs"]} == {"mine"}
    assert len(summary(tmp_path)["runs"]) == 2
    run = summary(tmp_path)["best"]
    refused = crackdet(tmp_path, "evaluate", run, "--store", "runs")
    assert refused.returncode == 2 and "--trust" in refused.stderr


def test_ctrl_c_saves_the_run_prints_the_summary_and_the_same_command_goes_on(
    command: Command, tmp_path: Path, places: list[str]
) -> None:
    settings = [*TINY, *places, "trainer.max_epochs=150", "trainer.patience=150", "seed=0,1"]
    line = [sys.executable, str(ROOT / "train.py"), "-m", *settings, f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    process = subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.PIPE, text=True, stderr=subprocess.PIPE)
    history = None
    deadline = time.monotonic() + 100
    while history is None and time.monotonic() < deadline:
        time.sleep(0.1)
        history = next((tmp_path / "runs").glob("*/history.csv"), None)
    assert history is not None
    os.kill(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "the same command goes on from here" in output and "interrupted custom-" in output
    assert "Traceback" not in errors
    assert history.with_name("resume.pt").exists()
    resumed = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True)
    assert resumed.returncode == 0
    assert f"going on from {history.parent.name}: epoch" in resumed.stdout


def test_a_search_in_which_every_trial_fails_ends_with_its_summary(command: Command, tmp_path: Path) -> None:
    result = command("-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "optimizer=sgd",
                     "optimizer.learning_rate=1e30", "seed=choice(0,1)")  # fmt: skip
    assert result.returncode == 1
    assert {row["status"] for row in summary(tmp_path)["runs"]} == {"failed"}


def test_a_store_that_cannot_be_written_is_refused(command: Command, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for arguments in ((), ("-m", "seed=0,1")):
        result = command(*arguments, f"runtime.store={tmp_path / 'file'}")
        assert result.returncode == 2 and "runtime.store=" in result.stderr, result.stderr
        assert "Traceback" not in result.stdout + result.stderr


def test_weights_that_do_not_fit_are_told_before_anything_is_trained(command: Command, tmp_path: Path) -> None:
    (tmp_path / "broken.pth").write_bytes(b"no weights")
    result = command("-m", f"model.weights=null,{tmp_path / 'broken.pth'}")
    assert result.returncode == 2 and "broken.pth: cannot be read as weights" in result.stderr
    assert not list((tmp_path / "runs").glob("*/result.json"))


def test_the_store_is_listed_shown_and_tidied(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command()
    listed = crackdet(tmp_path, "runs", "--store", "runs")
    (run,) = re.findall(r"custom-[0-9a-f]{12}", listed.stdout)
    assert "finished" in listed.stdout
    monkeypatch.chdir(tmp_path)

    def shown(*arguments: str, status: int = 0) -> str:  # in this process, which has torch already
        result = CliRunner().invoke(app, [*arguments, "--store", "runs"])
        assert result.exit_code == status, result.output
        return result.stdout

    text = shown("show", "custom")
    assert run in text and "optimizer.learning_rate" in text and "valid_loss" in text
    accuracy = json.loads((tmp_path / "runs" / run / "result.json").read_text())["accuracy"]
    assert f"accuracy {accuracy:.4f}" in shown("evaluate", run)
    redrawn = shown("evaluate", "best", "data.seed=1")
    assert re.match(rf"{run} on 10 images \(data.seed=1\), valid split: ", redrawn), "its own data with another seed"
    shown("show", "nothing", status=2)
    shown("rm", run, "--yes")
    assert not (tmp_path / "runs" / run).exists()
    assert CliRunner().invoke(app, ["summary", "nowhere"]).exit_code == 2


def test_a_data_source_is_checked_and_drawn(tmp_path: Path, photographs: Path, cache: Path) -> None:
    result = crackdet(
        tmp_path,
        "check-data",
        "data=folder",
        f"data.root={photographs}",
        f"runtime.cache={cache}",
        "--sheet",
        "sheet.png",
    )
    assert result.returncode == 0, result.stderr
    assert "fingerprint" in result.stdout and (tmp_path / "sheet.png").stat().st_size > 1000
