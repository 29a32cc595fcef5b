"""The overhead of each of Hydra's launchers, with two workers and runs that sleep.

    python -m benchmarks.launchers [workers joblib submitit_local submitit_slurm ray] [--runs 12] [--seconds 1]

`workers` means `runtime.parallel_runs=2` without a launcher. The time between two runs of a worker, from `finished` to
`training` in its log, covers its message to the sweep and the next job's message back.
"""

import argparse
import itertools
import re
import statistics
import subprocess
import tempfile
import time
from datetime import datetime
from pathlib import Path

from benchmarks.division import sleeping_sweep

LINE = re.compile(r"^(\S+ \S+) INFO \S+: (training|finished) asleep-", re.MULTILINE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("launchers", nargs="*", default=["workers", "joblib", "submitit_local", "ray"])
    parser.add_argument("--runs", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=1.0)
    args = parser.parse_args()
    print("| launcher | first run starts after | between two runs: median | largest | sweep ends after the last run |")
    print("| --- | --- | --- | --- | --- |")
    for launcher in args.launchers:
        start, end, workers = sweep(launcher, args.runs, args.seconds)
        gaps = [
            started - finished
            for worker in workers
            for (finished, event), (started, next_event) in itertools.pairwise(worker)
            if (event, next_event) == ("finished", "training")
        ]
        if not gaps:
            parser.error(f"--runs {args.runs}: no worker had two runs; use more")
        times = [moment for worker in workers for moment, _ in worker]
        print(
            f"| {launcher} | {min(times) - start:.1f} s | {statistics.median(gaps):.2f} s | {max(gaps):.2f} s | "
            f"{end - max(times):.1f} s |",
            flush=True,
        )


def sweep(launcher: str, runs: int, seconds: float) -> tuple[float, float, list[list[tuple[float, str]]]]:
    """Return the start and the end of a sweep, and the events of each worker: when it started and finished a run."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = sleeping_sweep(folder, runs, seconds, workers=2)
        command += ["hydra.sweep.dir=sweep", "sweep.report=false"]
        if launcher != "workers":
            command.append(f"hydra/launcher={launcher}")
        if launcher == "submitit_slurm":
            command += ["hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=1"]
        start = time.time()
        process = subprocess.run(command, cwd=folder, text=True, capture_output=True, check=False)
        end = time.time()
        assert process.returncode == 0, process.stdout + process.stderr
        workers = [
            [(datetime.strptime(moment, "%Y-%m-%d %H:%M:%S,%f").timestamp(), event) for moment, event in lines]
            for log in (folder / "sweep").glob("worker-*.log")
            if (lines := LINE.findall(log.read_text()))
        ]
        return start, end, workers


if __name__ == "__main__":
    main()
