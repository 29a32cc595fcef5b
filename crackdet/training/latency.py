"""Inference time and throughput of a network, measured in the run that trains it.

On a CPU, latency is the processor time of a single thread. With four other programs on two cores, the processor time
increased by half, but the elapsed time increased tenfold. The result is the fastest call of several moments of the run.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from crackdet.models.classifier import Classifier, Head
from crackdet.training.device import autocast

RUN_SHARE = (
    0.005  # of the run's time for latency between epochs, and for throughput: with the warm-up calls, 1 % in all
)
MIN_BUDGET, MAX_BUDGET = 0.02, 1.0  # seconds to measure throughput
BLOCK = 3  # calls at one moment, after one that selects and prepares kernels
MAX_BLOCKS, BLOCK_SECONDS = 3, 0.05  # at the end: this many blocks, unless they take longer
SHARED = 0.5  # other programs on the same cores may slow a call down by this share of the time in which it waited

Times = tuple[float, float]  # seconds of the classifier, and of its feature extractor, from the same call


class LatencyMeter:
    """Measures one image at several moments of a run, for a small part of its time."""

    def __init__(self, model: Classifier, precision: str) -> None:
        self._model, self._precision = model, precision
        self._device = next(model.parameters()).device
        self._calls: list[Times] = []
        self._waited: list[float] = []  # the share of its time in which each call waited for the processor, at most 1
        self._spent = 0.0

    def sample(self, seconds: float, images_per_second: float) -> None:
        """Measure between two epochs, if that takes a small share of the `seconds` that the run has taken."""
        cost = (BLOCK + 1) * torch.get_num_threads() / images_per_second
        if self._calls:
            cost = max(cost, self._spent * BLOCK / len(self._calls))
        if self._device.type == "cpu" and self._spent + cost < RUN_SHARE * seconds:
            self._measure_block()

    def result(self, batch_size: int, seconds: float) -> dict[str, float]:
        """Measure at the end of a run that took `seconds`, in the number format of training.

        Returns:
            The milliseconds of one image, how much the measurements differ, and images per second in batches: of the
            classifier, and of its feature extractor, which is the part that a detector keeps.
        """
        first = self._spent
        for _ in range(MAX_BLOCKS):
            self._measure_block()
            if self._spent - first > BLOCK_SECONDS:
                break
        throughput = self._throughput(batch_size, min(max(RUN_SHARE * seconds, MIN_BUDGET), MAX_BUDGET))
        (latency, spread), (features, features_spread) = (
            _fastest(times, self._waited) for times in zip(*self._calls, strict=True)
        )
        return {
            "latency_ms": 1000 * latency,
            "latency_spread_ms": 1000 * spread,
            "throughput": throughput[0],
            "feature_latency_ms": 1000 * features,
            "feature_latency_spread_ms": 1000 * features_spread,
            "feature_throughput": throughput[1],
        }

    def _measure_block(self) -> None:
        began = time.perf_counter()
        clock = time.thread_time if self._device.type == "cpu" else time.perf_counter
        with self._inference(), _one_thread(self._device):
            self._call(1, clock)
            start, worked = time.perf_counter(), clock()
            self._calls += [self._call(1, clock) for _ in range(BLOCK)]
            waited = 1 - (clock() - worked) / (time.perf_counter() - start)
        self._waited += [max(waited, 0.0)] * BLOCK
        self._spent += time.perf_counter() - began

    def _throughput(self, batch_size: int, budget: float) -> Times:
        times: list[Times] = []
        with self._inference():
            self._call(batch_size, time.perf_counter)
            while len(times) < BLOCK or sum(total for total, _ in times) < budget:
                times.append(self._call(batch_size, time.perf_counter))
        return batch_size / min(total for total, _ in times), batch_size / min(features for _, features in times)

    @contextmanager
    def _inference(self) -> Iterator[None]:
        self._model.eval()
        with torch.no_grad(), autocast(self._precision, self._device):
            yield

    def _call(self, num_images: int, now: Callable[[], float]) -> Times:
        """Return the seconds of a forward pass, and of the feature extractor in it."""
        # not random images: training may continue, and needs the state of the generator
        size = self._model.image_size
        images = torch.full((num_images, 3, size, size), 0.5, device=self._device)
        images = images.contiguous(memory_format=torch.channels_last)
        _synchronize(self._device)
        began = now()
        # the two parts: a compiled network would be compiled again for one image, and users load it uncompiled
        features: Tensor = self._model.features(images)
        _synchronize(self._device)
        middle = now()
        self._model.classifier(features)
        _synchronize(self._device)
        return now() - began, middle - began


def add_head(features: Mapping[str, float], head: Head, batch_size: int, precision: str) -> dict[str, float]:
    """Return what `LatencyMeter.result` returns, for a head behind a feature extractor whose costs are known.

    Args:
        features: The costs of the feature extractor.
        head: The head, on its device.
        batch_size: Images in a batch.
        precision: The number format, fp32 or bf16.
    """
    device = next(head.parameters()).device

    def fastest(num_images: int) -> float:
        inputs, times = torch.full((num_images, head.feature_dimension), 0.5, device=device), []
        for _ in range(1 + BLOCK):  # the first call selects and prepares kernels
            _synchronize(device)
            began = time.perf_counter()
            head(inputs)
            _synchronize(device)
            times.append(time.perf_counter() - began)
        return min(times)

    head.eval()
    with torch.no_grad(), autocast(precision, device):
        with _one_thread(device):
            latency = fastest(1)
        batch = fastest(batch_size) / batch_size
    return {
        **features,
        "latency_ms": features["feature_latency_ms"] + 1000 * latency,
        "latency_spread_ms": features["feature_latency_spread_ms"],
        "throughput": 1 / (1 / features["feature_throughput"] + batch),
    }


def _fastest(times: Sequence[float], waited: Sequence[float]) -> Times:
    """Return the fastest call, and how uncertain it is: the distance of the upper quartile, or more next to others."""
    ordered = sorted(times)
    fastest, quartile = ordered[0], ordered[math.ceil(0.75 * (len(ordered) - 1))]
    return fastest, max(quartile - fastest, SHARED * waited[times.index(fastest)] * fastest)


@contextmanager
def _one_thread(device: torch.device) -> Iterator[None]:
    """On a CPU, compute in this thread only: several threads wait for each other if other programs are running."""
    threads = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
