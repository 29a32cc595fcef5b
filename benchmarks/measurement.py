"""A row of the benchmark table, and the timing of processes."""

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
HEADER = "| what | against | goal | measured | reached | made of |\n| --- | --- | --- | --- | --- | --- |"


@dataclass(frozen=True)
class Measurement:
    """A ratio to a baseline, or a time in seconds, with its goal and the numbers behind it."""

    name: str
    baseline: str
    goal: float
    value: float
    details: str
    at_most: bool = False  # the goal is an upper bound
    unit: str = "x"

    @property
    def reached(self) -> bool:
        return self.value <= self.goal if self.at_most else self.value >= self.goal

    def row(self) -> str:
        sign = "≤" if self.at_most else "≥"
        goal, value = f"{sign} {self.goal:g} {self.unit}", f"{self.value:.3g} {self.unit}"
        return (
            f"| {self.name} | {self.baseline} | {goal} | {value} | {'yes' if self.reached else 'no'} | {self.details} |"
        )


def run_python(*arguments: str, folder: Path, environment: Mapping[str, str] | None = None) -> tuple[float, str]:
    """Run a Python command in a folder; return its wall time in seconds and its standard output.

    Raises:
        RuntimeError: If it fails.
    """
    paths = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    start = time.perf_counter()
    process = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": paths, **(environment or {})},
    )
    seconds = time.perf_counter() - start
    if process.returncode:
        command = f"python {' '.join(arguments)}"
        raise RuntimeError(f"{command}: exit status {process.returncode}\n{process.stdout}{process.stderr}")
    return seconds, process.stdout


def run_loop(kind: str, folder: Path, **options: Any) -> dict[str, Any]:
    """Run one loop of `benchmarks.loops` in its own process and return its measurements."""
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    _, output = run_python("-m", "benchmarks.loops", kind, *arguments, folder=folder)
    return json.loads(output.splitlines()[-1])


def median_of(rows: Sequence[Mapping[str, Any]], name: str) -> float:
    return median(float(row[name]) for row in rows)
