"""`train.py -m`: grids and searches."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

from hydra_plugins.hydra_optuna_sweeper.config import OptunaSweeperConf
from omegaconf import DictConfig, OmegaConf

from tests.cli.conftest import ROOT, Command, crackdet, summary
from tests.conftest import TINY
from tests.preloaded import run_python


def test_a_sweep_trains_each_combination_once_and_names_the_best(command: Command, tmp_path: Path) -> None:
    grid = ("-m", "model=custom", "model.conv_out=[4,8],[8,8],[4,8]", "seed=0,1")
    first = command(*grid)
    assert first.returncode == 0, first.stderr
    found = summary(tmp_path)
    assert found["schema"] == 3 and len(found["runs"]) == 4
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
    assert not (tmp_path / "sweep" / "report.html").exists(), "sweep.report is false"
    assert found["best"] in crackdet(tmp_path, "summary", "sweep").stdout


def test_a_setting_applies_to_the_options_that_have_it(command: Command, tmp_path: Path) -> None:
    grid = ("-m", "optimizer=adam,sgd", "optimizer.momentum=0.8", "optimizer.nesterov=true,false")
    first = command(*grid)
    assert first.returncode == 0, first.stderr
    assert (
        "optimizer.momentum applies to optimizer=sgd only, optimizer.nesterov applies to optimizer=sgd only; "
        "4 combinations are reduced to 3" in first.stdout
    )
    assert len(summary(tmp_path)["runs"]) == 3
    assert all(word in first.stdout for word in ("optimizer=adam", "nesterov=true", "nesterov=false"))
    assert "beta1" not in first.stdout.partition("what differs")[2]
    for file in (tmp_path / "runs").glob("*/provenance.json"):
        assert "optimizer.momentum=0.8 " in json.loads(file.read_text())["command"], "as typed"
    assert "3 runs, 3 of them already finished" in command(*grid).stdout
    refused = command("-m", "hydra/sweeper=basic", "optimizer=adam,sgd", "optimizer.momentum=0.8")
    assert refused.returncode == 2 and "hydra/sweeper=crackdet, the default of -m" in refused.stderr


def test_invalid_combinations_are_all_named_before_anything_is_trained(command: Command, tmp_path: Path) -> None:
    result = command("-m", "model.conv_out=[4,8],[4,0]", "trainer.max_epochs=2,-1")
    assert result.returncode == 2
    assert "3 of 4 combinations are invalid; nothing was trained" in result.stderr
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


def test_hydras_basic_sweeper_ends_with_the_summary(command: Command, tmp_path: Path) -> None:
    result = command("-m", "hydra/sweeper=basic", "seed=0,1")
    assert result.returncode == 0, result.stderr
    assert len(summary(tmp_path)["runs"]) == 2 and "max accuracy" in result.stdout
    assert not (tmp_path / "sweep" / "report.html").exists(), "sweep.report is false"


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
    assert isinstance(ours, DictConfig)
    theirs = {item.name: getattr(OptunaSweeperConf(), item.name) for item in fields(OptunaSweeperConf)}
    assert ours.defaults == [*theirs.pop("defaults"), "_self_"] and set(ours) == {*theirs, "defaults"} - {"sampler"}
    same = [str(key) for key in ours if key not in ("defaults", "_target_", "direction")]
    assert {key: ours[key] for key in same} == {key: theirs[key] for key in same}


def test_a_users_network_and_settings_can_be_outside_of_the_repository(command: Command, tmp_path: Path) -> None:
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


def test_ctrl_c_saves_the_run_and_prints_the_summary_and_the_same_command_resumes(
    command: Command, tmp_path: Path, base_overrides: list[str]
) -> None:
    settings = [*TINY, *base_overrides, "data.num_images=8", "trainer.max_epochs=150", "trainer.patience=150", "seed=0"]
    line = [sys.executable, str(ROOT / "train.py"), "-m", *settings, f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    process = subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.PIPE, text=True, stderr=subprocess.PIPE)
    history = None
    deadline = time.monotonic() + 100
    while history is None and time.monotonic() < deadline:
        time.sleep(0.02)
        history = next((tmp_path / "runs").glob("*/history.csv"), None)
    assert history is not None
    os.kill(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "the same command resumes it" in output and "interrupted custom-" in output
    assert "Traceback" not in errors
    assert history.with_name("resume.pt").exists()
    resumed = run_python(line[1:], tmp_path)
    assert resumed.returncode == 0
    assert f"resuming from {history.parent.name}: epoch" in resumed.stdout


def test_a_search_in_which_every_trial_fails_ends_with_its_summary(command: Command, tmp_path: Path) -> None:
    result = command("-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "optimizer=sgd",
                     "optimizer.learning_rate=1e30", "seed=choice(0,1)")  # fmt: skip
    assert result.returncode == 1
    assert {row["status"] for row in summary(tmp_path)["runs"]} == {"failed"}


def test_unreadable_weights_are_refused_before_anything_is_trained(command: Command, tmp_path: Path) -> None:
    (tmp_path / "broken.pth").write_bytes(b"no weights")
    result = command("-m", f"model.weights=null,{tmp_path / 'broken.pth'}")
    assert result.returncode == 2 and "broken.pth: cannot be read as weights" in result.stderr
    assert not list((tmp_path / "runs").glob("*/result.json"))
