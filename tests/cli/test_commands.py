"""The commands of `crackdet` and their help."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from crackdet.cli.main import app
from tests.cli.conftest import Command, crackdet

COMMANDS = {
    "cache", "check-data", "clean", "evaluate", "export", "inspect", "mine", "pointing", "predict", "report", "rm",
    "runs", "scan", "show", "summary", "synthesize", "watch",
}  # fmt: skip


def test_the_commands_have_the_documented_names() -> None:
    names = {
        command.name or getattr(command.callback, "__name__", "").replace("_", "-")
        for command in app.registered_commands
    }
    assert names == COMMANDS


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_a_help_text(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0 and "Usage:" in result.output


def test_the_runs_of_a_store_are_listed_shown_evaluated_and_removed(
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
    assert len(text.splitlines()) <= 10 and "accuracy" in text and "data.augmentation.hue" not in text
    assert {"data.augmentation.hue", "valid_f1", "versions.torch"} <= set(shown("show", "custom", "--all").split())
    accuracy = json.loads((tmp_path / "runs" / run / "result.json").read_text())["accuracy"]
    assert f"accuracy {accuracy:.4f}" in shown("evaluate", run)
    on_other_images = shown("evaluate", "best", "data.seed=1")
    assert re.match(rf"{run} on 10 images \(data.seed=1\), valid split: ", on_other_images)
    shown("show", "nothing", status=2)
    shown("rm", run, "--yes")
    assert not (tmp_path / "runs" / run).exists()
    assert CliRunner().invoke(app, ["summary", "nowhere"]).exit_code == 2


def test_a_data_source_is_checked_and_a_contact_sheet_written(tmp_path: Path, photographs: Path, cache: Path) -> None:
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
