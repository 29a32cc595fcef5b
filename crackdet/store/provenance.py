"""The provenance of a run: stored with it, never part of its identity."""

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from crackdet.core.machine import cpu_name, num_cores

PACKAGES = ("crackdet", "torch", "torchvision", "numpy", "pillow", "hydra-core", "optuna")


def collect(device: str, gpu: str | None, threads: int, overrides: list[str]) -> dict[str, Any]:
    """Return commit, versions, machine and command line of this process."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "overrides": overrides,
        "git": _git(),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "platform": platform.platform(),
        "host": platform.node(),
        "processor": cpu_name(),
        "cores": num_cores(),
        "device": device,
        "gpu": gpu,
        "threads": threads,
    }


def add_earlier(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Return the provenance of a resumed run: `now`, and what was different in each earlier process."""
    earlier = before.get("earlier")
    changed = {key: value for key, value in before.items() if key != "earlier" and now.get(key) != value}
    return {**now, "earlier": [*(earlier if isinstance(earlier, list) else []), changed]}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git() -> dict[str, Any] | None:
    """Return the commit of the project and whether files differ from it; None outside a checkout."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}  # set by git hooks

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        process = subprocess.run(command, capture_output=True, check=True, timeout=10, env=environment)
        return process.stdout.decode(errors="replace").strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "modified": bool(git("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.SubprocessError):
        return None
