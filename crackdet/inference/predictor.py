"""A trained classifier at work, exactly as training's own evaluation was."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crackdet.data.batches import move, to_input
from crackdet.data.decode import BadImage
from crackdet.inference.pictures import Item, read_ahead, to_pixels
from crackdet.models import Classifier
from crackdet.training.device import autocast, deterministic


class Predictor:
    """A classifier on its device, with the number format and the batches that its run was judged in."""

    def __init__(self, model: Classifier, number_format: str, batch_size: int) -> None:
        self.model = model.eval()
        self.number_format = number_format
        self.batch_size = batch_size

    @torch.no_grad()
    def logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits (N,) of one batch of pixels (N, S, S, 3)."""
        device = next(self.model.parameters()).device
        with deterministic(), autocast(self.number_format, device):
            logits: Tensor = self.model(to_input(move(torch.from_numpy(pixels), device)))
        return logits.float().cpu().numpy()

    def each(self, items: Iterable[Item]) -> Iterator[tuple[Item, float | BadImage]]:
        """Pictures with their logits, or why they have none, batch after batch in their order."""
        size = self.model.image_size
        for batch in read_ahead(items, self.batch_size, lambda item: to_pixels(item, size)):
            good = [pixels for _, pixels in batch if not isinstance(pixels, BadImage)]
            logits = iter(self.logits(np.stack(good)).tolist() if good else ())
            for item, pixels in batch:
                yield item, pixels if isinstance(pixels, BadImage) else next(logits)


def probabilities(logits: Iterable[float]) -> NDArray[np.float64]:
    """Of a crack, (N,): in double precision, so that a logit above 0 is always a probability above 0.5."""
    return torch.tensor(list(logits), dtype=torch.float64).sigmoid().numpy()
