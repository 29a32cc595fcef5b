"""What is measured, against what, and the goal: a table of figures."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Figure:
    """One row: a ratio (or a time, as `unit` says), its goal, and the figures that it was made of."""

    what: str
    against: str
    goal: float
    measured: float
    made_of: str
    at_most: bool = False  # the goal is an upper bound
    unit: str = "x"

    @property
    def reached(self) -> bool:
        return self.measured <= self.goal if self.at_most else self.measured >= self.goal

    def row(self) -> str:
        sign = "≤" if self.at_most else "≥"
        verdict = "yes" if self.reached else "no"
        goal, measured = f"{sign} {self.goal:g} {self.unit}", f"{self.measured:.3g} {self.unit}"
        return f"| {self.what} | {self.against} | {goal} | {measured} | {verdict} | {self.made_of} |"


HEAD = "| what | against | goal | measured | reached | made of |\n| --- | --- | --- | --- | --- | --- |"


def python(*arguments: str, folder: Path, environment: Mapping[str, str] | None = None) -> tuple[float, str]:
    """Runs a Python command in a folder; its wall time in seconds and what it printed.

    Raises:
        RuntimeError: where it failed.
    """
    paths = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": paths, **(environment or {})},
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"python {' '.join(arguments)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return seconds, done.stdout


def loop(kind: str, folder: Path, **options: Any) -> dict[str, Any]:
    """One of the loops of `benchmarks.loops` in a process of its own; what it measured."""
    words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    _, printed = python("-m", "benchmarks.loops", kind, *words, folder=folder)
    return json.loads(printed.splitlines()[-1])  # type: ignore[no-any-return]


def middle(rows: Sequence[Mapping[str, Any]], name: str) -> float:
    return median(float(row[name]) for row in rows)
