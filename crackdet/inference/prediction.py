"""Photographs in files -> a row for each, with the probability of a crack."""

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from crackdet.core.console import bar, sanitize
from crackdet.data.decode import BadImage
from crackdet.inference.files import RowFormat, row_writer
from crackdet.inference.predictor import Predictor
from crackdet.metrics.numpy_metrics import probabilities

LABELS = {True: "crack", False: "no crack"}


@dataclass(frozen=True)
class Outcome:
    images: int  # that have a row
    cracks: int
    seconds: float
    bad: Mapping[Path, str]  # why it could not be read

    def describe(self) -> str:
        """In words: what was done, and what was left out."""
        text = (
            f"{self.images} images, {self.cracks} with a crack, in {self.seconds:.1f} s "
            f"({self.images / max(self.seconds, 1e-9):.0f} images/s)"
        )
        if self.bad:
            text += f"; {len(self.bad)} could not be read:"
        return "\n".join([text, *(f"  {sanitize(path)}: {sanitize(reason)}" for path, reason in self.bad.items())])


def predict_files(
    predictor: Predictor, files: Sequence[Path], output: Path | None, kind: RowFormat, threshold: float
) -> Outcome:
    """Writes a row (path, probability, label) for each file that can be read, to standard output or a file."""
    cracks, bad = 0, {}
    began = time.monotonic()
    rows_are_seen = output is None and sys.stdout.isatty()  # a bar would be drawn among them
    with ExitStack() as stack:
        progress = None if rows_are_seen else stack.enter_context(bar("predicting", len(files), log_progress=True))
        write = stack.enter_context(row_writer(output, kind, ("path", "probability", "label")))
        for path, logit in predictor.each(files):
            if progress is not None:
                progress.advance()
            if isinstance(logit, BadImage):
                bad[path] = str(logit)
                continue
            probability = probabilities([logit]).item()
            write({"path": str(path), "probability": probability, "label": LABELS[probability > threshold]})
            cracks += probability > threshold
    return Outcome(len(files) - len(bad), cracks, time.monotonic() - began, bad)
