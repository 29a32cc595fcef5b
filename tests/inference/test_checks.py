"""The arguments of all commands are checked before torch is imported."""

import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from crackdet.inference.eval_data import METRICS
from crackdet.inference.loaded_run import LoadedRun
from crackdet.metrics.torch_metrics import Metrics

COMMANDS = """
import json, sys
from typer.testing import CliRunner
from crackdet.cli.main import app
for arguments in json.load(sys.stdin):
    result = CliRunner().invoke(app, arguments)
    print(json.dumps([result.exit_code, result.stdout, result.stderr, "torch" in sys.modules]))
"""


def test_the_metrics_of_evaluate_are_those_of_training_and_the_rate_of_false_alarms() -> None:
    assert (*(item.name for item in fields(Metrics)), "false_alarm_rate") == METRICS


def test_wrong_arguments_are_refused_before_torch_is_imported(
    photo_run: LoadedRun, store: Path, photo_folder: Path, tmp_path: Path
) -> None:
    photo = str(next(photo_folder.rglob("*.png")))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    run = [photo_run.id, "--store", str(store)]
    cases = {
        "must be train, valid, test or all": ["evaluate", *run, "--split", "al"],
        "--metric luck": ["evaluate", *run, "--metric", "luck"],
        "data.root=nowhere": ["evaluate", *run, "data.root=nowhere"],
        "only these overrides": ["evaluate", *run, "seed=1"],
        "out.txt: must end with": ["evaluate", *run, "--output", "out.txt"],
        "no such folder: nowhere": ["evaluate", *run, "--output", "nowhere/out.csv"],
        "trained with data.image_size=32": ["evaluate", *run, "--on", "data.image_size=64"],
        "abacus: cannot be used": ["evaluate", *run, "--device", "abacus"],
        "nobody: no such run": ["evaluate", "nobody", "--store", str(store)],
        "nothing.jpg: no such file": ["predict", *run, "nothing.jpg"],
        "--format xml": ["predict", *run, photo, "--format", "xml"],
        "is not a regular file": ["predict", *run, photo, "--output", "/dev/null", "--format", "csv", "--force"],
        "dark: no such folder": ["predict", "best", photo, "--store", "dark"],
        "best:text: is a file": ["predict", "best:text", photo],
        "wall.jpg: ": ["scan", *run, "wall.jpg"],
        "--tile big": ["scan", *run, photo, "--tile", "big"],
        "full: exists and is not empty": ["export", *run, "--to", "full"],
        "text: is a file; give a folder": ["export", *run, "--to", "text"],
        "--map conv1: must be STAGE:NUMBER": ["inspect", *run, "--map", "conv1"],
        "nothing.png: is neither": ["inspect", *run, "nothing.png"],
        "--output text: is a file": ["inspect", *run, "--output", "text"],
        "must be train, valid or test": ["pointing", *run, "--split", "all"],
        "data.masks=nowhere": ["pointing", *run, "data.masks=nowhere"],
        "show: no such run": ["show", "show", "--store", str(store)],
        "give only one folder": ["runs", str(store), "--store", str(store)],
        "--status lost: must be one of todo": ["runs", str(store), "--status", "failed,lost"],
        "--by luck": ["report", str(store), "--by", "luck"],
        "nowhere: no such folder": ["report", "nowhere"],
        "text: is not a report of crackdet": ["report", str(store), "--to", "text"],
        "elsewhere: no such folder": ["summary", "elsewhere", "--test"],
        "--recall 2": ["summary", str(store), "--recall", "2"],
        "remove the options": ["summary", str(store), "--json", "--sort", "loss"],
        "has such a metric or setting": ["summary", str(store), "--sort", "luck"],
        "text/deep: cannot be created": ["summary", str(store), "--write", "text/deep"],
        "must be all, none": ["clean", str(store), "--keep-weights", "best"],
        "data.root=void": ["check-data", "data=folder", "data.root=void"],
        "datta: unknown key": ["check-data", "datta=folder"],
    }  # fmt: skip
    (tmp_path / "text").write_text("not ours")
    process = subprocess.run(
        [sys.executable, "-c", COMMANDS], cwd=tmp_path, input=json.dumps([*cases.values()]), capture_output=True,
        text=True, timeout=300,
    )  # fmt: skip
    results = [json.loads(line) for line in process.stdout.splitlines()]
    assert len(results) == len(cases), process.stderr
    for (message, arguments), (status, stdout, stderr, has_torch) in zip(cases.items(), results, strict=True):
        assert (status, stdout) == (2, ""), (arguments, status, stdout, stderr)
        assert message in stderr and stderr.startswith("error: ") and len(stderr.splitlines()) == 1, stderr
        assert not has_torch, arguments


@pytest.mark.parametrize("as_text", [True, False])
def test_a_folder_is_predicted_in_the_order_of_its_paths(
    photo_run: LoadedRun, photo_folder: Path, as_text: bool
) -> None:
    files = sorted(photo_folder.rglob("*.png"))
    expected = photo_run.predict(files, device="cpu").tolist()
    assert photo_run.predict(str(photo_folder) if as_text else photo_folder, device="cpu").tolist() == expected
    both = photo_run.predict([files[0], photo_folder], device="cpu").tolist()
    assert both == [expected[0], *expected]
