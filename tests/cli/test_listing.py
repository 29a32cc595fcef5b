"""Commands that list: folders as an argument or as --store, JSON, statuses, reports, and completion."""

import json
import os
import subprocess
import sys
import webbrowser
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from crackdet.cli.main import app
from crackdet.store.failures import Failure, record_failure
from crackdet.store.run import Run
from crackdet.store.run_store import RunStore
from crackdet.store.sweep_record import SweepRecord
from tests.analysis.runs import LABELS, publish, with_mistakes


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """Three finished runs, two of them of a sweep, and a failed one."""
    monkeypatch.chdir(tmp_path)
    store = Path("outputs/runs")
    finished = [publish(store, LABELS, with_mistakes(mistakes), width=mistakes) for mistakes in (1, 2, 50)]
    failed = RunStore(store).run("custom-000000000000")
    failed.directory.mkdir()
    record_failure(failed, Failure.ERROR, "no memory", attempts=1)
    record = SweepRecord(Path("multirun/2030-01-01/10-00-00"))
    record.make(store)
    for run in finished[1:]:
        record.add(run, [f"model.width={run.id}"])
    return [*finished, failed]


def crackdet(*arguments: str, status: int = 0) -> Result:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == status, result.output
    return result


def json_of(*arguments: str) -> Any:
    return json.loads(crackdet(*arguments, "--json").stdout)


SWEEP = "multirun/2030-01-01/10-00-00"


@pytest.mark.parametrize("command", ["summary", "runs", "report", "clean", "watch"])
def test_every_command_on_a_folder_takes_it_as_an_argument_and_as_store(command: str, runs: list[Run]) -> None:
    more = ["--once"] if command == "watch" else []
    outputs = [crackdet(command, *folder, *more).stdout for folder in ([SWEEP], ["--store", SWEEP])]
    if command == "watch":  # it shows times
        assert all(runs[1].id in output and runs[0].id not in output for output in outputs)
    else:
        assert outputs[0] == outputs[1]
    default, named = (crackdet(command, *folder, *more).stdout for folder in ([], ["outputs/runs"]))
    if command in ("summary", "runs"):
        assert default == named
        assert runs[0].id in default and runs[0].id not in outputs[0] and runs[1].id in outputs[0]
    crackdet(command, SWEEP, "--store", "outputs/runs", status=2)
    assert "no such folder" in crackdet(command, "nowhere", *more, status=2).stderr


@pytest.mark.parametrize("store", [[], ["--store", "outputs/runs"], ["--store", SWEEP]])
def test_best_is_the_same_run_for_every_command(runs: list[Run], store: list[str]) -> None:
    result = crackdet("show", "best", *store)
    assert runs[1].id in result.stdout.splitlines()[0]
    assert result.stderr.startswith(f"best: {runs[1].id}, accuracy 0.9933, the best of the")
    crackdet("rm", "best", *store, "--yes")
    assert not runs[1].directory.exists()


def test_runs_are_chosen_by_one_or_several_statuses_and_counted(runs: list[Run]) -> None:
    assert crackdet("runs").stdout.splitlines()[-1] == "4 runs: 1 failed, 3 finished"
    output = crackdet("runs", "--status", "failed,corrupt").stdout
    assert runs[3].id in output and runs[0].id not in output
    assert output.splitlines()[-1] == "1 of 4 runs: 1 failed, 3 finished"
    runs[0].predictions_file.unlink()
    both = json_of("runs", "--status", "failed, corrupt")
    assert [run["id"] for run in both["runs"]] == [runs[3].id, runs[0].id] and both["counts"]["corrupt"] == 1


def test_json_is_all_of_standard_output_and_has_the_documented_shape(runs: list[Run], tmp_path: Path) -> None:
    listed = json_of("runs")
    assert listed.keys() == {"store", "counts", "runs"} and len(listed["runs"]) == 4
    assert listed["runs"][0].keys() == {"id", "status", "accuracy", "epochs", "overrides", "settings", "reason"}
    shown = json_of("show", "best")
    assert shown["id"] == runs[1].id and shown["result"]["accuracy"] == pytest.approx(298 / 300)
    assert shown.keys() == {
        "id", "status", "directory", "result", "failure", "corruption", "configuration", "provenance", "history"
    }  # fmt: skip
    assert json_of("show", runs[3].id)["failure"]["reason"] == "no memory"
    summary = json_of("summary", SWEEP)
    crackdet("summary", SWEEP, "--write", ".")
    assert summary == json.loads(Path("summary.json").read_text())
    (tmp_path / "cache").mkdir()
    assert json_of("cache", "cache") == {"folder": "cache", "sets": []}


def test_the_version_is_printed() -> None:
    assert crackdet("--version").stdout == "crackdet 0.1.0\n"


def test_a_report_replaces_an_earlier_one_but_no_other_file_without_a_question(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: not opened.append(url))  # type: ignore[func-returns-value]
    page = Path("page.html")
    page.write_text("<!doctype html><title>mine</title>")
    refused = crackdet("report", "--to", "page.html", status=2)
    assert "page.html: is not a report of crackdet" in refused.stderr and "mine" in page.read_text()
    crackdet("report", "--to", "page.html", "--force")
    crackdet("report", "--to", "page.html", "--open")
    assert opened == [page.resolve().as_uri()] and 'name="generator" content="crackdet' in page.read_text()
    earlier = page.read_text().replace('<meta name="generator"', "<meta")
    page.write_text(earlier)
    crackdet("report", "--to", "page.html")


def complete(words: str) -> list[str]:
    """Return the completions that the shell gets, in a process as the shell starts it."""
    script = "import sys; from crackdet.cli.main import app\ntry: app(prog_name='crackdet')\nfinally: "
    script += "sys.stderr.write(str('torch' in sys.modules or 'hydra' in sys.modules))"
    variables = {"_CRACKDET_COMPLETE": "complete_bash", "COMP_WORDS": f"crackdet {words}"}
    variables["COMP_CWORD"] = str(words.count(" ") + 1)
    process = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, **variables}, capture_output=True, text=True, timeout=60
    )
    assert process.stderr == "False", process.stderr
    return process.stdout.split()


def test_commands_runs_folders_and_values_are_completed_without_torch(runs: list[Run]) -> None:
    assert complete("ru") == ["runs"]
    ids = sorted(run.id for run in runs)
    assert complete("show ") == ["best", "last", *ids, f"best:{SWEEP}"]
    assert complete("evaluate custom-0000") == [runs[3].id]
    assert SWEEP in complete("summary mul")
    assert complete("runs --status failed,f") == ["failed,finished"]
