"""Two machines that see each other's files late: two processes share a sweep, each through its own mount.

    python -m benchmarks.delayed [--seconds 60] [--runs 6] [--negative]

bindfs (Debian's package; needs /dev/fuse) forwards locks at once, as NFS does, while the kernel caches sizes and times
for so many seconds. With --negative it also caches that a file is absent, even after its folder has been listed, which
is worse than NFS. Prints which process trained how many runs.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measurement import ROOT
from crackdet.store.run_store import RunStore
from crackdet.store.snapshot import Status

SWEEP = (
    "-m", "model=custom", "model.conv_out=[4,8]", "data.num_images=200", "data.image_size=32", "trainer.max_epochs=3",
    "runtime.num_threads=1", "runtime.device=cpu", "runtime.wait_for_others=true", "sweep.report=false",
)  # fmt: skip


@contextmanager
def mount(source: Path, target: Path, seconds: int, negative: bool) -> Iterator[Path]:
    """Mount a folder a second time; changes made elsewhere show up late."""
    target.mkdir()
    times = f"attr_timeout={seconds},entry_timeout={seconds},negative_timeout={seconds if negative else 0}"
    subprocess.run(["bindfs", "--multithreaded", "--enable-lock-forwarding", "-o", times, source, target], check=True)
    try:
        yield target
    finally:
        subprocess.run(["fusermount", "-u", target], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--runs", type=int, default=6)
    parser.add_argument("--negative", action="store_true")
    args = parser.parse_args()
    if shutil.which("bindfs") is None:
        sys.exit("bindfs is not installed: apt-get install bindfs")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (source := folder / "source").mkdir()
        with (
            mount(source, folder / "one", args.seconds, args.negative) as one,
            mount(source, folder / "two", args.seconds, args.negative) as two,
        ):
            start = time.monotonic()
            processes = []
            for target in (one, two):
                (local := folder / f"{target.name}-local").mkdir()  # each machine has its own caches and logs
                command = [sys.executable, str(ROOT / "train.py"), *SWEEP, f"seed=range({args.runs})"]
                command += [f"runtime.store={target / 'runs'}", "runtime.cache=cache"]
                processes.append(
                    subprocess.Popen(command, cwd=local, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                )
            outputs = [process.communicate()[0] for process in processes]
            seconds = time.monotonic() - start
        trained = [re.findall(r"training (custom-\w+):", output) for output in outputs]
        counts = Counter(run for runs in trained for run in runs)
        runs = list(RunStore(source / "runs").runs())
        print(f"exit statuses {[process.returncode for process in processes]}, {seconds:.0f} s")
        print(f"runs {len(runs)}, finished {sum(run.status() is Status.FINISHED for run in runs)}")
        repeated = sum(counts.values()) - len(counts)
        print(f"trained by one {len(trained[0])}, by two {len(trained[1])}; trained more than once {repeated}")
        if any(process.returncode for process in processes):
            print(*outputs, sep="\n" + "-" * 60 + "\n")


if __name__ == "__main__":
    main()
