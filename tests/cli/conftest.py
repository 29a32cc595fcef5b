"""`train.py` and `crackdet` as a user starts them: whole processes and real runs."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import TINY

ROOT = Path(__file__).parents[2]
Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def command(tmp_path: Path, base_overrides: list[str]) -> Command:
    """Run `python train.py` with tiny settings; its logs and its store are in the test's folder."""

    def run(*arguments: str, tiny: bool = True, options: tuple[str, ...] = ()) -> "subprocess.CompletedProcess[str]":
        folders = [f"hydra.run.dir={tmp_path / 'single'}", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
        settings = [*(TINY if tiny else ()), *base_overrides, *folders]
        first = next((i for i, argument in enumerate(arguments) if "=" in argument), len(arguments))
        flags, overrides = arguments[:first], arguments[first:]
        line = [sys.executable, *options, str(ROOT / "train.py"), *flags, *settings, *overrides]
        return subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=300)

    return run


def crackdet(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    line = [sys.executable, "-m", "crackdet", *arguments]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=300)


def summary(tmp_path: Path) -> dict:  # type: ignore[type-arg]
    return json.loads((tmp_path / "sweep" / "summary.json").read_text())
