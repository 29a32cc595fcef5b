"""Suspect labels by confident learning: images whose label a probe, trained on other groups, contradicts.

Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels" (2021), by cleanlab.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crackdet.core.files import write_csv
from crackdet.data.records import ImageRecord
from crackdet.doctor.probe import Probe, fit_probe

PLANTED_SHARE = 0.03  # of the labels, flipped to see how many the probe finds
MIN_PLANTED = 5
GOOD_SHARE = 0.8  # found, of the planted ones
LABELS = {True: "crack", False: "no crack"}  # as in the report's relabel.csv


@dataclass(frozen=True)
class Suspect:
    """An image whose label the probe contradicts."""

    name: str
    crack: bool  # the given label
    probability: float  # of the given label

    @property
    def label(self) -> str:
        return LABELS[self.crack]

    @property
    def suggested_label(self) -> str:
        return LABELS[not self.crack]


@dataclass(frozen=True)
class SuspectLabels:
    """All suspects of a data set, and how far they can be trusted."""

    suspects: tuple[Suspect, ...]  # the most suspicious first; all whose label has a probability below 0.5
    estimated: int  # wrong labels, as cleanlab estimates from the probabilities
    num_images: int
    accuracy: float  # of the probe, by the given labels
    roc_auc: float
    planted: int  # labels flipped for a trial
    planted_found: float  # the share of them among the first twice as many suspects

    @property
    def is_reliable(self) -> bool:
        return self.planted_found >= GOOD_SHARE

    @property
    def verdict(self) -> str:
        """What the numbers mean, in two sentences."""
        trial = (
            f"In a trial, {self.planted} labels were flipped; {self.planted_found:.0%} of them were among the first "
            f"{2 * self.planted} suspects."
        )
        if not self.is_reliable:
            return (
                f"{trial} The probe, which is right for {self.accuracy:.1%} of the images, cannot tell a wrong label "
                "from a difficult image; a network trained on these images may be a better probe."
            )
        wrong = "wrong label" if self.estimated == 1 else "wrong labels"
        return f"About {self.estimated:,} {wrong} of {self.num_images:,} are estimated. {trial}"


def find_suspects(
    names: Sequence[str], labels: NDArray[np.bool_], features: NDArray[np.float32], groups: Sequence[str]
) -> SuspectLabels | None:
    """Return the images whose label is probably wrong.

    Args:
        names: N names.
        labels: (N,): True is a crack.
        features: (N, D), see `features.measure`.
        groups: N names; the label of an image is never judged by a probe that has seen its group.

    Returns:
        None if fewer than two groups have an image of a class.
    """
    from cleanlab.filter import find_label_issues

    if (probe := fit_probe(features, labels, groups)) is None:
        return None
    scores = label_scores(probe, labels)
    order = np.argsort(scores, kind="stable")
    suspects = tuple(
        Suspect(names[i], bool(labels[i]), float(scores[i])) for i in order[: np.count_nonzero(scores < 0.5)]
    )
    issues = find_label_issues(labels.astype(np.int64), _both_classes(probe), n_jobs=1)
    planted, found = _plant(labels, features, groups, probe.regularisation)
    return SuspectLabels(suspects, int(issues.sum()), len(names), probe.accuracy, probe.roc_auc, planted, found)


def label_scores(probe: Probe, labels: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the probability of each given label (N,), which ranks the suspects."""
    from cleanlab.rank import get_label_quality_scores

    scores: NDArray[np.float64] = get_label_quality_scores(labels.astype(np.int64), _both_classes(probe))
    return scores


def write_relabel_csv(path: Path, records: Sequence[ImageRecord], suspects: Sequence[Suspect]) -> None:
    """Write all images as a table for `data=table`, suspects first; the user fills in `corrected_label`.

    Raises:
        WriteFailed: If the file cannot be written.
    """
    ranks = {suspect.name: rank for rank, suspect in enumerate(suspects)}
    ordered = sorted(records, key=lambda record: (ranks.get(record.name, len(ranks)), record.name))
    write_csv(path, [_row(record, suspects[ranks[r]] if (r := record.name) in ranks else None) for record in ordered])


def _row(record: ImageRecord, suspect: Suspect | None) -> dict[str, str]:
    return {
        "path": record.name,
        "label": LABELS[record.crack],
        "corrected_label": "",
        "suggested_label": suspect.suggested_label if suspect else "",
        "probability_of_label": f"{suspect.probability:.4f}" if suspect else "",
        "split": record.split or "",
        "group": record.group or "",
        "weight": f"{record.weight:g}",
    }


def _plant(
    labels: NDArray[np.bool_], features: NDArray[np.float32], groups: Sequence[str], regularisation: float
) -> tuple[int, float]:
    """Flip some labels, and return their number and the share of them among the first twice as many suspects."""
    number = min(max(MIN_PLANTED, round(PLANTED_SHARE * len(labels))), len(labels) // 4)
    flipped = np.random.default_rng(0).choice(len(labels), number, replace=False)
    changed = labels.copy()
    changed[flipped] ^= True
    probe = fit_probe(features, changed, groups, [regularisation])
    if probe is None or number == 0:
        return number, 0.0
    first = np.argsort(label_scores(probe, changed), kind="stable")[: 2 * number]
    return number, float(np.isin(flipped, first).mean())


def _both_classes(probe: Probe) -> NDArray[np.float64]:
    return np.stack([1 - probe.probabilities, probe.probabilities], axis=1)
