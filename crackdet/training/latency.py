"""Inference time and throughput of a network, measured after training on the device that trained it."""

import time
from statistics import median

import torch
from torch import Tensor

from crackdet.models.classifier import Classifier
from crackdet.training.device import autocast

RUN_SHARE = 0.005  # of the run's time for each of two measurements: with the warm-up calls, 1 % in all
MIN_BUDGET, MAX_BUDGET = 0.02, 1.0  # seconds for each measurement
MIN_CALLS = 3  # the median ignores one that was delayed
WANTED_CALLS, WANTED_SECONDS = 7, 0.05  # this many calls, if they take no longer


def measure_latency(model: Classifier, batch_size: int, precision: str, seconds: float) -> dict[str, float]:
    """Measure inference in the number format of training, for a small part of the `seconds` that the run took.

    Returns:
        The median milliseconds of one image, and images per second in batches of the training batch size: of the
        classifier, and of its feature extractor, which is the part that a detector keeps.
    """
    device = next(model.parameters()).device
    budget = min(max(RUN_SHARE * seconds, MIN_BUDGET), MAX_BUDGET)
    wanted = max(budget, WANTED_SECONDS)
    model.eval()

    def median_seconds(num_images: int) -> tuple[float, float]:
        # not random images: training may continue, and needs the state of the generator
        images = torch.full((num_images, 3, model.image_size, model.image_size), 0.5, device=device)
        images = images.contiguous(memory_format=torch.channels_last)
        times: list[tuple[float, float]] = []  # of the classifier and of its feature extractor, from the same calls
        spent = 0.0
        with torch.no_grad(), autocast(precision, device):
            _time_call(model, images)  # the first call also selects and prepares kernels
            while len(times) < MIN_CALLS or spent < (budget if len(times) >= WANTED_CALLS else wanted):
                times.append(_time_call(model, images))
                spent += times[-1][0]
        return median(total for total, _ in times), median(features for _, features in times)

    single, single_features = median_seconds(1)
    batch, batch_features = median_seconds(batch_size)
    return {
        "latency_ms": 1000 * single,
        "throughput": batch_size / batch,
        "feature_latency_ms": 1000 * single_features,
        "feature_throughput": batch_size / batch_features,
    }


def _time_call(model: Classifier, images: Tensor) -> tuple[float, float]:
    """Return the seconds of a forward pass, and of the feature extractor in it."""
    began = time.perf_counter()
    # the two parts: a compiled network would be compiled again for one image, and users load it uncompiled
    features = model.features(images)
    _synchronize(images.device)
    middle = time.perf_counter()
    model.classifier(features)
    _synchronize(images.device)
    return time.perf_counter() - began, middle - began


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
