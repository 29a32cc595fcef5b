"""Whether crackdet trains as well as timm's own training script.

    python -m benchmarks.recipes --photographs FOLDER --weights FOLDER --train-script TRAIN_PY

Both train the same networks from the same initial weights on the same photographs, with the same settings, for the same
epochs. TRAIN_PY is train.py of https://github.com/huggingface/pytorch-image-models. For each network, prints the
validation accuracy over the seeds on both sides, in the last epoch and in the best one, and the difference with its
95 % interval (Welch's t).
"""

import csv
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Annotated

import typer
from PIL import Image
from scipy.stats import ttest_ind

from benchmarks.measurement import ROOT, run_python

BATCH = 32


@dataclass(frozen=True)
class Case:
    """A network and its recipe, in crackdet's settings and in the arguments of timm's script."""

    name: str
    model: tuple[str, ...]
    recipe: tuple[str, ...]
    timm_recipe: tuple[str, ...]
    images: int  # for training; a multiple of the batch size, because timm's script drops a smaller last batch
    epochs: int


CNN = (
    "optimizer=sgd", "optimizer.learning_rate=0.005", "optimizer.weight_decay=1e-4",
    "optimizer.decay_norm_and_bias=false", "scheduler=cosine", "trainer.label_smoothing=0.1",
)  # fmt: skip
TIMM_CNN = ("--opt=momentum", "--lr=0.005", "--weight-decay=1e-4", "--smoothing=0.1")  # without Nesterov momentum
TRANSFORMER = (
    "optimizer=adamw", "optimizer.learning_rate=2e-3", "optimizer.weight_decay=0.05",
    "optimizer.decay_norm_and_bias=false", "scheduler=cosine", "trainer.label_smoothing=0.1",
)  # fmt: skip
TIMM_TRANSFORMER = ("--opt=adamw", "--lr=2e-3", "--weight-decay=0.05", "--smoothing=0.1")


def cases(weights: Path) -> list[Case]:
    normalized = ("model.input_mean=[0.5,0.5,0.5]", "model.input_std=[0.25,0.25,0.25]")  # else the ViT does not learn
    given = ("model.input_mean=[0.5,0.5,0.5]", "model.input_std=[0.5,0.5,0.5]", "model.batchnorm=eval")
    mobilenet = f"model.weights={weights / 'mobilenet_v2_imagenet_folded.pth'}"
    efficientnet = f"model.weights={weights / 'tf_efficientnet_lite0_fp16.safetensors'}"
    return [
        Case("MobileNetV2", ("model=mobilenet_v2", mobilenet, *given), CNN, TIMM_CNN, 320, 3),
        Case("EfficientNet-Lite0", ("model=timm/tf_efficientnet_lite0", efficientnet, *given), CNN, TIMM_CNN, 320, 3),
        Case("ViT", ("model=timm/test_vit", "model.weights=null", *normalized), TRANSFORMER, TIMM_TRANSFORMER, 960, 8),
    ]


def write_images(photographs: Path, images: int, valid_images: int, size: int, folder: Path) -> Path:
    """Write photographs of `size` pixels to `train` and `valid`; the latter are from the second half of the blocks."""
    with (photographs / "manifest.csv").open() as file:
        rows = list(csv.DictReader(file))
    half = max(int(row["block"]) for row in rows) // 2
    for split, number, is_valid in (("train", images, False), ("valid", valid_images, True)):
        for name in ("Positive", "Negative"):
            (folder / split / name).mkdir(parents=True)
            paths = [row["path"] for row in rows if row["label"] == name and (int(row["block"]) > half) is is_valid]
            for position in range(number // 2):
                path = photographs / paths[position * len(paths) // (number // 2)]
                with Image.open(path) as image:
                    small = image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
                small.save(folder / split / name / f"{path.stem}.png")
    return folder


@dataclass(frozen=True)
class Accuracies:
    """Validation accuracies of one run."""

    last: float
    best: float
    seconds: float


def train_crackdet(case: Case, data: Path, size: int, seed: int, folder: Path) -> Accuracies:
    store = folder / f"{case.name}-{seed}"
    overrides = [*settings(case, data, size, seed), f"runtime.store={store}", f"runtime.cache={folder / 'cache'}"]
    seconds, _ = run_python(str(ROOT / "train.py"), *overrides, folder=folder)
    (history,) = store.glob("*/history.csv")
    with history.open() as file:
        accuracies = [float(row["valid_accuracy"]) for row in csv.DictReader(file)]
    assert len(accuracies) == case.epochs
    return Accuracies(accuracies[-1], max(accuracies), seconds)


def train_timm(case: Case, script: Path, data: Path, size: int, seed: int, folder: Path) -> Accuracies:
    """Train with timm's script, on pixels in [0, 1], since the network normalises."""
    name = f"timm-{case.name}-{seed}"
    seconds, _ = run_python(
        "-m", "benchmarks.timm_script", str(script), json.dumps(settings(case, data, size, seed)),
        f"--data-dir={data}", "--val-split=valid", "--num-classes=2", "--input-size", "3", str(size), str(size),
        "--no-aug", "--crop-pct=1.0", "--mean", "0", "0", "0", "--std", "1", "1", "1", f"--batch-size={BATCH}",
        "--sched=cosine", f"--epochs={case.epochs}", "--warmup-epochs=0", "--min-lr=0", f"--seed={seed}",
        "--device=cpu", "--workers=1", f"--output={folder}", f"--experiment={name}", *case.timm_recipe,
        folder=folder,
    )  # fmt: skip
    with (folder / name / "summary.csv").open() as file:
        accuracies = [float(row["eval_top1"]) / 100 for row in csv.DictReader(file)]
    assert len(accuracies) == case.epochs
    return Accuracies(accuracies[-1], max(accuracies), seconds)


def settings(case: Case, data: Path, size: int, seed: int) -> list[str]:
    """Return crackdet's settings of a run."""
    return [
        *case.model, *case.recipe, "data=folder", f"data.root={data}", f"data.image_size={size}", f"seed={seed}",
        f"trainer.batch_size={BATCH}", f"trainer.max_epochs={case.epochs}", f"trainer.patience={case.epochs}",
        "trainer.precision=fp32", "trainer.monitor=valid_accuracy", "runtime.device=cpu", "sweep.report=false",
    ]  # fmt: skip


def rows(name: str, ours: Sequence[Accuracies], timm: Sequence[Accuracies]) -> Iterator[str]:
    """Yield a row of the table for the last epoch, and one for the best."""
    for epoch in ("last", "best"):
        first, second = ([getattr(run, epoch) for run in runs] for runs in (ours, timm))
        difference = 100 * (mean(first) - mean(second))
        interval = "0"
        if stdev(first) or stdev(second):
            low, high = ttest_ind(first, second, equal_var=False).confidence_interval()
            interval = f"{100 * low:+.2f} to {100 * high:+.2f}"
        texts = (f"{100 * mean(values):.2f} ± {100 * stdev(values):.2f}" for values in (first, second))
        seconds = (f"{mean(run.seconds for run in runs):.0f}" for runs in (ours, timm))
        yield f"| {name} | {epoch} | {' | '.join(texts)} | {difference:+.2f} ({interval}) | {' | '.join(seconds)} |"


def main(
    photographs: Annotated[Path, typer.Option(help="A folder with manifest.csv, which has path, label and block.")],
    weights: Annotated[Path, typer.Option(help="The folder of the initial weights.")],
    train_script: Annotated[Path, typer.Option(help="train.py of pytorch-image-models.")],
    seeds: Annotated[int, typer.Option(min=2)] = 5,
    size: Annotated[int, typer.Option(help="Pixels a side.")] = 64,
    valid_images: Annotated[int, typer.Option()] = 600,
    only: Annotated[list[str] | None, typer.Option("--network", help="Repeatable; default: all.")] = None,
) -> None:
    """Train 2 x seeds runs of each network and compare them; takes about twenty minutes on one core."""
    print(f"{valid_images} photographs for validation at {size}x{size}, {seeds} seeds\n")
    print(
        "| network | epoch | crackdet, % | timm's train.py, % | difference, 95 % interval | seconds | timm's seconds |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    began = time.monotonic()
    for case in cases(weights.absolute()):
        if only and case.name not in only:
            continue
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            data = write_images(photographs.absolute(), case.images, valid_images, size, folder / "images")
            ours, timm = [], []
            for seed in range(seeds):
                ours.append(train_crackdet(case, data, size, seed, folder))
                timm.append(train_timm(case, train_script.absolute(), data, size, seed, folder))
            print("\n".join(rows(case.name, ours, timm)), flush=True)
    print(f"\n{(time.monotonic() - began) / 60:.1f} minutes")


if __name__ == "__main__":
    typer.run(main)
