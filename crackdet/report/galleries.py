"""Two galleries of validation images: the most confident mistakes, and the images on which the best runs disagree."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from crackdet.analysis.rows import RunRow
from crackdet.core.console import sanitize
from crackdet.data.tiles import parse_name
from crackdet.metrics.numpy_metrics import probabilities
from crackdet.report.formatting import percent
from crackdet.report.thumbnails import NoThumbnail, Thumbnails
from crackdet.store.predictions import Predictions, read_predictions

MAX_PICTURES = 48
MAX_OF_PHOTOGRAPH = 4  # tiles of one photograph in a gallery
TOP_RUNS = 7  # whose disagreements are shown
CLASS_NAMES = {True: "crack", False: "no crack"}


@dataclass(frozen=True)
class Picture:
    path: str
    verdict: str
    lines: Sequence[str]
    uri: str | None  # of the thumbnail
    label: str  # its class: one of `CLASS_NAMES`
    confidence: float | None = None  # probability of the predicted class
    missing: str = ""  # why there is no thumbnail
    context: str | None = None  # of a tile: where it is in its photograph

    @property
    def alt(self) -> str:
        return f"Image {self.path}: {self.verdict}"


@dataclass(frozen=True)
class Gallery:
    introduction: str
    pictures: Sequence[Picture]
    notes: Sequence[str]


class GalleryBuilder:
    """Builds the galleries of one ranking; an image that is in both is read once."""

    def __init__(self, row: RunRow) -> None:
        self.row = row
        self._thumbnails = Thumbnails(row.run)

    def hardest(self, predictions: Predictions | None) -> Gallery:
        """Show the mistakes of the run, the most confident first."""
        if predictions is None:
            return Gallery(f"The predictions of {self.row.id} are missing.", [], [])
        indices = _hardest(predictions)
        total = len(predictions)
        if not indices:
            return Gallery(f"{self.row.id} classifies all {total:,} validation images correctly.", [], [])
        chances, pictures = probabilities(predictions.logits), []
        for index in _spread(indices, predictions)[:MAX_PICTURES]:
            crack = bool(predictions.labels[index])
            confidence = float(1 - chances[index] if crack else chances[index])
            verdict = f"labelled {CLASS_NAMES[crack]}, predicted {CLASS_NAMES[not crack]}"
            lines = [f"confidence {percent(confidence, 1)}"]
            pictures.append(self._picture(predictions, index, verdict, lines, confidence))
        shown = "the mistakes, the most confident first"
        if len(pictures) < len(indices):
            shown = f"the {len(pictures)} most confident mistakes{_spread_note(predictions)}"
        return Gallery(
            f"{self.row.id} misclassifies {len(indices):,} of {total:,} validation images. These are {shown}. "
            "Check whether the label is right before you blame the network.",
            *_merge_missing(pictures),
        )

    def disagreements(self, rows: Sequence[RunRow]) -> Gallery | None:
        """Show the images on which these runs disagree; None if fewer than two have predictions."""
        known = [found for row in rows if (found := read_predictions(row.run)) is not None]
        known = [found for found in known if found.digests == known[0].digests]
        if len(known) < 2:
            return None
        first = known[0]
        indices = _disagreements(known)
        if not indices:
            return Gallery(f"The {len(known)} best runs agree on every validation image.", [], [])
        chances, pictures = [probabilities(found.logits) for found in known], []
        for index in _spread(indices, first)[:MAX_PICTURES]:
            votes = sum(bool(found.predicted[index]) for found in known)
            values = [float(one[index]) for one in chances]
            lines = [
                f"{votes} of {len(known)} runs predict a crack",
                f"probabilities {percent(min(values), 0)} to {percent(max(values), 0)}",
            ]
            verdict = f"labelled {CLASS_NAMES[bool(first.labels[index])]}"
            pictures.append(self._picture(first, index, verdict, lines))
        shown = "The images with the most even votes come first"
        if len(pictures) < len(indices):
            shown = f"These are the {len(pictures)} with the most even votes{_spread_note(first)}"
        return Gallery(
            f"The {len(known)} best runs disagree on {len(indices):,} of {len(first):,} validation images. {shown}.",
            *_merge_missing(pictures),
        )

    def _picture(
        self, predictions: Predictions, index: int, verdict: str, lines: Sequence[str], confidence: float | None = None
    ) -> Picture:
        name, digest = predictions.images[index], predictions.digests[index]
        label = CLASS_NAMES[bool(predictions.labels[index])]
        try:
            uri, context = self._thumbnails.get(name, digest)
        except NoThumbnail as reason:
            return Picture(sanitize(name), verdict, lines, None, label, confidence, sanitize(reason))
        return Picture(sanitize(name), verdict, lines, uri, label, confidence, context=context)


def _merge_missing(pictures: Sequence[Picture]) -> tuple[Sequence[Picture], Sequence[str]]:
    """If no image can be shown, give the reason once in a note."""
    missing = [picture for picture in pictures if picture.uri is None]
    if len(missing) < len(pictures) or not pictures:
        return pictures, []
    return [replace(picture, missing="no image") for picture in pictures], [
        f"The images cannot be shown: {missing[0].missing}."
    ]


def _spread(indices: Sequence[int], predictions: Predictions) -> list[int]:
    """Return the indices in order, without further tiles of a photograph that has several: they look alike."""
    counts: Counter[str] = Counter()
    kept = []
    for index in indices:
        photograph, box = parse_name(predictions.images[index])
        counts[photograph] += 1
        if box is None or counts[photograph] <= MAX_OF_PHOTOGRAPH:
            kept.append(index)
    return kept


def _spread_note(predictions: Predictions) -> str:
    has_tiles = any(parse_name(name)[1] for name in predictions.images)
    return f", at most {MAX_OF_PHOTOGRAPH} of one photograph" if has_tiles else ""


def _hardest(predictions: Predictions) -> list[int]:
    """Return the indices of the misclassified images, the most confident first."""
    wrong = np.flatnonzero(predictions.predicted != predictions.labels)
    order = np.argsort(-np.abs(predictions.logits[wrong]), kind="stable")
    return [int(index) for index in wrong[order]]


def _disagreements(several: Sequence[Predictions]) -> list[int]:
    """Return the indices of the images on which runs disagree, those with the most even votes first.

    Ties go to the widest range of probabilities. The runs must have the same images in the same order.
    """
    ranges = np.ptp([probabilities(predictions.logits) for predictions in several], axis=0)
    share = np.mean([predictions.predicted for predictions in several], axis=0)
    minority = np.minimum(share, 1 - share)
    order = np.lexsort((-ranges, -minority))
    return [int(index) for index in order if minority[index] > 0]
