"""What claiming, skipping, asking, summarising and watching cost as a store grows.

    python -m benchmarks.scale [SIZE]...       # 100 1000 10000 100000

Stores are generated: all runs are finished, of one network with different settings, a hundred of them inside the
space of a search. The exponent is the slope of the logarithms from 1,000 runs on: 0 does not grow, 1 is linear.
"""

import argparse
import copy
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

from benchmarks.stores import no_flush
from crackdet.analysis.ranking import summarize
from crackdet.config.composing import CONF
from crackdet.config.parsing import register
from crackdet.core.files import write_csv
from crackdet.running.command_cache import SINGLE, CacheEntry, CommandCache
from crackdet.running.job import Job
from crackdet.store.identity import Identity
from crackdet.store.run import Run
from crackdet.store.run_store import RunStore
from crackdet.sweep.search.history import History
from crackdet.sweep.search.objectives import Objective
from crackdet.sweep.search.proposer import Proposer
from crackdet.sweep.search.pruning import HistoryPruner, PruningSpec
from crackdet.sweep.search.reservations import Reservations
from crackdet.sweep.search.samplers import Sampler
from crackdet.sweep.search.space_builder import JobFactory, build_space
from crackdet.sweep.search.study_sync import StudySync
from crackdet.sweep.selection import ExcludeFilter
from crackdet.watch.monitor import StoreMonitor as Watched

SIZES = (100, 1000, 10_000, 100_000)
INSIDE = 100  # runs that lie inside the space of the search
EPOCHS = 25
SPACE = ("model.linear_features=range(1,1000)",)
MEDIAN = {"_target_": "optuna.pruners.MedianPruner"}
OBJECTIVES = [Objective("accuracy", "maximize")]


def identities(example: Job, number: int) -> Iterator[Identity]:
    """Of runs that differ in width inside the space, and in learning rate outside."""
    content = copy.deepcopy(dict(example.identity.content))
    for index in range(number):
        content["model"]["linear_features"] = 1 + index % 1000
        content["optimizer"]["learning_rate"] = example.config.optimizer.learning_rate * (
            1 + max(0, index - INSIDE + 1)
        )
        yield Identity(copy.deepcopy(content))


def fill(store: RunStore, example: Job, number: int) -> list[Identity]:
    """Finished runs, written without training."""
    rows = [{"epoch": epoch, "valid_accuracy": 0.5 + epoch / 100} for epoch in range(1, EPOCHS + 1)]
    known = list(identities(example, number))
    with no_flush():
        for index, identity in enumerate(known):
            run = store.run(identity.run_id)
            run.directory.mkdir(parents=True)
            run.identity_file.write_text(identity.canonical)
            write_csv(run.history_file, rows)
            publish(run, identity, 0.5 + index % 97 / 200)
    return known


def publish(run: Run, identity: Identity, accuracy: float) -> None:
    result = {"accuracy": accuracy, "loss": 0.5, "epoch": EPOCHS, "parameters": 1, "seconds": 1.0, "valid_images": 120}
    run.publish({**result, "identity": identity.digest, "settings": json.loads(identity.canonical)})


def time_of(action: Callable[[], object], repeats: int = 5) -> float:
    """Seconds, the median of some repeats."""
    spent = []
    for _ in range(repeats):
        began = time.perf_counter()
        action()
        spent.append(time.perf_counter() - began)
    return median(spent)


def claims(store: RunStore) -> Iterator[Callable[[], None]]:
    numbers = iter(range(10**9))

    def claim() -> None:
        with store.run(f"custom-{next(numbers):012x}").claim():
            pass

    yield claim
    for number in range(next(numbers)):
        store.remove(store.run(f"custom-{number:012x}"))


def measure(
    folder: Path, number: int, context: HydraContext, planner: JobFactory, places: list[str]
) -> dict[str, float]:
    """Seconds of each action over a store of so many runs."""
    store = RunStore(folder / "runs")
    space = build_space([*places, *SPACE], {}, context, planner)
    example = planner.job(space.overrides({"model.linear_features": 1}))
    known = fill(store, example, number)
    found: dict[str, float] = {}

    claim = next(making := claims(store))
    found["claim"] = time_of(claim, 50)
    next(making, None)
    found["skip"] = skip(store, known)

    began = time.perf_counter()
    history, view = History(store, space, OBJECTIVES), StudySync(OBJECTIVES)
    asker = Proposer(view, history, planner, Sampler({"_target_": "optuna.samplers.TPESampler", "seed": 0}), OBJECTIVES)
    history.refresh()
    view.update(history)
    assert len(history.measured()) == min(number, INSIDE)
    found["begin to search"] = time.perf_counter() - began
    with Reservations(store) as bookings:

        def ask() -> None:
            with bookings.asking():
                history.refresh(bookings.of_others())
                view.update(history)
                suggestion = asker.next()
                assert suggestion is not None and suggestion.asked is not None
                bookings.add(suggestion.jobs.values())
            view.begin(suggestion.asked, suggestion.params)
            (job,) = suggestion.jobs.values()
            job.run.directory.mkdir()
            job.run.identity_file.write_text(job.identity.canonical)
            publish(job.run, job.identity, 0.7)  # so that the store changes, as it does in a search
            bookings.remove([job])

        ask()  # the first imports torch and draws the images
        with no_flush():
            found["ask"] = time_of(ask, 10)
    board = HistoryPruner(PruningSpec(space, OBJECTIVES[0], EPOCHS), store, MEDIAN)
    own, rows = store.run("custom-ffffffffffff"), [{"epoch": 1, "valid_accuracy": 0.5}]
    board.judge(own, rows)
    found["ask the pruner"] = time_of(lambda: board.judge(own, rows), 10)
    time.sleep(2.5)  # until the folders' times of change are old enough to be believed
    found["summary, without its index file"] = time_of(lambda: summarize(store.root), 1)
    found["summary"] = time_of(lambda: summarize(store.root), 3)
    watched = Watched(store.root)
    began = time.perf_counter()
    while watched.look() or watched.unread:
        pass
    found["watch: all runs read"] = time.perf_counter() - began
    found["watch: another look"] = time_of(watched.look, 5)
    return found


def skip(store: RunStore, known: Sequence[Identity]) -> float:
    """To recognise one finished run by its command line, among as many that are remembered."""

    def memo() -> CommandCache:
        return CommandCache([CONF], f"{SINGLE} config", store.root.parent / "memo")

    meanings = [
        CacheEntry([f"seed={i}"], store.run(identity.run_id), identity.digest) for i, identity in enumerate(known)
    ]
    writing = memo()
    writing._began += 60  # as if nothing had been changed lately
    writing.remember(meanings)
    positions = iter(range(0, len(known), max(1, len(known) // 20)))

    def recall() -> None:
        assert memo().recall([f"seed={next(positions)}"]) is not None

    return time_of(recall, 15)


@contextmanager
def in_hydra(places: list[str]) -> Iterator[tuple[HydraContext, JobFactory]]:
    register()
    with initialize_config_dir(str(CONF)):
        loader = GlobalHydra.instance().config_loader()
        context = HydraContext(config_loader=loader, callbacks=Callbacks())
        config = loader.load_configuration("config", places, run_mode=RunMode.MULTIRUN)
        yield context, JobFactory(context, config, ExcludeFilter(None))


def exponent(seconds: Mapping[int, float]) -> float:
    """The slope of the logarithms, by least squares."""
    points = [(math.log(size), math.log(spent)) for size, spent in seconds.items() if size >= 1000]
    if len(points) < 2:
        return math.nan
    x, y = (sum(column) / len(points) for column in zip(*points, strict=True))
    return sum((a - x) * (b - y) for a, b in points) / sum((a - x) ** 2 for a, _ in points)


def shown(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES, help="runs in the store")
    sizes = parser.parse_args().sizes
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    rows: dict[str, dict[int, float]] = {}
    for size in sizes:
        with tempfile.TemporaryDirectory() as name:
            places = [f"runtime.store={name}/runs", f"runtime.cache={name}/cache", "runtime.device=cpu"]
            with in_hydra(places) as (context, planner):
                for what, spent in measure(Path(name), size, context, planner, places).items():
                    rows.setdefault(what, {})[size] = spent
        print(f"{size} runs measured", file=sys.stderr, flush=True)
    print(f"| runs in the store | {' | '.join(f'{size:,}' for size in sizes)} | exponent |")
    print("| --- " * (len(sizes) + 2) + "|")
    for what, spent in rows.items():
        print(f"| {what} | {' | '.join(shown(spent[size]) for size in sizes)} | {exponent(spent):.2f} |")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
