"""The provenance of a run: stored with it, never part of its identity."""

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import NoneType
from typing import Any

from crackdet.core.machine import cpu_name, num_cores
from crackdet.core.reading import read_json
from crackdet.store.paths import RunPaths

Check = Callable[[Any], bool]


def _is(*types: type) -> Check:
    return lambda value: type(value) in types


def _is_list_of(kind: type) -> Check:
    return lambda value: isinstance(value, list) and all(isinstance(item, kind) for item in value)


FIELDS: Mapping[str, Check] = {
    **dict.fromkeys(("started", "command", "platform", "host", "processor", "device"), _is(str, NoneType)),
    "overrides": _is_list_of(str),
    **dict.fromkeys(("git", "versions"), _is(dict, NoneType)),
    **dict.fromkeys(("cores", "threads"), _is(int, NoneType)),
    "gpu": _is(str, NoneType),
    "earlier": _is_list_of(dict),
}
PACKAGES = ("crackdet", "torch", "torchvision", "timm", "numpy", "pillow", "hydra-core", "optuna")


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


def read_provenance(run: RunPaths) -> dict[str, Any]:
    """Return the content of `provenance.json`, without what no run writes; empty if it is missing or damaged."""
    content = read_json(run.provenance_file)
    return {name: value for name, value in content.items() if name in FIELDS and FIELDS[name](value)}


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
