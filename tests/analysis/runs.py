"""Finished runs with predictions of one's choice, published as training publishes them."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crackdet.core.bitmask import pack
from crackdet.core.files import write_csv, write_json
from crackdet.store.run import Run
from crackdet.store.run_store import RunStore

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def publish(
    store: Path,
    labels: Bools,
    logits: Floats,
    flops: int = 1000,
    groups: Sequence[str] | None = None,
    older: bool = False,
    root: str = "photographs",
    source: str = "folder",
    fingerprint: str = "0" * 64,
    **model: Any,
) -> Run:
    """A run of a network with these settings; `older` as before results said which images are right."""
    seed = model.pop("seed", 0)
    identity = {"seed": seed, "model": {"name": "custom", **model}, "data": {"image_size": 64}}
    settings = {**identity, "data": {"name": source, "image_size": 64, "root": root}}
    identity["fingerprint"] = fingerprint
    digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
    run = RunStore(store).run(f"custom-{digest[:12]}")
    run.directory.mkdir(parents=True)
    called = logits > 0
    hits, alarms, misses = (called & labels).sum(), (called & ~labels).sum(), (~called & labels).sum()
    columns = {"image": [f"{place}.jpg" for place in range(len(labels))], "digest": list(range(len(labels)))}
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
            "roc_auc": float((logits[labels][:, None] > logits[~labels]).mean()),
            "epoch": 1,
            "parameters": 10 * flops,
            "feature_flops": flops,
            "seconds": 1.0,
            "valid_images": len(labels),
            "valid_digest": hashlib.sha256(labels.tobytes()).hexdigest(),
            "settings": settings,
            **({} if older else {"right": pack(called == labels)}),
        }
    )
    return run


def drawn(labels: Bools, merit: float, seed: int) -> Floats:
    """Logits (N,) of a network: the greater the merit, the more of them are right; images are as hard for all."""
    ease = np.random.default_rng(0).normal(size=len(labels))
    return np.where(labels, 1, -1) * (merit + ease + np.random.default_rng(seed).normal(size=len(labels)))
