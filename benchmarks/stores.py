"""Run stores of any size without training, to time the commands that read a store."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import yaml

from crackdet.config.schema import to_dict
from crackdet.core.bitmask import encode
from crackdet.running.job import Job

EPOCHS, VALID_IMAGES = 25, 120


def write_finished(jobs: Iterable[Job]) -> None:
    """Write a finished run for each job: random results, and files of the usual size except the weights."""
    rng = np.random.default_rng(0)
    history, predictions = _history(rng), _predictions(rng)
    for job in jobs:
        run = job.run
        run.directory.mkdir(parents=True, exist_ok=True)
        run.config_file.write_text(yaml.dump(to_dict(job.config), Dumper=yaml.CSafeDumper, sort_keys=False))
        run.identity_file.write_text(job.identity.canonical)
        run.provenance_file.write_text(json.dumps({"overrides": job.overrides}))
        run.history_file.write_text(history)
        run.predictions_file.write_text(predictions)
        run.weights_file.write_bytes(b"weights")
        with no_fsync():
            run.publish(result(job, rng))


@contextmanager
def no_fsync() -> Iterator[None]:
    """Write files without waiting for the disk."""
    fsync = os.fsync
    os.fsync = lambda fd: None
    try:
        yield
    finally:
        os.fsync = fsync


def _history(rng: np.random.Generator) -> str:
    names = ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy", "valid_precision", "valid_recall")
    rows = [f"{epoch}," + ",".join(map(str, rng.random(len(names)))) for epoch in range(1, EPOCHS + 1)]
    return "\n".join(["epoch," + ",".join(names), *rows, ""])


def _predictions(rng: np.random.Generator) -> str:
    rows = [f"{i:06d},{i:064d},{i % 2},{logit}" for i, logit in enumerate(rng.normal(size=VALID_IMAGES))]
    return "\n".join(["image,digest,crack,logit", *rows, ""])


def result(job: Job, rng: np.random.Generator) -> dict[str, object]:
    """Return the content of a `result.json` with random numbers."""
    settings = {key: value for key, value in to_dict(job.config).items() if key not in ("runtime", "tracker", "sweep")}
    metrics = {name: float(rng.random()) for name in ("precision", "recall", "f1", "roc_auc")}
    right = rng.random(VALID_IMAGES) < rng.random()
    return {
        "schema": 1,
        "identity": job.identity.digest,
        "accuracy": float(right.mean()),
        "right": encode(right),
        "loss": float(rng.random()),
        **metrics,
        "epoch": 20,
        "epochs": EPOCHS,
        "stopped_early": False,
        "parameters": 8_671_681,
        "feature_dimension": 16_384,
        "feature_flops": int(rng.integers(10**8)),
        "feature_latency_ms": float(rng.lognormal(1)),
        "latency_ms": float(rng.lognormal(2)),
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
    """Write a store of finished runs that differ in width, learning rate and seed."""
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

    write_finished(jobs())
