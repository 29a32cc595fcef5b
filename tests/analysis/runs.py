"""Publish finished runs with chosen predictions, as training does."""

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crackdet.analysis.decision import Decision
from crackdet.analysis.ranking import summarize
from crackdet.core.bitmask import encode
from crackdet.core.files import write_csv, write_json
from crackdet.store.run import Run
from crackdet.store.run_store import RunStore

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

LABELS = np.arange(300) % 2 == 0


def publish(
    store: Path,
    labels: Bools,
    logits: Floats,
    flops: int = 1000,
    groups: Sequence[str] | None = None,
    root: str = "photographs",
    source: str = "folder",
    fingerprint: str = "0" * 64,
    license: str | None = None,
    probe: Mapping[str, float] | None = None,
    **model: Any,
) -> Run:
    """Publish a run with these model settings; a run of a screen with these results of its probe."""
    seed = model.pop("seed", 0)
    identity = {"seed": seed, "model": {"name": "custom", **model}, "data": {"image_size": 64}}
    if probe is not None:
        identity["trainer"] = {"probe": True}
    settings = {**identity, "data": {"name": source, "image_size": 64, "root": root}}
    identity["fingerprint"] = fingerprint
    digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
    run = RunStore(store).run(f"custom-{digest[:12]}")
    run.directory.mkdir(parents=True)
    called = logits > 0
    hits, alarms, misses = (called & labels).sum(), (called & ~labels).sum(), (~called & labels).sum()
    columns = {"image": [f"{index}.jpg" for index in range(len(labels))], "digest": list(range(len(labels)))}
    if groups is not None:
        columns["group"] = list(groups)
    columns |= {"crack": labels.astype(int).tolist(), "logit": logits.tolist()}
    write_csv(
        run.predictions_file, [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    )
    write_json(run.identity_file, identity)
    run.weights_file.write_bytes(b"weights")
    run.publish(
        {
            "identity": digest,
            "accuracy": float((called == labels).mean()),
            "loss": float(np.logaddexp(0, np.where(labels, -logits, logits)).mean()),
            "precision": float(hits / max(hits + alarms, 1)),
            "recall": float(hits / max(hits + misses, 1)),
            "f1": float(2 * hits / max(2 * hits + alarms + misses, 1)),
            "roc_auc": float((logits[labels][:, None] > logits[~labels]).mean())
            if 0 < labels.sum() < len(labels)
            else 0.0,
            "epoch": 1,
            "parameters": 10 * flops,
            "feature_flops": flops,
            **({} if license is None else {"license": license}),
            "seconds": 1.0,
            "valid_images": len(labels),
            "valid_digest": hashlib.sha256(labels.tobytes()).hexdigest(),
            "settings": settings,
            "right": encode(called == labels),
            **(probe or {}),
        }
    )
    return run


def simulate_logits(labels: Bools, quality: float, seed: int) -> Floats:
    """Simulate the logits (N,) of a network of this quality; every image is equally hard for all networks."""
    ease = np.random.default_rng(0).normal(size=len(labels))
    return np.where(labels, 1, -1) * (quality + ease + np.random.default_rng(seed).normal(size=len(labels)))


def with_mistakes(
    mistakes: int | slice | Sequence[int] | NDArray[np.integer], first: int = 0, labels: Bools = LABELS
) -> Floats:
    """Return logits that are wrong on these images, or on so many from `first` on, and right on all others."""
    logits = np.where(labels, 1.0, -1.0)
    indices = slice(first, first + mistakes) if isinstance(mistakes, int) else mistakes
    logits[indices] *= -1
    return logits


def publish_ladder(store: Path) -> None:
    """Publish six single networks: the best two are equivalent, and the second is the cheaper of them."""
    for width, (quality, flops) in enumerate([(3.3, 900), (3.2, 100), (2.8, 500), (2.0, 50), (1.5, 20), (0.5, 10)]):
        publish(store, LABELS, simulate_logits(LABELS, quality, width + 1), flops, width=width)


def publish_replicates(store: Path, groups: Sequence[str] | None = None) -> None:
    """Publish three combinations with three seeds each."""
    for width, (quality, flops) in enumerate([(3.2, 900), (3.0, 100), (1.2, 10)]):
        for seed in range(3):
            logits = simulate_logits(LABELS, quality, 10 * width + seed + 1)
            publish(store, LABELS, logits, flops, groups, width=width, seed=seed)


def decision_of(store: Path, metric: str = "accuracy") -> Decision:
    decision = summarize(store, metric).decision
    assert decision is not None
    return decision


def read_correct(run: Run) -> Bools:
    """Read which images are correct from the file, without our own code."""
    with run.predictions_file.open() as file:
        return np.array([(float(row["logit"]) > 0) == (row["crack"] == "1") for row in csv.DictReader(file)])
