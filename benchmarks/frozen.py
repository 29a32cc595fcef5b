"""Frozen features computed once: a search over heads, against computing the features in every epoch.

    python -m benchmarks.frozen --photographs METU --weights MOBILENET_V2.pth

searches 100 combinations of width, learning rate, weight decay and seed with one command, and compares its wall time
with (1) the same runs computing the features in each epoch, measured on a few of them, and (2) its lower bound: one
bare pass over the decoded images, and bare loops over the heads with the same batches and epochs.
"""

import json
import resource
import tempfile
import time
from pathlib import Path
from statistics import mean
from typing import Annotated, Any
from unittest import mock

import numpy as np
import torch
import typer
from torch import Tensor, nn

from benchmarks.bench import TRAIN
from benchmarks.images import make_images
from benchmarks.measurement import HEADER, Measurement, run_python

SPACE = [
    "model.linear_features=choice(64,128,256,512)",
    "optimizer.learning_rate=tag(log,interval(1e-4,1e-2))",
    "optimizer.weight_decay=choice(0,1e-4,1e-3)",
    "seed=0,1",  # each suggestion is trained with both
]
MEAN = STD = [0.5, 0.5, 0.5]


def overrides(images: Path, weights: Path | None, size: int, epochs: int, store: str) -> list[str]:
    return [
        "model=mobilenet_v2", f"model.weights={weights or 'null'}", "model.freeze_features=true",
        f"model.input_mean={MEAN}", f"model.input_std={STD}", "data=folder", f"data.root={images}",
        f"data.image_size={size}", f"trainer.max_epochs={epochs}", "trainer.precision=fp32",
        f"runtime.store={store}", "runtime.cache=cache", "sweep.report=false",
    ]  # fmt: skip


def each_epoch(arguments: list[str]) -> float:
    """Train one run that computes the features in each epoch; return the seconds in this process."""
    from crackdet.config.composing import compose
    from crackdet.config.schema import to_dict
    from crackdet.running.execute import execute
    from crackdet.running.job import make_job
    from crackdet.training.frozen import FrozenExtractor

    began = time.perf_counter()
    with mock.patch.object(FrozenExtractor, "datasets", lambda _self, images, _on_batch: dict(images)):
        execute(make_job(to_dict(compose(arguments)), []))
    return time.perf_counter() - began


def bare_pass(pixels: Any, weights: Path | None) -> tuple[Tensor, float]:
    """Return the features of all images, and the seconds of the pass."""
    from torchvision.models import mobilenet_v2

    network = mobilenet_v2()
    if weights is not None:
        network.load_state_dict(torch.load(weights, weights_only=True))
    network.classifier[1] = nn.Identity()
    network = network.eval().to(memory_format=torch.channels_last)
    began = time.perf_counter()
    with torch.no_grad():
        batches = [torch.from_numpy(pixels[start : start + 32]) for start in range(0, len(pixels), 32)]
        features = [network((batch.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5) for batch in batches]
    return torch.cat(features), time.perf_counter() - began


def bare_head(features: Tensor, labels: Tensor, num_train: int, settings: dict[str, Any], epochs: int) -> float:
    """Train a head by a plain loop and return its seconds."""
    width = settings["model"]["linear_features"]
    head = nn.Sequential(
        nn.Linear(features.shape[1], width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1)
    )
    chosen = settings["optimizer"]
    adam = torch.optim.Adam(head.parameters(), chosen["learning_rate"], weight_decay=chosen["weight_decay"], fused=True)
    loss = nn.BCEWithLogitsLoss()
    began = time.perf_counter()
    for _ in range(epochs):
        for rows in torch.randperm(num_train).split(32):
            adam.zero_grad()
            loss(head(features[rows]).squeeze(1), labels[rows]).backward()
            adam.step()
        with torch.no_grad():
            for start in range(num_train, len(features), 32):
                head(features[start : start + 32])
    return time.perf_counter() - began


def main(
    photographs: Annotated[Path | None, typer.Option(help="A folder with Positive and Negative.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Weights of torchvision's MobileNetV2; default: random.")] = None,
    images: Annotated[int, typer.Option(help="Number of images.")] = 3000,
    size: Annotated[int, typer.Option(help="Pixels a side.")] = 160,
    trials: Annotated[int, typer.Option(help="Runs of the search, of two seeds each.")] = 100,
    epochs: Annotated[int, typer.Option(help="At most.")] = 10,
    sampled: Annotated[int, typer.Option(help="Runs that compute the features in each epoch, to compare with.")] = 2,
) -> None:
    """Measure and print a table in Markdown; takes about twelve minutes on two cores."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        root = make_images(photographs and photographs.absolute(), images, folder / "images")
        weights = weights and weights.absolute()
        common = overrides(root, weights, size, epochs, "runs")
        # decodes the images, which is not what is compared
        run_python(TRAIN, *common, "model=custom", "model.conv_out=[4]", "model.weights=null", "runtime.store=other",
                   "trainer.max_epochs=1", folder=folder)  # fmt: skip
        search = ["-m", "hydra/sweeper=crackdet_optuna", f"hydra.sweeper.n_trials={trials // 2}", *SPACE]
        seconds, _ = run_python(TRAIN, *search, *common, folder=folder)
        results = [json.loads(file.read_text()) for file in (folder / "runs").glob("*/result.json")]
        assert len(results) == trials

        today = []
        for number, result in enumerate(results[:: max(1, trials // sampled)][:sampled]):
            chosen = result["settings"]
            same = [
                f"model.linear_features={chosen['model']['linear_features']}", f"seed={chosen['seed']}",
                f"optimizer.learning_rate={chosen['optimizer']['learning_rate']}",
                f"optimizer.weight_decay={chosen['optimizer']['weight_decay']}", f"runtime.store=today{number}",
            ]  # fmt: skip
            arguments = json.dumps([*common, *same])
            _, output = run_python("-m", "benchmarks.frozen", "--each-epoch", arguments, folder=folder)
            today.append(float(output.splitlines()[-1]))
        given = {
            "pixels": [str(file) for file in (folder / "cache" / "pixels").glob("*.npy")],
            "weights": str(weights or ""),
            "runs": [[result["settings"], result["epochs"], result["train_images"]] for result in results],
        }
        (folder / "given.json").write_text(json.dumps(given))
        _, output = run_python("-m", "benchmarks.frozen", "--bare", "given.json", folder=folder)
        bare = json.loads(output.splitlines()[-1])
        _, output = run_python("-m", "benchmarks.frozen", "--memory", json.dumps([*common, "seed=99"]), folder=folder)
        memory = json.loads(output.splitlines()[-1])

    print(f"{images} images of {size} pixels, MobileNetV2, {trials} combinations, at most {epochs} epochs\n\n{HEADER}")
    what = f"a search over {trials} frozen combinations"
    total = mean(today) * trials
    details = f"{seconds:.0f} s and {total:.0f} s ({mean(today):.1f} s a run, {len(today)} of them trained)"
    print(Measurement(what, "features computed in each epoch", 30, total / seconds, details).row())
    bound = bare["pass"] + bare["heads"]
    details = f"{seconds:.0f} s and {bare['pass']:.0f} s for one pass + {bare['heads']:.0f} s for the heads"
    print(Measurement(what, "one pass and bare heads", 1.2, seconds / bound, details, at_most=True).row())
    details = ", ".join(f"{name} {value:.0f} MiB" for name, value in memory.items())
    print(f"\nmemory of a process: {details}")


def _bare(file: str) -> None:
    given = json.loads(Path(file).read_text())
    pixels = max((np.load(file, mmap_mode="r") for file in given["pixels"]), key=len)
    features, seconds = bare_pass(pixels, Path(given["weights"]) if given["weights"] else None)
    labels = (torch.arange(len(features)) % 2).float()
    heads = sum(bare_head(features, labels, train, settings, epochs) for settings, epochs, train in given["runs"])
    print(json.dumps({"pass": seconds, "heads": heads}))


def _memory(text: str) -> None:
    """Print the memory of a process before a run whose features are cached, the growth in it, and the head's need."""
    from crackdet.config.composing import compose
    from crackdet.config.schema import to_dict
    from crackdet.running.execute import execute
    from crackdet.running.job import make_job
    from crackdet.store.integrity import read_result
    from crackdet.training.resources import estimate_resources

    config = compose(json.loads(text))
    job = make_job(to_dict(config), [])
    execute(job)
    result = read_result(job.run)
    assert result is not None
    batch = config.trainer.batch_size * result["feature_dimension"] * 4
    print(json.dumps({
        "peak in training": result["peak_memory_mib"],
        "estimated need of the head and the extractor's weights": estimate_resources(config, "fp32").memory / 2**20,
        "a batch of features": batch / 2**20,
        "all features": (result["train_images"] + result["valid_images"]) * result["feature_dimension"] * 4 / 2**20,
        "whole process with Python and torch": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }))  # fmt: skip


if __name__ == "__main__":
    import sys

    if sys.argv[1:2] == ["--each-epoch"]:
        print(each_epoch(json.loads(sys.argv[2])))
    elif sys.argv[1:2] == ["--bare"]:
        _bare(sys.argv[2])
    elif sys.argv[1:2] == ["--memory"]:
        _memory(sys.argv[2])
    else:
        typer.run(main)
