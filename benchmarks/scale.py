"""How the time to claim, skip, suggest, summarise and watch runs grows with the store.

    python -m benchmarks.scale [SIZE]...       # 100 1000 10000 100000

The stores are generated: finished runs of one network with different settings, a hundred of them inside a search
space. The exponent is the slope on a log-log scale from 1,000 runs on: 0 is constant, 1 is linear.
"""

import argparse
import copy
import itertools
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import optuna
from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.types import HydraContext, RunMode

from benchmarks.stores import no_fsync
from crackdet.analysis.ranking import summarize
from crackdet.config.composing import CONF
from crackdet.config.groups import register
from crackdet.core.files import write_csv
from crackdet.running.command_cache import SINGLE, CacheEntry, CommandCache
from crackdet.running.job import Job
from crackdet.store.identity import Identity
from crackdet.store.run import Run
from crackdet.store.run_store import RunStore
from crackdet.sweep.search.history import History
from crackdet.sweep.search.job_factory import JobFactory
from crackdet.sweep.search.objectives import Objective
from crackdet.sweep.search.proposer import Proposer
from crackdet.sweep.search.pruning import HistoryPruner, PruningSpec
from crackdet.sweep.search.reservations import Reservations
from crackdet.sweep.search.samplers import Sampler
from crackdet.sweep.search.space import Space
from crackdet.sweep.search.space_builder import build_space
from crackdet.sweep.search.study_sync import StudySync
from crackdet.sweep.selection import ExcludeFilter
from crackdet.watch.monitor import StoreMonitor

SIZES = (100, 1000, 10_000, 100_000)
INSIDE = 100  # runs inside the search space
EPOCHS = 25
SPACE = ("model.linear_features=range(1,1000)",)
MEDIAN = {"_target_": "optuna.pruners.MedianPruner"}
OBJECTIVES = [Objective("accuracy", "maximize")]


def identities(reference: Job, number: int) -> Iterator[Identity]:
    """Yield the identities of runs: those inside the space differ in width, the others in learning rate too."""
    content = copy.deepcopy(dict(reference.identity.content))
    for index in range(number):
        content["model"]["linear_features"] = 1 + index % 1000
        content["optimizer"]["learning_rate"] = reference.config.optimizer.learning_rate * (
            1 + max(0, index - INSIDE + 1)
        )
        yield Identity(copy.deepcopy(content))


def fill(store: RunStore, reference: Job, number: int) -> list[Identity]:
    """Write finished runs without training; return their identities."""
    rows = [{"epoch": epoch, "valid_accuracy": 0.5 + epoch / 100} for epoch in range(1, EPOCHS + 1)]
    written = list(identities(reference, number))
    with no_fsync():
        for index, identity in enumerate(written):
            run = store.run(identity.run_id)
            run.directory.mkdir(parents=True)
            run.identity_file.write_text(identity.canonical)
            write_csv(run.history_file, rows)
            publish(run, identity, 0.5 + index % 97 / 200)
    return written


def publish(run: Run, identity: Identity, accuracy: float) -> None:
    result = {"accuracy": accuracy, "loss": 0.5, "epoch": EPOCHS, "parameters": 1, "seconds": 1.0, "valid_images": 120}
    run.publish({**result, "identity": identity.digest, "settings": json.loads(identity.canonical)})


def time_of(action: Callable[[], object], repeats: int = 5) -> float:
    """Return the median seconds of several repeats."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return median(times)


def measure(
    folder: Path, number: int, context: HydraContext, job_factory: JobFactory, paths: list[str]
) -> dict[str, float]:
    """Return the seconds of each action in a store with so many runs."""
    store = RunStore(folder / "runs")
    space = build_space([*paths, *SPACE], {}, context, job_factory)
    reference = job_factory.job(space.overrides({"model.linear_features": 1}))
    identities = fill(store, reference, number)
    times = {"claim": time_claim(store), "skip": time_skip(store, identities)}
    times |= time_search(store, space, job_factory)
    pruner = HistoryPruner(PruningSpec(space, OBJECTIVES[0], EPOCHS), store, MEDIAN)
    run, rows = store.run("custom-ffffffffffff"), [{"epoch": 1, "valid_accuracy": 0.5}]
    pruner.prune_reason(run, rows)
    times["ask the pruner"] = time_of(lambda: pruner.prune_reason(run, rows), 10)
    time.sleep(2.5)  # until the folders' modification times are old enough to be trusted
    times["summary, without its index file"] = time_of(lambda: summarize(store.root), 1)
    times["summary"] = time_of(lambda: summarize(store.root), 3)
    monitor = StoreMonitor(store.root)
    start = time.perf_counter()
    while monitor.update() or monitor.num_unread:
        pass
    times["watch: read all runs"] = time.perf_counter() - start
    times["watch: look again"] = time_of(monitor.update, 5)
    return times


def time_claim(store: RunStore) -> float:
    numbers = itertools.count()

    def claim() -> None:
        with store.run(f"custom-{next(numbers):012x}").claim():
            pass

    seconds = time_of(claim, 50)
    for number in range(next(numbers)):
        store.remove(store.run(f"custom-{number:012x}"))
    return seconds


def time_skip(store: RunStore, identities: Sequence[Identity]) -> float:
    """Recognise one finished run by its command line, in a cache with an entry for each run."""

    def command_cache() -> CommandCache:
        return CommandCache([CONF], f"{SINGLE} config", store.root.parent / "command_cache")

    entries = [
        CacheEntry([f"seed={i}"], store.run(identity.run_id), identity.digest) for i, identity in enumerate(identities)
    ]
    cache = command_cache()
    cache._started += 60  # as if no file had been changed lately
    cache.put(entries)
    positions = iter(range(0, len(identities), max(1, len(identities) // 20)))

    def get() -> None:
        assert command_cache().get([f"seed={next(positions)}"]) is not None

    return time_of(get, 15)


def time_search(store: RunStore, space: Space, job_factory: JobFactory) -> dict[str, float]:
    start = time.perf_counter()
    history, study = History(store, space, OBJECTIVES), StudySync(OBJECTIVES)
    sampler = Sampler({"_target_": "optuna.samplers.TPESampler", "seed": 0})
    proposer = Proposer(study, history, job_factory, sampler)
    history.refresh()
    study.tell(history)
    assert len(history.complete_trials()) == INSIDE
    times = {"start a search": time.perf_counter() - start}
    with Reservations(store) as reservations:

        def suggest() -> None:
            with reservations.asking():
                history.refresh(reservations.of_others())
                study.tell(history)
                suggestion = proposer.propose()
                assert suggestion is not None and suggestion.asked is not None
                reservations.add(suggestion.jobs.values())
            study.begin(suggestion)
            (job,) = suggestion.jobs.values()
            job.run.directory.mkdir()
            job.run.identity_file.write_text(job.identity.canonical)
            publish(job.run, job.identity, 0.7)  # changes the store, as a search does
            reservations.remove([job])

        suggest()  # the first one imports torch and makes the images
        with no_fsync():
            times["suggest a trial"] = time_of(suggest, 10)
    return times


@contextmanager
def hydra_context(paths: list[str]) -> Iterator[tuple[HydraContext, JobFactory]]:
    register()
    with initialize_config_dir(str(CONF)):
        loader = GlobalHydra.instance().config_loader()
        context = HydraContext(config_loader=loader, callbacks=Callbacks())
        config = loader.load_configuration("config", paths, run_mode=RunMode.MULTIRUN)
        yield context, JobFactory(context, config, ExcludeFilter(None))


def exponent(seconds: Mapping[int, float]) -> float:
    """Return the slope on a log-log scale, by least squares."""
    points = [(math.log(size), math.log(time)) for size, time in seconds.items() if size >= 1000]
    if len(points) < 2:
        return math.nan
    x, y = (sum(column) / len(points) for column in zip(*points, strict=True))
    return float(sum((a - x) * (b - y) for a, b in points) / sum((a - x) ** 2 for a, _ in points))


def format_seconds(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES, help="runs in the store")
    sizes = parser.parse_args().sizes
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    rows: dict[str, dict[int, float]] = {}
    for size in sizes:
        with tempfile.TemporaryDirectory() as name:
            paths = [f"runtime.store={name}/runs", f"runtime.cache={name}/cache", "runtime.device=cpu"]
            with hydra_context(paths) as (context, job_factory):
                for action, seconds in measure(Path(name), size, context, job_factory, paths).items():
                    rows.setdefault(action, {})[size] = seconds
        print(f"{size} runs measured", file=sys.stderr, flush=True)
    print(f"| runs in the store | {' | '.join(f'{size:,}' for size in sizes)} | exponent |")
    print("| --- " * (len(sizes) + 2) + "|")
    for action, row in rows.items():
        print(f"| {action} | {' | '.join(format_seconds(row[size]) for size in sizes)} | {exponent(row):.2f} |")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
