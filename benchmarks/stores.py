"""Run stores of any size, as a sweep of tiny runs would leave them: for timing what reads a store, not what trains."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import yaml

from crackdet.config.schema import to_dict
from crackdet.core.bitmask import pack
from crackdet.running.job import Job

EPOCHS, VALID_IMAGES = 25, 120


def finish(jobs: Iterable[Job]) -> None:
    """Makes each of these runs a finished one, with drawn figures in files of the usual size but for the weights."""
    draw = np.random.default_rng(0)
    history, predictions = _history(draw), _predictions(draw)
    for job in jobs:
        run = job.run
        run.directory.mkdir(parents=True, exist_ok=True)
        run.config_file.write_text(yaml.dump(to_dict(job.config), Dumper=yaml.CSafeDumper, sort_keys=False))
        run.identity_file.write_text(job.identity.canonical)
        run.provenance_file.write_text(json.dumps({"overrides": job.overrides}))
        run.history_file.write_text(history)
        run.predictions_file.write_text(predictions)
        run.weights_file.write_bytes(b"weights")
        with no_flush():
            run.publish(result(job, draw))


@contextmanager
def no_flush() -> Iterator[None]:
    """Writing without waiting for the disk: nobody minds if these files are lost."""
    flush, os.fsync = os.fsync, lambda file: None
    try:
        yield
    finally:
        os.fsync = flush


def _history(draw: np.random.Generator) -> str:
    names = ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy", "valid_precision", "valid_recall")
    rows = [f"{epoch}," + ",".join(map(str, draw.random(len(names)))) for epoch in range(1, EPOCHS + 1)]
    return "\n".join(["epoch," + ",".join(names), *rows, ""])


def _predictions(draw: np.random.Generator) -> str:
    rows = [f"{i:06d},{i:064d},{i % 2},{logit}" for i, logit in enumerate(draw.normal(size=VALID_IMAGES))]
    return "\n".join(["image,digest,crack,logit", *rows, ""])


def result(job: Job, draw: np.random.Generator) -> dict[str, object]:
    """The content of a `result.json`, with drawn figures."""
    settings = {key: value for key, value in to_dict(job.config).items() if key not in ("runtime", "tracker", "sweep")}
    figures = {name: float(draw.random()) for name in ("precision", "recall", "f1", "roc_auc")}
    right = draw.random(VALID_IMAGES) < draw.random()
    return {
        "schema": 1,
        "identity": job.identity.digest,
        "accuracy": float(right.mean()),
        "right": pack(right),
        "loss": float(draw.random()),
        **figures,
        "epoch": 20,
        "epochs": EPOCHS,
        "stopped_early": False,
        "parameters": 8_671_681,
        "feature_dimension": 16_384,
        "feature_flops": int(draw.integers(10**8)),
        "feature_latency_ms": float(draw.lognormal(1)),
        "latency_ms": float(draw.lognormal(2)),
        "seconds": 11.3,
        "images_per_second": 871.2,
        "train_images": 480,
        "valid_images": VALID_IMAGES,
        "valid_digest": "0" * 64,
        "device": "cpu",
        "number_format": "bf16",
        "repaired": None,
        "settings": settings,
    }


def fill(store: Path, number: int) -> None:
    """A store of so many finished runs of the default network, that differ by width, learning rate and seed."""
    from crackdet.config.composing import compose
    from crackdet.running.job import make_job

    base = to_dict(compose([f"runtime.store={store}"]))
    fingerprints: dict[str, str] = {}

    def jobs() -> Iterable[Job]:
        for index in range(number):
            rate, width = 1e-4 * 10 ** (index % 7 / 3), 64 * (1 + index % 16)
            tree = {
                **base,
                "seed": index,
                "model": {**base["model"], "linear_features": width},
                "optimizer": {**base["optimizer"], "learning_rate": rate},
            }
            overrides = [f"seed={index}", f"model.linear_features={width}", f"optimizer.learning_rate={rate}"]
            yield make_job(tree, overrides, fingerprints)

    finish(jobs())
