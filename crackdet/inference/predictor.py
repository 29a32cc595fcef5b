"""A trained classifier at work, exactly as training's own evaluation was."""

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from crackdet.data.batches import to_device, to_input
from crackdet.data.decode import BadImage
from crackdet.inference.images import Item, read_ahead, to_pixels
from crackdet.models.classifier import Classifier
from crackdet.training.device import autocast, deterministic

TOGETHER = 16  # batches for which weights are converted to the number format once


class Predictor:
    """A classifier on its device, with the number format and the batches that its run was judged in."""

    def __init__(self, model: Classifier, number_format: str, batch_size: int) -> None:
        self.model = model.eval()
        self.number_format = number_format
        self.batch_size = batch_size

    @torch.no_grad()
    def logits(self, batches: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Logits of all images in batches of pixels (N, S, S, 3)."""
        device = next(self.model.parameters()).device
        found = [torch.empty(0)]
        with deterministic(), autocast(self.number_format, device):
            for pixels in batches:
                found.append(self.model(to_input(to_device(torch.from_numpy(pixels), device))).float().cpu())
        return torch.cat(found).numpy()

    def each(self, items: Iterable[Item]) -> Iterator[tuple[Item, float | BadImage]]:
        """Pictures with their logits, or why they have none, in their order."""
        size = self.model.image_size
        reading = read_ahead(items, self.batch_size, lambda item: to_pixels(item, size))
        read: list[tuple[Item, NDArray[np.uint8] | BadImage]] = []

        def batches() -> Iterator[NDArray[np.uint8]]:
            for batch in islice(reading, TOGETHER):
                read.extend(batch)
                if good := [pixels for _, pixels in batch if not isinstance(pixels, BadImage)]:
                    yield np.stack(good)

        while True:
            logits = iter(self.logits(batches()).tolist())
            if not read:
                return
            for item, pixels in read:
                yield item, pixels if isinstance(pixels, BadImage) else next(logits)
            read.clear()
