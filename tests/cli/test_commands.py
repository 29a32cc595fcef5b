"""The commands of `crackdet` and their help."""

import pytest
from typer.testing import CliRunner

from crackdet.cli.main import app

COMMANDS = {
    "cache", "check-data", "clean", "evaluate", "export", "inspect", "pointing", "predict", "report", "rm", "runs",
    "scan", "show", "summary", "watch",
}  # fmt: skip


def test_the_commands_have_the_documented_names() -> None:
    names = {command.name or command.callback.__name__.replace("_", "-") for command in app.registered_commands}
    assert names == COMMANDS


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_a_help_text(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0 and "Usage:" in result.output
