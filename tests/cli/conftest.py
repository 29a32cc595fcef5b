"""`train.py` and `crackdet` as a user starts them: whole processes and real runs."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import TINY
from tests.preloaded import run_python

ROOT = Path(__file__).parents[2]
Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def command(tmp_path: Path, base_overrides: list[str]) -> Command:
    """Run `python train.py` with tiny settings; its logs and its store are in the test's folder.

    With options of Python, such as `-X importtime`, the process is one that Python starts.
    """

    def run(*arguments: str, tiny: bool = True, options: tuple[str, ...] = ()) -> "subprocess.CompletedProcess[str]":
        folders = [f"hydra.run.dir={tmp_path / 'single'}", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
        settings = [*(TINY if tiny else ()), *base_overrides, *folders]
        first = next((i for i, argument in enumerate(arguments) if "=" in argument), len(arguments))
        flags, overrides = arguments[:first], arguments[first:]
        line = [str(ROOT / "train.py"), *flags, *settings, *overrides]
        if not options:
            return run_python(line, tmp_path)
        line = [sys.executable, *options, *line]
        return subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=300)

    return run


def crackdet(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return run_python(["-m", "crackdet", *arguments], folder)


def summary(tmp_path: Path) -> dict:  # type: ignore[type-arg]
    return json.loads((tmp_path / "sweep" / "summary.json").read_text())
