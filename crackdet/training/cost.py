"""What a network costs those who use it: time for an image, measured after training on the device that trained it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from crackdet.models import Classifier
from crackdet.training.device import autocast

SHARE = 0.0025  # of the run's time for each measure: beside two calls of each, four of them stay at 1 %
SHORTEST, LONGEST = 0.02, 1.0  # seconds for each measure, whatever the run took
FEWEST, PATIENCE = 7, 0.1  # calls, since one may have to wait for other work of the machine; seconds for so many


@dataclass(frozen=True)
class Cost:
    """Medians. `latency_ms` is for one image, `throughput` in images a second for batches as in training.

    The feature extractor's own are beside the whole classifier's, since it is what a detector keeps.
    """

    latency_ms: float
    throughput: float
    feature_latency_ms: float
    feature_throughput: float


def measure_cost(model: Classifier, batch_size: int, precision: str, seconds: float) -> Cost:
    """Times inference in the number format of training; `seconds` is what the run took, of which it takes little."""
    device = next(model.parameters()).device
    budget = min(max(SHARE * seconds, SHORTEST), LONGEST)
    model.eval()

    def median_time(network: Callable[[Tensor], Tensor], number: int) -> float:
        # not random: the generator's state belongs to training, which may go on for more epochs
        images = torch.full((number, 3, model.image_size, model.image_size), 0.5, device=device)
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.no_grad(), autocast(precision, device):
            network(images)  # the first call also chooses and prepares kernels
            _finish(device)
            times: list[float] = []
            while sum(times) < budget or (len(times) < FEWEST and sum(times) < PATIENCE):
                began = time.perf_counter()
                network(images)
                _finish(device)
                times.append(time.perf_counter() - began)
        return median(times)

    # not by calling it: a compiled network would be compiled anew for one image, and is not what users restore
    whole = model.forward
    return Cost(
        latency_ms=1000 * median_time(whole, 1),
        throughput=batch_size / median_time(whole, batch_size),
        feature_latency_ms=1000 * median_time(model.features, 1),
        feature_throughput=batch_size / median_time(model.features, batch_size),
    )


def _finish(device: torch.device) -> None:
    """Waits for what was only handed to the device so far."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
