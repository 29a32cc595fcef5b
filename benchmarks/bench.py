"""What the parts of `python -m benchmarks` share: folder, images and machine, the networks, and `train.py`."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.environment import Machine
from benchmarks.images import make_images
from benchmarks.measurement import ROOT, run_python

TRAIN = str(ROOT / "train.py")


@dataclass
class Bench:
    """The folder, the images and the machine of one part."""

    folder: Path
    photographs: Path | None  # None: synthetic images
    repeats: int
    machine: Machine

    def images(self, number: int) -> Path:
        folder = self.folder / f"images-{number}"
        return folder if folder.exists() else make_images(self.photographs, number, folder)

    @cached_property
    def training_images(self) -> Path:
        return self.images(320 * self.step_factor)

    @property
    def step_factor(self) -> int:
        """How many more steps to time than on a CPU: on a GPU a step takes milliseconds."""
        return 10 if self.machine.device == "cuda" else 1

    @property
    def repeats_text(self) -> str:
        return "once" if self.repeats == 1 else f"median of {self.repeats}"


@dataclass(frozen=True)
class Case:
    """A network with an image size and a batch size."""

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
    """Run `python train.py` with these overrides; return its wall seconds and the results of all runs in its store.

    The time includes decoding the images if no other call has used the same `cache`.
    """
    paths = [f"data.root={images}", f"runtime.store={store}", f"runtime.cache={cache}"]
    seconds, _ = run_python(TRAIN, *overrides, "data=folder", *paths, folder=bench.folder)
    results = []
    for directory in (bench.folder / store).iterdir():
        result = json.loads((directory / "result.json").read_text())
        header, *rows = (directory / "history.csv").read_text().splitlines()
        result["history"] = [dict(zip(header.split(","), row.split(","), strict=True)) for row in rows]
        results.append(result)
    return seconds, results
