"""What a launcher costs: two workers, runs that sleep, by each of Hydra's launchers that is installed.

    python -m benchmarks.launchers [workers joblib submitit_local submitit_slurm ray] [--runs 12] [--seconds 1]

`workers` are those of `runtime.parallel_runs`, without a launcher. Between two runs of a worker, from `finished` to
`training` in its log, lie the way of its message to the sweep, and that of the next job to it.
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
    wanted = parser.parse_args()
    print("| launcher | first run begins after | between two runs: median | largest | sweep ends after the last run |")
    print("| --- | --- | --- | --- | --- |")
    for launcher in wanted.launchers:
        began, ended, workers = sweep(launcher, wanted.runs, wanted.seconds)
        gaps = [
            begin - end
            for worker in workers
            for (end, what), (begin, next_what) in itertools.pairwise(worker)
            if (what, next_what) == ("finished", "training")
        ]
        if not gaps:
            parser.error(f"--runs {wanted.runs}: no worker had two of them; give more")
        times = [moment for worker in workers for moment, _ in worker]
        print(
            f"| {launcher} | {min(times) - began:.1f} s | {statistics.median(gaps):.2f} s | {max(gaps):.2f} s | "
            f"{ended - max(times):.1f} s |",
            flush=True,
        )


def sweep(launcher: str, runs: int, seconds: float) -> tuple[float, float, list[list[tuple[float, str]]]]:
    """When a sweep began and ended, and of each of its workers, when it began and finished a run."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        line = sleeping_sweep(folder, runs, seconds, workers=2)
        line += ["hydra.sweep.dir=sweep", "sweep.report=false"]
        if launcher != "workers":
            line.append(f"hydra/launcher={launcher}")
        if launcher == "submitit_slurm":
            line += ["hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=1"]
        began = time.time()
        done = subprocess.run(line, cwd=folder, text=True, capture_output=True, check=False)
        ended = time.time()
        assert done.returncode == 0, done.stdout + done.stderr
        workers = [
            [(datetime.strptime(moment, "%Y-%m-%d %H:%M:%S,%f").timestamp(), what) for moment, what in spoken]
            for log in (folder / "sweep").glob("worker-*.log")
            if (spoken := LINE.findall(log.read_text()))
        ]
        return began, ended, workers


if __name__ == "__main__":
    main()
