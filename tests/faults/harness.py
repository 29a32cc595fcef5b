"""Kills, corrupts and doubles real runs, and compares what becomes of them with runs left alone.

    python -m tests.faults.harness --kills 200 --corruptions 100 --starts 8

Each attempt at a run is a forked child of a process that has imported everything, so that a kill costs a second.
A child dies by SIGKILL at a drawn moment of the run's life: at a batch, or inside the writing of a file, which then
lies there half written, whole but not yet in its place, or in its place a moment ago.
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

import torch
from safetensors.torch import load_file

from crackdet.config.composing import compose
from crackdet.data.dataset import data_fingerprint
from crackdet.running import train_run as training_run
from crackdet.running.job import Job, execute
from crackdet.store.identity import identify
from crackdet.store.integrity import find_corruption, read_result
from crackdet.store.run import Run
from crackdet.store.run_store import RunStore
from crackdet.training import loop
from tests.conftest import MEASURED

TINY = [
    "model.conv_out=[4,8]", "model.linear_features=16", "data.num_images=48", "data.image_size=32",
    "trainer.batch_size=8", "trainer.max_epochs=3", "optimizer.learning_rate=1e-3", "data/augmentation=flips",
    "runtime.device=cpu", "runtime.num_threads=1", "runtime.checkpoint_minutes=0", "runtime.max_attempts=100000",
]  # fmt: skip
TIMES = (*MEASURED, "repaired")
SETTINGS = (
    ["trainer.accumulate_grad_batches=2", "scheduler=step", "scheduler.step_size=1"],
    ["optimizer=sgd", "scheduler=plateau", "trainer.gradient_clip_norm=1.0", "trainer.monitor=valid_accuracy"],
    ["optimizer=adamw", "scheduler=cosine", "trainer.patience=1"],
)


def make_job(folder: Path, *overrides: str) -> Job:
    """A run in the store of this folder."""
    config = compose(
        [*TINY, f"runtime.store={folder / 'runs'}", f"runtime.cache={folder.parent / 'cache'}", *overrides]
    )
    identity = identify(config, data_fingerprint(config.data, config.runtime))
    return Job(config, identity, RunStore(folder / "runs").run(identity.run_id), list(overrides))


def outcome(run: Run) -> dict[str, Any]:
    """All of a finished run that must be the same however it came about."""
    result = read_result(run)
    corruption = find_corruption(run, result, thorough=True)
    assert result is not None and corruption is None, f"{run.id} is {run.status()}"
    return {
        "result": {name: value for name, value in result.items() if name not in TIMES},
        "history": [{k: v for k, v in row.items() if k not in TIMES} for row in run.snapshot().history],
        "weights": {k: hashlib.sha256(v.numpy().tobytes()).hexdigest() for k, v in load_file(run.weights_file).items()},
        "predictions": run.predictions_file.read_text(),
    }


class Life:
    """Counts the moments of a run, and ends the process at one of them."""

    def __init__(self, die_at: int = 0) -> None:
        self.moments = 0
        self.die_at = die_at

    def moment(self, before_death: Callable[[], object] = lambda: None) -> None:
        self.moments += 1
        if self.moments == self.die_at:
            before_death()
            os.kill(os.getpid(), signal.SIGKILL)

    @contextmanager
    def lived(self) -> Iterator[None]:
        fsync, replace, load = os.fsync, Path.replace, loop.iter_batches

        def mortal_fsync(file: int) -> None:
            self.moment(lambda: os.ftruncate(file, os.fstat(file).st_size // 2))  # half of it was written
            fsync(file)
            self.moment()

        def mortal_replace(path: Path, target: Path) -> Path:
            self.moment()
            result = replace(path, target)
            self.moment()
            return result

        def mortal_load(*arguments: Any) -> Any:
            for batch in load(*arguments):
                self.moment()
                yield batch

        os.fsync, Path.replace, loop.iter_batches = mortal_fsync, mortal_replace, mortal_load  # type: ignore
        try:
            yield
        finally:
            os.fsync, Path.replace, loop.iter_batches = fsync, replace, load  # type: ignore


def start_child(task: Callable[[], object]) -> int:
    """Runs a task in a forked child; gives its process id."""
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
    """Waits for a child; its exit status, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def attempt(job: Job, die_at: int, report: Path | None = None) -> int:
    def live() -> None:
        life = Life(die_at)
        with life.lived():
            execute(Job(job.config, job.identity, job.run, job.overrides))
        if report is not None:
            report.write_text(str(life.moments))

    return exit_status(start_child(live))


def reference(folder: Path, settings: list[str]) -> tuple[dict[str, Any], int]:
    """The outcome of a run left alone, and of how many moments its life consists."""
    job = make_job(folder / "alone", *settings)
    assert attempt(job, 0, folder / "moments") == 0
    return outcome(job.run), int((folder / "moments").read_text())


def kill_runs(folder: Path, kills: int, chance: random.Random) -> Counter[str]:
    """Runs killed again and again until they end, with so many kills in all."""
    counts: Counter[str] = Counter()
    known = [(settings, *reference(folder / str(i), settings)) for i, settings in enumerate(SETTINGS)]
    while counts["kills"] < kills:
        settings, expected, moments = known[counts["runs"] % len(known)]
        job = make_job(folder / f"killed{counts['runs']}", *settings)
        counts["runs"] += 1
        while True:
            status = attempt(job, chance.randint(1, moments))
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


def damage_file(path: Path, other: Path, how: str, chance: random.Random) -> None:
    content = path.read_bytes()
    if how == "cut":
        path.write_bytes(content[: chance.randint(0, max(len(content) - 1, 0))])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "noise":
        path.write_bytes(chance.randbytes(len(content)))
    elif how == "flip":
        place = chance.randrange(len(content))
        path.write_bytes(content[:place] + bytes([content[place] ^ (1 << chance.randrange(8))]) + content[place + 1 :])
    elif how == "exchange":
        path.write_bytes(other.read_bytes())


def corrupt_runs(folder: Path, corruptions: int, chance: random.Random) -> Counter[str]:
    """Finished and interrupted runs with one of their files damaged: started again, they end as if it was not."""
    counts: Counter[str] = Counter()
    expected, moments = reference(folder / "reference", SETTINGS[0])
    finished = make_job(folder / "finished", *SETTINGS[0])
    stopped = make_job(folder / "stopped", *SETTINGS[0])
    other = make_job(folder / "other", *SETTINGS[0], "seed=1")
    assert attempt(finished, 0) == attempt(other, 0) == 0
    assert attempt(stopped, moments // 2) == -signal.SIGKILL
    originals = [(job, path) for job in (finished, stopped) for path in job.run.directory.iterdir()]
    cases = [
        (job, path.name, how)
        for job, path in originals
        if path.name not in ("lock", "failure.json") and not path.name.startswith(".")
        for how in ("cut", "empty", "noise", "flip", "exchange")
    ]
    chance.shuffle(cases)
    for number in range(corruptions):
        original, name, how = cases[number % len(cases)]
        job = make_job(folder / f"case{number}", *SETTINGS[0])
        shutil.copytree(original.run.directory, job.run.directory)
        before = (job.run.directory / name).read_bytes()
        damage_file(job.run.directory / name, other.run.directory / name, how, chance)
        counts["corruptions"] += 1
        changed = (job.run.directory / name).read_bytes() != before
        if changed and name != "resume.pt" and job.run.is_finished(job.identity.digest):
            counts["wrongly finished"] += 1
        assert attempt(job, 0) == 0
        counts["lost"] += outcome(job.run) != expected
        shutil.rmtree(job.run.root)
    return counts


def start_together(folder: Path, processes: int) -> Counter[str]:
    """The same six runs started in several processes at once: each is trained once."""
    jobs = [make_job(folder / "together", f"seed={seed}") for seed in range(6)]
    trained = folder / "trained"
    folder.mkdir(parents=True, exist_ok=True)
    original = training_run.train_run

    def noted(run: Run, *arguments: Any) -> Any:
        with trained.open("a") as file:
            file.write(run.id + "\n")
        return original(run, *arguments)

    def work() -> None:
        training_run.train_run = noted
        for job in jobs:
            execute(Job(job.config, job.identity, job.run, job.overrides))

    children = [start_child(work) for _ in range(processes)]
    statuses = [exit_status(child) for child in children]
    assert not any(statuses), statuses
    times = Counter(trained.read_text().split())
    unfinished = sum(not job.run.is_finished(job.identity.digest) for job in jobs)
    return Counter({"concurrent starts": processes, "doubled": sum(n - 1 for n in times.values()), "lost": unfinished})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("kills", "corruptions", "starts", "seed"):
        parser.add_argument(f"--{name}", type=int, default=0)
    wanted = parser.parse_args()
    torch.set_num_threads(1)  # a forked child has no threads but its own
    chance = random.Random(wanted.seed)
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if wanted.kills:
            counts += kill_runs(folder / "kills", wanted.kills, chance)
        if wanted.corruptions:
            counts += corrupt_runs(folder / "corruptions", wanted.corruptions, chance)
        for processes in range(2, wanted.starts + 1):
            counts += start_together(folder / f"starts{processes}", processes)
    for what in ("lost", "doubled", "wrongly finished"):
        counts.setdefault(what, 0)
    print(json.dumps(counts, indent=2))
    if counts["lost"] or counts["doubled"] or counts["wrongly finished"] or counts["left behind"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
