"""How evenly processes divide a sweep: 64 runs that sleep, in eight processes, against the ideal of 64/8 runs each.

    python -m benchmarks.division [--processes 8] [--workers 1] [--seconds 25]

The network sleeps instead of computing, so that the time goes into starting, claiming, skipping and writing.
With --workers each process trains that many runs at a time.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.measurement import ROOT
from crackdet.store.integrity import read_result
from crackdet.store.run_store import RunStore

NETWORK = """
import time
from torch import nn

class Sleep(nn.Conv2d):
    '''Sleeps in each training step.'''
    def __init__(self, seconds):
        super().__init__(3, 2, 3)
        self.seconds = seconds
    def forward(self, images):
        if self.training and not images.is_meta:
            time.sleep(self.seconds)
        return super().forward(images)
"""
YAML = "_target_: asleep.Sleep\nname: asleep\nlinear_features: 4\nseconds: 1.0\n"
TINY = ("data.num_images=24", "data.image_size=24", "trainer.batch_size=64", "trainer.max_epochs=1")  # one batch


def sleeping_sweep(folder: Path, runs: int, seconds: float, workers: int) -> list[str]:
    """Return the command, to be started in the folder, of a sweep whose runs sleep for so many seconds."""
    (folder / "asleep.py").write_text(NETWORK)
    (folder / "settings" / "model").mkdir(parents=True)
    (folder / "settings" / "model" / "asleep.yaml").write_text(YAML)
    return [
        sys.executable, str(ROOT / "train.py"), "--config-dir", "settings", "-m", "model=asleep", *TINY,
        f"model.seconds={seconds}", f"seed=range({runs})", f"runtime.parallel_runs={workers}", "runtime.num_threads=1",
        "runtime.store=runs", "runtime.cache=cache",
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=64)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=25.0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = sleeping_sweep(folder, args.runs, args.seconds, args.workers)
        command.append("runtime.wait_for_others=true")
        start = time.time()
        processes = [
            subprocess.Popen(command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            for _ in range(args.processes)
        ]
        outputs = [process.communicate()[0] for process in processes]
        wall = time.time() - start
        assert not any(process.returncode for process in processes), outputs
        runs = [run for run in RunStore(folder / "runs").runs() if run.result_file.exists()]
        trained = Counter(run for output in outputs for run in re.findall(r"training (asleep-\S+):", output))
        first = min(run.provenance_file.stat().st_mtime for run in runs)
        last = max(run.result_file.stat().st_mtime for run in runs)
        ideal = args.runs * args.seconds / (args.processes * args.workers)
        epochs = sum(float((read_result(run) or {})["seconds"]) for run in runs)
        overhead = ((last - first) * args.processes * args.workers - epochs) / len(runs)
        print(f"{args.processes} processes with {args.workers} workers each: {len(runs)} runs finished")
        print(f"trained twice: {sum(count - 1 for count in trained.values())}")
        print(f"ideal {ideal:.1f} s, wall {wall:.1f} s ({100 * (wall / ideal - 1):.1f} % more)")
        print(f"  until the first run starts: {first - start:.1f} s")
        print(f"  after the last run ends: {start + wall - last:.1f} s")
        print(f"in between, the overhead of a run over its epochs: {1000 * overhead:.0f} ms")


if __name__ == "__main__":
    main()
