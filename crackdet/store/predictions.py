"""`predictions.csv`: the logit of each validation image, as published with a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from crackdet.core.reading import read_csv
from crackdet.store.paths import RunPaths


@dataclass(frozen=True)
class Predictions:
    """The validation images of a run, in the order of their batches."""

    images: Sequence[str]  # path relative to data.root, or the name of a synthetic image
    digests: Sequence[str]  # SHA-256 of the file; of a synthetic image its settings and number
    groups: NDArray[np.int64] | None  # (N,), counted from 0; None if the images have no groups
    labels: NDArray[np.bool_]  # (N,): a crack
    logits: NDArray[np.float64]  # (N,): above 0 means a probability above 0.5

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def predicted(self) -> NDArray[np.bool_]:
        """Which images (N,) the run calls a crack."""
        return self.logits > 0


def read_predictions(run: RunPaths) -> Predictions | None:
    """Return the predictions of a run; None if the file is missing or damaged."""
    rows = read_csv(run.predictions_file)
    if not rows:
        return None
    try:
        logits = np.array([float(row["logit"]) for row in rows])
        if not np.isfinite(logits).all() or not {row["crack"] for row in rows} <= {"0", "1"}:
            return None
        groups = [row.get("group") or f"{row['digest']} alone" for row in rows]
        return Predictions(
            images=[row["image"] for row in rows],
            digests=[row["digest"] for row in rows],
            groups=np.unique(groups, return_inverse=True)[1] if any(row.get("group") for row in rows) else None,
            labels=np.array([row["crack"] == "1" for row in rows]),
            logits=logits,
        )
    except (KeyError, TypeError, ValueError):
        return None
