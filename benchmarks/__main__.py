"""Prints the table of figures: `python -m benchmarks [PART]... [--photographs FOLDER]`.

Everything is measured side by side in this run, each repeat in processes of its own, in turn, and compared by
medians. Nothing else should run on the machine meanwhile.
"""

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer

from benchmarks.environment import Machine
from benchmarks.figures import HEAD, ROOT, Figure, loop, middle, python
from benchmarks.floor import Floor, floor
from benchmarks.photographs import photographs
from benchmarks.stores import fill, finish

TRAIN = str(ROOT / "train.py")
COMBINATIONS = (("64,128", 256), ("128,256", 512), ("64,128", 512), ("64,128", 1024))  # the article's
SWEEP_EPOCHS = 4
RUNS = 1000
TARGET = 0.97  # validation accuracy that two ways of training race to
MOST_EPOCHS = 30  # that they may take


@dataclass
class Bench:
    """Where one part measures, and with what."""

    folder: Path
    source: Path | None
    repeats: int
    machine: Machine

    def photographs(self, number: int) -> Path:
        folder = self.folder / f"photographs-{number}"
        return folder if folder.exists() else photographs(self.source, number, folder)

    @cached_property
    def large(self) -> Path:
        return self.photographs(320 * self.longer)

    @property
    def longer(self) -> int:
        """How many times as many steps as on a CPU are timed: on a GPU they take milliseconds."""
        return 10 if self.machine.device == "cuda" else 1

    @property
    def repeated(self) -> str:
        return "once" if self.repeats == 1 else f"median of {self.repeats}"


@dataclass(frozen=True)
class Case:
    """A network at a size and a batch."""

    network: str
    size: int
    batch: int
    epochs: int

    @property
    def name(self) -> str:
        name = "ResNeXt-50" if self.network == "resnext50" else "custom (64,128,512)"
        return f"{name} at {self.size}x{self.size}, batch {self.batch}"

    @property
    def overrides(self) -> list[str]:
        model = ["model=resnext50", "model.weights=null"] if self.network == "resnext50" else ["model=custom"]
        return [*model, f"data.image_size={self.size}", f"trainer.batch_size={self.batch}"]


LARGE = Case("resnext50", 224, 16, 2), Case("custom", 224, 32, 3)
SMALL = Case("custom", 64, 32, 6)


def train(
    bench: Bench, images: Path, store: str, *overrides: str, cache: str = "cache"
) -> tuple[float, list[dict[str, Any]]]:
    """Wall seconds of `python train.py` with these overrides, and the runs that stand in its store then.

    They hold the decoding of the images only where no other call has had the same `cache`.
    """
    places = [f"data.root={images}", f"runtime.store={store}", f"runtime.cache={cache}"]
    seconds, _ = python(TRAIN, *overrides, "data=folder", *places, folder=bench.folder)
    runs = []
    for directory in (bench.folder / store).iterdir():
        result = json.loads((directory / "result.json").read_text())
        header, *rows = (directory / "history.csv").read_text().splitlines()
        result["history"] = [dict(zip(header.split(","), row.split(","), strict=True)) for row in rows]
        runs.append(result)
    return seconds, runs


def training(bench: Bench) -> Iterator[Figure]:
    """Throughput, epochs and memory of real runs, against the article's loop and the best bare step."""
    goals = {"resnext50": 4.0, "custom": 9.0}
    for case in (*LARGE, SMALL):
        measured: dict[str, list[dict[str, Any]]] = {"article": [], "bare": [], "crackdet": [], "costs": []}
        options = {"network": case.network, "size": case.size, "batch": case.batch}
        for repeat in range(bench.repeats):
            if case is not SMALL:
                measured["article"].append(loop("article", bench.folder, photographs=bench.large, steps=6, **options))
            steps = (60 if case is SMALL else 8) * bench.longer
            measured["bare"].append(loop("bare", bench.folder, steps=steps, **options))
            store = f"{case.network}-{case.size}-{repeat}"
            epochs = f"trainer.max_epochs={case.epochs}"
            _, (run,) = train(bench, bench.large, store, *case.overrides, epochs)
            measured["crackdet"].append({**run, "images_per_second": run["history"][-1]["images_per_second"]})
            measured["costs"].append(loop("costs", bench.folder, run_seconds=run["seconds"], **options))
        yield from _of_training(bench, case, measured, goals[case.network])


def _of_training(bench: Bench, case: Case, measured: dict[str, list[dict[str, Any]]], goal: float) -> Iterator[Figure]:
    ours, bare = middle(measured["crackdet"], "images_per_second"), middle(measured["bare"], "images_per_second")
    if measured["article"]:
        article = middle(measured["article"], "images_per_second")
        lowest: Floor = floor(case.overrides, bench.machine, measured["bare"][0]["precision"])
        made_of = (
            f"{ours:.1f} and {article:.1f} images/s; arithmetic alone allows {lowest.most(article, case.batch):.1f} x"
        )
        yield Figure(f"training throughput, {case.name}", "the article's loop", goal, ours / article, made_of)
        if case.network == "resnext50":
            yield Figure(
                f"a step, {case.name}", "the best bare step", 1.3, bare / ours,
                f"{case.batch / ours:.3g} and {case.batch / bare:.3g} s", at_most=True,
            )  # fmt: skip
        yield Figure(
            f"a step, {case.name}", "the floor of arithmetic and memory traffic", 1.4,
            case.batch / ours / lowest.seconds, f"{case.batch / ours:.3g} s and {lowest}", at_most=True,
        )  # fmt: skip
    made_of = f"{ours:.1f} and {bare:.1f} images/s, in {measured['bare'][0]['precision']}"
    yield Figure(f"epoch throughput, {case.name}", "a bare loop over tensors in memory", 0.97, ours / bare, made_of)
    if all(run["peak_memory_mib"] is not None for run in measured["crackdet"]):  # the system tells
        peak, needs = middle(measured["crackdet"], "peak_memory_mib"), middle(measured["bare"], "needs_mib")
        made_of = f"{peak:.0f} and {needs:.0f} MiB; the bare loop took {middle(measured['bare'], 'peak_mib'):.0f}"
        yield Figure(
            f"peak memory of a run, {case.name}", "weights, gradients, Adam's state, one batch of activations", 1.4,
            peak / needs, made_of, at_most=True,
        )  # fmt: skip
    asking, running = middle(measured["costs"], "seconds"), middle(measured["crackdet"], "seconds")
    yield Figure(
        f"measuring what the network costs, {case.name}", f"the run, of {case.epochs} epochs", 0.05, asking / running,
        f"{asking:.2f} and {running:.1f} s", at_most=True,
    )  # fmt: skip


def sweep(bench: Bench) -> Iterator[Figure]:
    """The article's search as a whole."""
    images = bench.photographs(800)
    points = ",".join(f'["model.conv_out=[{conv}]","model.linear_features={linear}"]' for conv, linear in COMBINATIONS)
    article, ours = [], []
    for repeat in range(min(bench.repeats, 2)):
        article.append(loop("article-sweep", bench.folder, photographs=images, epochs=SWEEP_EPOCHS)["seconds"])
        store = f"sweep-{repeat}"
        seconds, runs = train(
            bench, images, store, "-m", "data.image_size=64", f"trainer.max_epochs={SWEEP_EPOCHS}",
            f"hydra.sweeper.points=[{points}]", cache=f"{store}-cache",
        )  # fmt: skip
        assert len(runs) == len(COMBINATIONS)
        ours.append(seconds)
    yield Figure(
        f"the article's four combinations at 64x64, 800 photographs, {SWEEP_EPOCHS} epochs, whole sweep",
        "the article's loop", 4.0, median(article) / median(ours), f"{median(ours):.1f} and {median(article):.1f} s",
    )  # fmt: skip


def reading(bench: Bench) -> Iterator[Figure]:
    """Batches of images, from the second run on."""
    for size, goal in ((224, 8.0), (64, 50.0)):
        images = bench.photographs(800)
        files, cache = [], []
        for _ in range(bench.repeats):
            files.append(loop("reading", bench.folder, photographs=images, size=size))
            cache.append(loop("gathering", bench.folder, photographs=images, size=size))
        slow, fast = middle(files, "images_per_second"), middle(cache, "images_per_second")
        against = f"PIL in a DataLoader with {files[0]['workers']} workers"
        made_of = f"{fast:.0f} and {slow:.0f} images/s"
        yield Figure(f"reading batches at {size}x{size}", against, goal, fast / slow, made_of)
        if size == LARGE[0].size:
            options = {"photographs": images, "size": size, "cache_gib": 0}
            streamed = middle(
                [loop("gathering", bench.folder, **options) for _ in range(bench.repeats)], "images_per_second"
            )
            what, made_of = "streaming a set over runtime.cache_gib", f"{streamed:.0f} and {slow:.0f} images/s"
            yield Figure(f"{what} at {size}x{size}", against, 1.0, streamed / slow, made_of)


def skipping(bench: Bench) -> Iterator[Figure]:
    """Finished runs recognised: one, and a thousand."""
    from crackdet.config.composing import compose
    from crackdet.config.schema import to_dict
    from crackdet.running.job import make_job

    base = to_dict(compose([f"runtime.store={bench.folder / 'outputs' / 'runs'}"]))
    known: dict[str, str] = {}
    finish(make_job({**base, "seed": seed}, [f"seed={seed}"], known) for seed in range(RUNS))
    grid = ("-m", f"seed=range(0,{RUNS})")
    cold, _ = python(TRAIN, *grid, folder=bench.folder)
    warm = median(python(TRAIN, *grid, folder=bench.folder)[0] for _ in range(bench.repeats))
    python(TRAIN, folder=bench.folder)
    ours, hydra = [], []
    for _ in range(5 * bench.repeats):
        seconds, printed = python(TRAIN, folder=bench.folder)
        assert printed.startswith("already finished")
        ours.append(seconds)
        hydra.append(python("-c", "import hydra", folder=bench.folder)[0])
    yield Figure(
        'start to "already finished"', '`python -c "import hydra"`', 2.0, median(ours) / median(hydra),
        f"{median(ours):.2f} and {median(hydra):.2f} s, medians of {len(ours)}", at_most=True,
    )  # fmt: skip
    what = f"a sweep of {RUNS:,} runs, all finished"
    yield Figure(what, "a stopwatch", 2.0, warm, f"memo warm, {bench.repeated}", at_most=True, unit="s")
    yield Figure(what, "a stopwatch", 30.0, cold, "memo cold, once", at_most=True, unit="s")
    empty, _ = python(str(ROOT / "benchmarks" / "empty_jobs.py"), *grid, "hydra/sweeper=basic", folder=bench.folder)
    made_of = f"{warm:.2f} s, {bench.repeated}, and {empty:.1f} s, once"
    yield Figure(what, f"Hydra's basic sweeper on {RUNS:,} empty jobs", 50.0, empty / warm, made_of)


def listing(bench: Bench) -> Iterator[Figure]:
    """`crackdet summary` of large stores."""
    for number, goal in ((10_000, 1.0), (100_000, 10.0)):
        store = bench.folder / str(number)
        fill(store, number)
        command = ("-m", "crackdet", "summary", str(store))
        python(*command, folder=bench.folder)  # writes the index
        seconds = median(python(*command, folder=bench.folder)[0] for _ in range(bench.repeats))
        made_of = f"{bench.repeated}, files in the kernel's cache, index written"
        yield Figure(
            f"`crackdet summary` of {number:,} runs", "a stopwatch", goal, seconds, made_of, at_most=True, unit="s"
        )


@dataclass(frozen=True)
class Race:
    """Wall seconds, the start included, until the accuracy was reached, or to the end where it was not."""

    seconds: float
    epochs: int
    reached: bool


def racing(bench: Bench) -> Iterator[Figure]:
    """Wall time to the same validation accuracy."""
    images = bench.photographs(1000)
    split = _split(images, bench.folder / "split")
    theirs, ours = [], []
    for repeat in range(bench.repeats):
        options = (f"--size={SMALL.size}", f"--accuracy={TARGET}", f"--epochs={MOST_EPOCHS}", f"--seed={repeat}")
        wall, printed = python(
            "-m", "benchmarks.loops", "lightning", f"--photographs={images}", *options, folder=bench.folder
        )
        told = json.loads(printed.splitlines()[-1])
        theirs.append(Race(wall, told["epochs"], told["reached"]))
        limits = (f"trainer.max_epochs={MOST_EPOCHS}", f"trainer.patience={MOST_EPOCHS}")
        store = f"racing-{repeat}"
        wall, (run,) = train(
            bench, split, store, f"data.image_size={SMALL.size}", f"seed={repeat}", *limits, cache=f"{store}-cache"
        )
        rows = run["history"]
        first = next((i for i, row in enumerate(rows, 1) if float(row["valid_accuracy"]) >= TARGET), None)
        after = sum(float(row["seconds"]) for row in rows[first or len(rows) :])
        ours.append(Race(wall - after, first or len(rows), first is not None))
    slow, fast = (median(race.seconds for race in races) for races in (theirs, ours))
    each = [median(race.seconds / race.epochs for race in races) for races in (theirs, ours)]
    made_of = (
        f"{fast:.1f} and {slow:.1f} s, {bench.repeated}; epochs {_epochs(ours)} and {_epochs(theirs)}; "
        f"{each[0] / each[1]:.2f} x in seconds per epoch, starts included"
    )
    yield Figure(
        f"time to validation accuracy {TARGET}, custom (64,128,512) at 64x64, 1,000 photographs",
        "Lightning's Trainer with DataLoader workers", 2.0, slow / fast, made_of,
    )  # fmt: skip


def _split(images: Path, into: Path) -> Path:
    """Links to the photographs in `train` and `valid`, as the loops split them, so that both sides see the same."""
    from benchmarks.loops import Photographs  # with torchvision, which no other part needs

    for part in ("train", "valid"):
        for path in Photographs(images, SMALL.size, part).files:
            link = into / part / path.parent.name / path.name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
    return into


def _epochs(races: list[Race]) -> str:
    return ", ".join(f"{race.epochs}{'' if race.reached else ' (not reached, whole time counted)'}" for race in races)


PARTS: dict[str, Callable[[Bench], Iterator[Figure]]] = {
    "training": training,
    "sweep": sweep,
    "reading": reading,
    "skipping": skipping,
    "listing": listing,
    "racing": racing,
}


def main(
    parts: Annotated[list[str] | None, typer.Argument(help=f"Some of {', '.join(PARTS)}; without: all.")] = None,
    source: Annotated[
        Path | None, typer.Option("--photographs", help="Holds Positive and Negative; without: drawn ones.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Of each comparison, in turn.")] = 3,
) -> None:
    """Measures, and prints a table in Markdown; takes about forty minutes on two cores."""
    unknown = sorted(set(parts or ()) - set(PARTS))
    if unknown:
        print(f"error: {', '.join(unknown)}: must be among {', '.join(PARTS)}", file=sys.stderr)
        raise typer.Exit(2)
    _, printed = python("-m", "benchmarks.environment", folder=ROOT)
    machine = Machine(**json.loads(printed.splitlines()[-1]))
    print(f"{machine}; {'drawn images' if source is None else source.name}\n\n{HEAD}", flush=True)
    for name in parts or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(Path(folder), source and source.absolute(), repeats, machine)
            for figure in PARTS[name](bench):
                print(figure.row(), flush=True)


if __name__ == "__main__":
    typer.run(main)
