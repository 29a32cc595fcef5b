"""Two galleries: where the chosen run was most surely wrong, and where the best runs disagree."""

from collections.abc import Sequence
from dataclasses import dataclass

from crackdet.analysis.rows import RunRow
from crackdet.core.console import sanitize
from crackdet.metrics.numpy_metrics import probabilities
from crackdet.report.formatting import percent
from crackdet.report.predictions import disagreements, hardest
from crackdet.report.thumbnails import NoThumbnail, Thumbnails
from crackdet.store.predictions import Predictions, read_predictions

MOST = 24  # images in a gallery
TOP_RUNS = 7  # runs that are asked where they disagree
NAMES = {True: "crack", False: "no crack"}


@dataclass(frozen=True)
class Picture:
    path: str
    verdict: str
    lines: Sequence[str]
    uri: str | None
    missing: str = ""  # why there is no picture

    @property
    def alt(self) -> str:
        return f"Photograph {self.path}: {self.verdict}"


@dataclass(frozen=True)
class Gallery:
    introduction: str
    pictures: Sequence[Picture]
    notes: Sequence[str]


class GalleryBuilder:
    """Makes the galleries of one ranking; a photograph that is in both is read once."""

    def __init__(self, entry: RunRow) -> None:
        self.entry = entry
        self._thumbnails = Thumbnails(entry.run)

    def hardest(self, predictions: Predictions | None) -> Gallery:
        """The mistakes of the run, the surest first."""
        if predictions is None:
            return Gallery(f"The predictions of {self.entry.id} are gone.", [], [])
        places = hardest(predictions, len(predictions.images))
        total = len(predictions.images)
        if not places:
            return Gallery(f"{self.entry.id} judges all {total:,} validation images rightly.", [], [])
        shown = places[:MOST]
        chances, pictures = probabilities(predictions.logits), []
        for place in shown:
            crack = bool(predictions.labels[place])
            said = float(chances[place])
            sure = said if not crack else 1 - said
            verdict = f"{NAMES[crack]}, called {NAMES[not crack]}"
            pictures.append(self._picture(predictions, place, verdict, [f"{percent(sure, 1)} sure of it"]))
        few = f"the {len(shown)} of which it was surest" if len(shown) < len(places) else "the surest first"
        return Gallery(
            f"{self.entry.id} is wrong on {len(places):,} of {total:,} validation images; here are {few}. Look whether "
            "the label is right before you blame the network.",
            *_gone(pictures),
        )

    def divided(self, jury: Sequence[RunRow]) -> Gallery | None:
        """The images on which runs disagree; None where fewer than two can be asked."""
        asked = [(entry, found) for entry in jury if (found := read_predictions(entry.run)) is not None]
        asked = [(entry, found) for entry, found in asked if found.digests == asked[0][1].digests]
        if len(asked) < 2:
            return None
        several = [found for _, found in asked]
        first = several[0]
        places = disagreements(several, len(first.images))
        who = f"The {len(asked)} best runs"
        if not places:
            return Gallery(f"{who} call every validation image alike.", [], [])
        chances, pictures = [probabilities(found.logits) for found in several], []
        for place in places[:MOST]:
            votes = sum(bool(found.called[place]) for found in several)
            said = [float(one[place]) for one in chances]
            lines = [
                f"{votes} of {len(asked)} runs call it a crack",
                f"probabilities {percent(min(said), 0)} to {percent(max(said), 0)}",
            ]
            pictures.append(self._picture(first, place, f"labelled {NAMES[bool(first.labels[place])]}", lines))
        few = f"here are the {MOST} on which they are most divided" if len(places) > MOST else "the most divided first"
        return Gallery(
            f"{who} disagree on {len(places):,} of {len(first.images):,} validation images; {few}.", *_gone(pictures)
        )

    def _picture(self, predictions: Predictions, place: int, verdict: str, lines: Sequence[str]) -> Picture:
        name, digest = predictions.images[place], predictions.digests[place]
        try:
            return Picture(sanitize(name), verdict, lines, self._thumbnails.uri(name, digest))
        except NoThumbnail as reason:
            return Picture(sanitize(name), verdict, lines, None, sanitize(reason))


def _gone(pictures: Sequence[Picture]) -> tuple[Sequence[Picture], Sequence[str]]:
    """Where no photograph can be shown, one line says so for all."""
    missing = [picture for picture in pictures if picture.uri is None]
    if len(missing) < len(pictures) or not pictures:
        return pictures, []
    reasons = list(dict.fromkeys(picture.missing for picture in missing))
    bare = [Picture(picture.path, picture.verdict, picture.lines, None, "no picture") for picture in pictures]
    return bare, [f"The photographs cannot be shown: {reasons[0]}."]
