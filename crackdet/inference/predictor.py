"""Apply a trained classifier to images, with exactly the arithmetic of its validation during training."""

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from crackdet.core.console import bar, sanitize
from crackdet.data.batches import to_device, to_input
from crackdet.data.decode import BadImage
from crackdet.inference.files import RowFormat, row_writer
from crackdet.inference.images import Item, prefetch, to_pixels
from crackdet.metrics.numpy_metrics import probabilities
from crackdet.models.classifier import Classifier
from crackdet.training.device import autocast, deterministic

BATCHES_PER_CAST = 16  # batches that share one autocast context, which converts the weights once
LABELS = {True: "crack", False: "no crack"}


@dataclass(frozen=True)
class Predictor:
    """A classifier on its device in evaluation mode, with the number format and batch size of its validation."""

    model: Classifier
    number_format: str
    batch_size: int
    white_level: float | None = None  # the setting `data.white_level` of the run

    @torch.no_grad()
    def logits(self, batches: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Return the logits of all images in batches of pixels (N, S, S, 3)."""
        device = next(self.model.parameters()).device
        parts = [torch.empty(0)]
        with deterministic(), autocast(self.number_format, device):
            for pixels in batches:
                parts.append(self.model(to_input(to_device(torch.from_numpy(pixels), device))).float().cpu())
        return torch.cat(parts).numpy()

    def iter_logits(self, images: Iterable[Item]) -> Iterator[tuple[Item, float | BadImage]]:
        """Yield each image, in order, with its logit or the error of reading it."""
        size, white = self.model.image_size, self.white_level
        batches = prefetch(images, self.batch_size, lambda image: to_pixels(image, size, white))
        read: list[tuple[Item, NDArray[np.uint8] | BadImage]] = []

        def next_pixels() -> Iterator[NDArray[np.uint8]]:
            for batch in islice(batches, BATCHES_PER_CAST):
                read.extend(batch)
                if good := [pixels for _, pixels in batch if not isinstance(pixels, BadImage)]:
                    yield np.stack(good)

        while True:
            logits = iter(self.logits(next_pixels()).tolist())
            if not read:
                return
            for image, pixels in read:
                yield image, pixels if isinstance(pixels, BadImage) else next(logits)
            read.clear()


@dataclass(frozen=True)
class PredictionReport:
    """Counts and errors of one `crackdet predict`."""

    images: int  # that could be read
    cracks: int
    seconds: float
    unreadable: Mapping[Path, str]  # file -> reason

    def __str__(self) -> str:
        rate = self.images / max(self.seconds, 1e-9)
        text = f"{self.images} images, {self.cracks} with a crack, in {self.seconds:.1f} s ({rate:.0f} images/s)"
        if self.unreadable:
            text += f"; {len(self.unreadable)} could not be read:"
        return "\n".join([text, *(f"  {sanitize(path)}: {sanitize(why)}" for path, why in self.unreadable.items())])


def predict_files(
    predictor: Predictor, files: Sequence[Path], output: Path | None, row_format: RowFormat, threshold: float
) -> PredictionReport:
    """Write a row (path, probability, label) for each readable file, to standard output or to a file."""
    cracks, unreadable = 0, {}
    start = time.monotonic()
    rows_on_terminal = output is None and sys.stdout.isatty()  # a progress bar would mix with the rows
    with ExitStack() as stack:
        progress = None if rows_on_terminal else stack.enter_context(bar("predicting", len(files), log_progress=True))
        write_row = stack.enter_context(row_writer(output, row_format, ("path", "probability", "label")))
        for path, logit in predictor.iter_logits(files):
            if progress is not None:
                progress.advance()
            if isinstance(logit, BadImage):
                unreadable[path] = str(logit)
                continue
            probability = probabilities([logit]).item()
            write_row({"path": str(path), "probability": probability, "label": LABELS[probability > threshold]})
            cracks += probability > threshold
    return PredictionReport(len(files) - len(unreadable), cracks, time.monotonic() - start, unreadable)
