"""Kill, corrupt and start real runs concurrently, and compare the results with those of undisturbed runs.

    python -m tests.faults.harness --kills 200 --corruptions 100 --starts 8

Each attempt at a run is a forked child of a process that has imported everything, so that a kill costs a second.
A child is killed by SIGKILL at a random fault point of the run: at a batch, or while a file is written, which is then
half written, complete but not yet renamed, or just renamed.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from crackdet.data.batches import iter_batches
from crackdet.running import training_run
from crackdet.running.execute import execute
from crackdet.running.job import Job
from crackdet.store.integrity import find_corruption, read_result
from crackdet.store.run import Run
from tests.composing import compose
from tests.jobs import MEASURED, job_of

TINY = [
    "model.conv_out=[4,8]", "model.linear_features=16", "data.num_images=48", "data.image_size=32",
    "trainer.batch_size=8", "trainer.max_epochs=3", "optimizer.learning_rate=1e-3", "data/augmentation=flips",
    "runtime.device=cpu", "runtime.num_threads=1", "runtime.checkpoint_minutes=0", "runtime.max_attempts=100000",
]  # fmt: skip
IRREPRODUCIBLE = (*MEASURED, "repaired")
SETTINGS = (
    ["trainer.accumulate_grad_batches=2", "scheduler=step", "scheduler.step_size=1"],
    ["optimizer=sgd", "scheduler=plateau", "trainer.gradient_clip_norm=1.0", "trainer.monitor=valid_accuracy"],
    ["optimizer=adamw", "scheduler=cosine", "trainer.patience=1"],
)
CORRUPTIONS = ("truncate", "empty", "noise", "flip a bit", "exchange")


def make_job(folder: Path, *overrides: str) -> Job:
    """Return a job whose store is in this folder."""
    paths = [f"runtime.store={folder / 'runs'}", f"runtime.cache={folder.parent / 'cache'}"]
    return job_of(compose([*TINY, *paths, *overrides]), *overrides)


def outcome(run: Run) -> dict[str, Any]:
    """Return everything about a finished run that is reproducible."""
    result = read_result(run)
    corruption = find_corruption(run, result, thorough=True)
    assert result is not None and corruption is None, f"{run.id} is {run.status()}"
    return {
        "result": {name: value for name, value in result.items() if name not in IRREPRODUCIBLE},
        "history": [{k: v for k, v in row.items() if k not in IRREPRODUCIBLE} for row in run.snapshot().history],
        "weights": {k: hashlib.sha256(v.numpy().tobytes()).hexdigest() for k, v in load_file(run.weights_file).items()},
        "predictions": run.predictions_file.read_text(),
    }


class FaultPoints:
    """Counts the fault points that a run passes, and kills the process at one of them."""

    def __init__(self, kill_at: int = 0) -> None:
        self.passed = 0
        self._kill_at = kill_at

    def passing(self, before_kill: Callable[[], object] = lambda: None) -> None:
        self.passed += 1
        if self.passed == self._kill_at:
            before_kill()
            os.kill(os.getpid(), signal.SIGKILL)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Put fault points into fsync, rename and the loading of batches."""
        fsync, replace = os.fsync, Path.replace

        def faulty_fsync(file: int) -> None:
            self.passing(lambda: os.ftruncate(file, os.fstat(file).st_size // 2))  # half of the file was written
            fsync(file)
            self.passing()

        def faulty_replace(path: Path, target: Path) -> Path:
            self.passing()
            result = replace(path, target)
            self.passing()
            return result

        def faulty_iter_batches(*arguments: Any) -> Iterator[Any]:
            for batch in iter_batches(*arguments):
                self.passing()
                yield batch

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(os, "fsync", faulty_fsync)
            patched.setattr(Path, "replace", faulty_replace)
            patched.setattr("crackdet.training.loop.iter_batches", faulty_iter_batches)
            yield


def start_child(task: Callable[[], object]) -> int:
    """Run a task in a forked child; return its process id."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            task()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return child


def exit_status(child: int) -> int:
    """Wait for a child; return its exit status, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def attempt(job: Job, kill_at: int, count_file: Path | None = None) -> int:
    """Execute a job in a child that is killed at a fault point, 0 for none; return its exit status.

    A child that is not killed writes the number of fault points into `count_file`.
    """

    def task() -> None:
        points = FaultPoints(kill_at)
        with points.installed():
            execute(job)
        if count_file is not None:
            count_file.write_text(str(points.passed))

    return exit_status(start_child(task))


def reference(folder: Path, settings: list[str]) -> tuple[dict[str, Any], int]:
    """Return the outcome of an undisturbed run, and the number of its fault points."""
    job = make_job(folder / "undisturbed", *settings)
    assert attempt(job, 0, folder / "count") == 0
    return outcome(job.run), int((folder / "count").read_text())


def kill_runs(folder: Path, kills: int, rng: random.Random) -> Counter[str]:
    """Kill runs again and again until they finish, with so many kills in all."""
    counts: Counter[str] = Counter()
    references = [(settings, *reference(folder / str(i), settings)) for i, settings in enumerate(SETTINGS)]
    while counts["kills"] < kills:
        settings, expected, num_points = references[counts["runs"] % len(references)]
        job = make_job(folder / f"killed{counts['runs']}", *settings)
        counts["runs"] += 1
        while True:
            status = attempt(job, rng.randint(1, num_points))
            if status == 0:
                break
            assert status == -signal.SIGKILL, f"a restarted run failed with {status}"
            counts["kills"] += 1
            finished = job.run.is_finished(job.identity.digest)
            if finished and outcome(job.run) != expected:
                counts["wrongly finished"] += 1
        counts["lost"] += outcome(job.run) != expected
        counts["left behind"] += len(list(job.run.directory.glob(".*.tmp")))
        shutil.rmtree(job.run.root)
    return counts


def corrupt(path: Path, other: Path, how: str, rng: random.Random) -> None:
    content = path.read_bytes()
    if how == "truncate":
        path.write_bytes(content[: rng.randint(0, max(len(content) - 1, 0))])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "noise":
        path.write_bytes(rng.randbytes(len(content)))
    elif how == "flip a bit":
        i = rng.randrange(len(content))
        path.write_bytes(content[:i] + bytes([content[i] ^ (1 << rng.randrange(8))]) + content[i + 1 :])
    elif how == "exchange":
        path.write_bytes(other.read_bytes())


def corrupt_runs(folder: Path, corruptions: int, rng: random.Random) -> Counter[str]:
    """Corrupt one file of a finished or interrupted run; executed again, the run ends like an undisturbed one."""
    counts: Counter[str] = Counter()
    expected, num_points = reference(folder / "reference", SETTINGS[0])
    finished = make_job(folder / "finished", *SETTINGS[0])
    stopped = make_job(folder / "stopped", *SETTINGS[0])
    other = make_job(folder / "other", *SETTINGS[0], "seed=1")
    assert attempt(finished, 0) == attempt(other, 0) == 0
    assert attempt(stopped, num_points // 2) == -signal.SIGKILL
    originals = [(job, path) for job in (finished, stopped) for path in job.run.directory.iterdir()]
    cases = [
        (job, path.name, how)
        for job, path in originals
        if path.name not in ("lock", "failure.json") and not path.name.startswith(".")
        for how in CORRUPTIONS
    ]
    rng.shuffle(cases)
    for number in range(corruptions):
        original, name, how = cases[number % len(cases)]
        job = make_job(folder / f"case{number}", *SETTINGS[0])
        shutil.copytree(original.run.directory, job.run.directory)
        before = (job.run.directory / name).read_bytes()
        corrupt(job.run.directory / name, other.run.directory / name, how, rng)
        counts["corruptions"] += 1
        changed = (job.run.directory / name).read_bytes() != before
        if changed and name != "resume.pt" and job.run.is_finished(job.identity.digest):
            counts["wrongly finished"] += 1
        assert attempt(job, 0) == 0
        counts["lost"] += outcome(job.run) != expected
        shutil.rmtree(job.run.root)
    return counts


def start_concurrently(folder: Path, num_processes: int) -> Counter[str]:
    """Start the same six runs in several processes at once; each is trained once."""
    jobs = [make_job(folder / "together", f"seed={seed}") for seed in range(6)]
    trained = folder / "trained"
    folder.mkdir(parents=True, exist_ok=True)
    train_run = training_run.train_run

    def recording(job: Job, *arguments: Any, **options: Any) -> Any:
        with trained.open("a") as file:
            file.write(job.run.id + "\n")
        return train_run(job, *arguments, **options)

    def task() -> None:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(training_run, "train_run", recording)
            for job in jobs:
                execute(job)

    processes = [start_child(task) for _ in range(num_processes)]
    statuses = [exit_status(process) for process in processes]
    assert not any(statuses), statuses
    times = Counter(trained.read_text().split())
    assert set(times) == {job.run.id for job in jobs}
    unfinished = sum(not job.run.is_finished(job.identity.digest) for job in jobs)
    doubled = sum(number - 1 for number in times.values())
    return Counter({"concurrent starts": num_processes, "doubled": doubled, "lost": unfinished})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("kills", "corruptions", "starts", "seed"):
        parser.add_argument(f"--{name}", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)  # a forked child has only its main thread
    rng = random.Random(args.seed)
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if args.kills:
            counts += kill_runs(folder / "kills", args.kills, rng)
        if args.corruptions:
            counts += corrupt_runs(folder / "corruptions", args.corruptions, rng)
        for num_processes in range(2, args.starts + 1):
            counts += start_concurrently(folder / f"starts{num_processes}", num_processes)
    for what in ("lost", "doubled", "wrongly finished"):
        counts.setdefault(what, 0)
    print(json.dumps(counts, indent=2))
    if counts["lost"] or counts["doubled"] or counts["wrongly finished"] or counts["left behind"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
