"""Wall time until a validation accuracy is reached, against Lightning's Trainer."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.bench import SMALL, Bench, train
from benchmarks.measurement import Measurement, run_python

TARGET = 0.97  # validation accuracy
MAX_EPOCHS = 30


@dataclass(frozen=True)
class Race:
    """Wall seconds, including start-up, until the target was reached, or of the whole training if it was not."""

    seconds: float
    epochs: int
    reached: bool


def measure_race(bench: Bench) -> Iterator[Measurement]:
    """Train the article's network by Lightning and by crackdet, on the same split."""
    images = bench.images(1000)
    split = _link_split(images, bench.folder / "split")
    lightning = [_race_lightning(bench, images, seed) for seed in range(bench.repeats)]
    crackdet = [_race_crackdet(bench, split, seed) for seed in range(bench.repeats)]
    slow, fast = (median(race.seconds for race in races) for races in (lightning, crackdet))
    per_epoch = [median(race.seconds / race.epochs for race in races) for races in (lightning, crackdet)]
    details = (
        f"{fast:.1f} and {slow:.1f} s, {bench.repeats_text}; epochs {_epochs(crackdet)} and {_epochs(lightning)}; "
        f"{per_epoch[0] / per_epoch[1]:.2f} x in seconds per epoch, including start-up"
    )
    name = f"time to validation accuracy {TARGET}, custom (64,128,512) at 64x64, 1,000 images"
    yield Measurement(name, "Lightning's Trainer with DataLoader workers", 2.0, slow / fast, details)


def _race_lightning(bench: Bench, images: Path, seed: int) -> Race:
    options = (f"--size={SMALL.size}", f"--accuracy={TARGET}", f"--epochs={MAX_EPOCHS}", f"--seed={seed}")
    loop = ("-m", "benchmarks.loops", "lightning", f"--images={images}")
    wall, output = run_python(*loop, *options, folder=bench.folder)
    row = json.loads(output.splitlines()[-1])
    return Race(wall, row["epochs"], row["reached"])


def _race_crackdet(bench: Bench, images: Path, seed: int) -> Race:
    options = [f"data.image_size={SMALL.size}", f"seed={seed}"]
    options += [f"trainer.max_epochs={MAX_EPOCHS}", f"trainer.patience={MAX_EPOCHS}"]
    store = f"racing-{seed}"
    wall, (run,) = train(bench, images, store, *options, cache=f"{store}-cache")
    rows = run["history"]
    first = next((epoch for epoch, row in enumerate(rows, 1) if float(row["valid_accuracy"]) >= TARGET), None)
    after = sum(float(row["seconds"]) for row in rows[first or len(rows) :])
    return Race(wall - after, first or len(rows), first is not None)


def _link_split(images: Path, folder: Path) -> Path:
    """Link the images in `train` and `valid`, split as Lightning's loop splits them."""
    from benchmarks.article import ImageFiles  # imports torchvision

    for part in ("train", "valid"):
        for path in ImageFiles(images, SMALL.size, part).files:
            link = folder / part / path.parent.name / path.name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
    return folder


def _epochs(races: list[Race]) -> str:
    return ", ".join(f"{race.epochs}{'' if race.reached else ' (not reached, whole time counted)'}" for race in races)
