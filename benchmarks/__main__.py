"""Print the benchmark table: `python -m benchmarks [PART]... [--photographs FOLDER]`.

The two sides of each comparison run in turn, each repeat in its own process, and are compared by medians.
Nothing else should run on the machine meanwhile.
"""

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

from benchmarks.bench import LARGE, TRAIN, Bench, train
from benchmarks.environment import Machine
from benchmarks.measurement import HEADER, ROOT, Measurement, median_of, run_loop, run_python
from benchmarks.racing import measure_race
from benchmarks.stores import fill, write_finished
from benchmarks.training import measure_training

COMBINATIONS = (("64,128", 256), ("128,256", 512), ("64,128", 512), ("64,128", 1024))  # the combinations of the article
SWEEP_EPOCHS = 4
NUM_RUNS = 1000


def measure_sweep(bench: Bench) -> Iterator[Measurement]:
    """Run the article's whole search."""
    images = bench.images(800)
    points = ",".join(f'["model.conv_out=[{conv}]","model.linear_features={linear}"]' for conv, linear in COMBINATIONS)
    article, ours = [], []
    for repeat in range(min(bench.repeats, 2)):
        article.append(run_loop("article-sweep", bench.folder, images=images, epochs=SWEEP_EPOCHS)["seconds"])
        store = f"sweep-{repeat}"
        options = ("data.image_size=64", f"trainer.max_epochs={SWEEP_EPOCHS}", f"hydra.sweeper.points=[{points}]")
        seconds, runs = train(bench, images, store, "-m", *options, cache=f"{store}-cache")
        assert len(runs) == len(COMBINATIONS)
        ours.append(seconds)
    name = f"the article's four combinations at 64x64, 800 images, {SWEEP_EPOCHS} epochs, whole sweep"
    details = f"{median(ours):.1f} and {median(article):.1f} s"
    yield Measurement(name, "the article's loop", 4.0, median(article) / median(ours), details)


def measure_reading(bench: Bench) -> Iterator[Measurement]:
    """Read batches of images, from the second run on."""
    for size, goal in ((224, 8.0), (64, 50.0)):
        images = bench.images(800)
        files, cache = [], []
        for _ in range(bench.repeats):
            files.append(run_loop("files", bench.folder, images=images, size=size))
            cache.append(run_loop("batches", bench.folder, images=images, size=size))
        slow, fast = median_of(files, "images_per_second"), median_of(cache, "images_per_second")
        baseline = f"PIL in a DataLoader with {files[0]['workers']} workers"
        details = f"{fast:.0f} and {slow:.0f} images/s"
        yield Measurement(f"reading batches at {size}x{size}", baseline, goal, fast / slow, details)
        if size == LARGE[0].size:
            options = {"images": images, "size": size, "cache_gib": 0}
            rows = [run_loop("batches", bench.folder, **options) for _ in range(bench.repeats)]
            streamed = median_of(rows, "images_per_second")
            name, details = f"streaming at {size}x{size}", f"{streamed:.0f} and {slow:.0f} images/s"
            yield Measurement(name, baseline, 1.0, streamed / slow, details)


def measure_skipping(bench: Bench) -> Iterator[Measurement]:
    """Skip finished runs: one, and a thousand."""
    from crackdet.config.composing import compose
    from crackdet.config.schema import to_dict
    from crackdet.running.job import make_job

    base = to_dict(compose([f"runtime.store={bench.folder / 'outputs' / 'runs'}"]))
    fingerprints: dict[str, str] = {}
    write_finished(make_job({**base, "seed": seed}, [f"seed={seed}"], fingerprints) for seed in range(NUM_RUNS))
    grid = ("-m", f"seed=range(0,{NUM_RUNS})")
    cold, _ = run_python(TRAIN, *grid, folder=bench.folder)
    warm = median(run_python(TRAIN, *grid, folder=bench.folder)[0] for _ in range(bench.repeats))
    run_python(TRAIN, folder=bench.folder)
    ours, hydra = [], []
    for _ in range(5 * bench.repeats):
        seconds, output = run_python(TRAIN, folder=bench.folder)
        assert output.startswith("already finished")
        ours.append(seconds)
        hydra.append(run_python("-c", "import hydra", folder=bench.folder)[0])
    details = f"{median(ours):.2f} and {median(hydra):.2f} s, medians of {len(ours)}"
    baseline, ratio = '`python -c "import hydra"`', median(ours) / median(hydra)
    yield Measurement('start to "already finished"', baseline, 2.0, ratio, details, at_most=True)
    name = f"a sweep of {NUM_RUNS:,} runs, all finished"
    details = f"command cache warm, {bench.repeats_text}"
    yield Measurement(name, "a stopwatch", 2.0, warm, details, at_most=True, unit="s")
    yield Measurement(name, "a stopwatch", 30.0, cold, "command cache cold, once", at_most=True, unit="s")
    empty_jobs = str(ROOT / "benchmarks" / "empty_jobs.py")
    empty, _ = run_python(empty_jobs, *grid, "hydra/sweeper=basic", folder=bench.folder)
    baseline = f"Hydra's basic sweeper on {NUM_RUNS:,} empty jobs"
    details = f"{warm:.2f} s, {bench.repeats_text}, and {empty:.1f} s, once"
    yield Measurement(name, baseline, 50.0, empty / warm, details)


def measure_listing(bench: Bench) -> Iterator[Measurement]:
    """Run `crackdet summary` on large stores."""
    for number, goal in ((10_000, 1.0), (100_000, 10.0)):
        store = bench.folder / str(number)
        fill(store, number)
        command = ("-m", "crackdet", "summary", str(store))
        run_python(*command, folder=bench.folder)  # writes the index
        seconds = median(run_python(*command, folder=bench.folder)[0] for _ in range(bench.repeats))
        name = f"`crackdet summary` of {number:,} runs"
        details = f"{bench.repeats_text}, files in the kernel's cache, index written"
        yield Measurement(name, "a stopwatch", goal, seconds, details, at_most=True, unit="s")


PARTS: dict[str, Callable[[Bench], Iterator[Measurement]]] = {
    "training": measure_training,
    "sweep": measure_sweep,
    "reading": measure_reading,
    "skipping": measure_skipping,
    "listing": measure_listing,
    "racing": measure_race,
}


def main(
    parts: Annotated[list[str] | None, typer.Argument(help=f"Any of {', '.join(PARTS)}; default: all.")] = None,
    photographs: Annotated[
        Path | None, typer.Option(help="A folder with Positive and Negative; default: synthetic images.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Of each comparison.")] = 3,
) -> None:
    """Measure and print a table in Markdown; takes about forty minutes on two cores."""
    if unknown := sorted(set(parts or ()) - set(PARTS)):
        print(f"error: {', '.join(unknown)}: must be one of {', '.join(PARTS)}", file=sys.stderr)
        raise typer.Exit(2)
    _, output = run_python("-m", "benchmarks.environment", folder=ROOT)
    machine = Machine(**json.loads(output.splitlines()[-1]))
    print(f"{machine}; {photographs.name if photographs else 'synthetic images'}\n\n{HEADER}", flush=True)
    for name in parts or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(Path(folder), photographs and photographs.absolute(), repeats, machine)
            for measurement in PARTS[name](bench):
                print(measurement.row(), flush=True)


if __name__ == "__main__":
    typer.run(main)
