"""Two machines that see each other's files late: a sweep divided by two processes, each through a mount of its own.

    python -m benchmarks.delayed [--seconds 60] [--runs 6] [--negative]

The mounts are of bindfs (Debian's package; needs /dev/fuse), which passes locks on at once, as NFS does, while the
kernel believes what it knows of sizes and times for so many seconds. With --negative also that a file was absent, and
that even if its folder has been listed since, which is worse than NFS. Prints what was trained, and by whom.
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

from benchmarks.figures import ROOT
from crackdet.store.run_store import RunStore
from crackdet.store.snapshot import Status

SWEEP = (
    "-m", "model=custom", "model.conv_out=[4,8]", "data.num_images=200", "data.image_size=32", "trainer.max_epochs=3",
    "runtime.num_threads=1", "runtime.device=cpu", "runtime.wait_for_others=true", "sweep.report=false",
)  # fmt: skip


@contextmanager
def mounted(behind: Path, place: Path, seconds: int, negative: bool) -> Iterator[Path]:
    """A second view of a folder, behind which what others do shows late."""
    place.mkdir()
    times = f"attr_timeout={seconds},entry_timeout={seconds},negative_timeout={seconds if negative else 0}"
    subprocess.run(["bindfs", "--multithreaded", "--enable-lock-forwarding", "-o", times, behind, place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["fusermount", "-u", place], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--runs", type=int, default=6)
    parser.add_argument("--negative", action="store_true")
    wanted = parser.parse_args()
    if shutil.which("bindfs") is None:
        sys.exit("bindfs is not there: apt-get install bindfs")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (behind := folder / "behind").mkdir()
        with (
            mounted(behind, folder / "one", wanted.seconds, wanted.negative) as one,
            mounted(behind, folder / "two", wanted.seconds, wanted.negative) as two,
        ):
            began = time.monotonic()
            started = []
            for place in (one, two):
                (own := folder / f"{place.name}-own").mkdir()  # cache, memo and logs are each machine's
                line = [sys.executable, str(ROOT / "train.py"), *SWEEP, f"seed=range({wanted.runs})"]
                line += [f"runtime.store={place / 'runs'}", "runtime.cache=cache"]
                started.append(
                    subprocess.Popen(line, cwd=own, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                )
            outputs = [process.communicate()[0] for process in started]
            seconds = time.monotonic() - began
        trained = [re.findall(r"training (custom-\w+):", output) for output in outputs]
        every = Counter(run for runs in trained for run in runs)
        runs = list(RunStore(behind / "runs").runs())
        print(f"exit statuses {[process.returncode for process in started]}, {seconds:.0f} s")
        print(f"runs {len(runs)}, finished {sum(run.status() is Status.FINISHED for run in runs)}")
        twice = sum(every.values()) - len(every)
        print(f"trained by one {len(trained[0])}, by two {len(trained[1])}; more than once {twice}")
        if any(process.returncode for process in started):
            print(*outputs, sep="\n" + "-" * 60 + "\n")


if __name__ == "__main__":
    main()
