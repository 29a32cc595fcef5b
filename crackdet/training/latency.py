"""What a network costs those who use it: time for an image, measured after training on the device that trained it."""

import time
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from crackdet.models.classifier import Classifier
from crackdet.training.device import autocast

SHARE = 0.005  # of the run's time for each measure: beside the first calls, the two of them stay at 1 %
SHORTEST, LONGEST = 0.02, 1.0  # seconds for each measure, whatever the run took
LEAST = 3  # calls, however long one had to wait: the median of so many leaves it out
FEWEST, PATIENCE = 7, 0.05  # calls, since one may have to wait for other work of the machine; seconds for so many


@dataclass(frozen=True)
class InferenceCost:
    """Medians. `latency_ms` is for one image, `throughput` in images a second for batches as in training.

    The feature extractor's own are beside the whole classifier's, since it is what a detector keeps.
    """

    latency_ms: float
    throughput: float
    feature_latency_ms: float
    feature_throughput: float


def measure_latency(model: Classifier, batch_size: int, precision: str, seconds: float) -> InferenceCost:
    """Times inference in the number format of training; `seconds` is what the run took, of which it takes little."""
    device = next(model.parameters()).device
    budget = min(max(SHARE * seconds, SHORTEST), LONGEST)
    model.eval()

    def median_times(number: int) -> tuple[float, float]:
        """Of the whole and of its feature extractor, for so many images, from the same calls."""
        # not random: the generator's state belongs to training, which may go on for more epochs
        images = torch.full((number, 3, model.image_size, model.image_size), 0.5, device=device)
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.no_grad(), autocast(precision, device):
            _timed(model, images)  # the first call also chooses and prepares kernels
            wholes: list[float] = []
            features: list[float] = []
            while len(wholes) < LEAST or sum(wholes) < budget or (len(wholes) < FEWEST and sum(wholes) < PATIENCE):
                whole, own = _timed(model, images)
                wholes.append(whole)
                features.append(own)
        return median(wholes), median(features)

    one, own_one = median_times(1)
    batch, own_batch = median_times(batch_size)
    return InferenceCost(
        latency_ms=1000 * one,
        throughput=batch_size / batch,
        feature_latency_ms=1000 * own_one,
        feature_throughput=batch_size / own_batch,
    )


def _timed(model: Classifier, images: Tensor) -> tuple[float, float]:
    """Seconds for the whole and, of these, for the feature extractor.

    By its two parts: a compiled network would be compiled anew for one image, and is not what users restore.
    """
    began = time.perf_counter()
    features = model.features(images)
    _finish(images.device)
    middle = time.perf_counter()
    model.classifier(features)
    _finish(images.device)
    return time.perf_counter() - began, middle - began


def _finish(device: torch.device) -> None:
    """Waits for what was only handed to the device so far."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
