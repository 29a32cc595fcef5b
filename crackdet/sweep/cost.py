"""What a run will cost before it is trained: operations, and seconds by the runs so far. Imports torch."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from crackdet.data.sources import open_source
from crackdet.data.splits import split
from crackdet.models import check, feature_flops
from crackdet.schema import Config, to_dict
from crackdet.sweep.job import Job

FORWARD, TRAINING = 1, 3  # forward passes: the backward pass computes two products where the forward computes one


class Costs:
    """Operations of runs; networks and data that runs have in common are looked at once."""

    def __init__(self) -> None:
        self._per_image: dict[str, int] = {}
        self._images: dict[str, int] = {}

    def per_image(self, config: Config) -> int:
        """Floating-point operations of training on one image once.

        Raises:
            UserError: where the network cannot be built.
        """
        key = repr((config.model, config.data.image_size))
        if key not in self._per_image:
            passes = FORWARD if config.model.freeze_features else TRAINING
            classifier = _classifier_flops(check(config), config.model.linear_features)
            self._per_image[key] = passes * feature_flops(config) + TRAINING * classifier
        return self._per_image[key]

    def images(self, config: Config) -> int:
        """Number of training images.

        Raises:
            UserError: where the data cannot be listed or split.
        """
        key = repr(config.data)
        if key not in self._images:
            photographs = open_source(config.data, Path(config.runtime.cache).expanduser()).photographs()
            self._images[key] = len(split(photographs, config.data)["train"])
        return self._images[key]

    def total(self, config: Config) -> int:
        """Operations of all epochs, if none is saved by early stopping."""
        return self.per_image(config) * self.images(config) * config.trainer.max_epochs


def cheapest_first(jobs: Sequence[Job], costs: Costs) -> list[Job]:
    """By rising cost, so that something is learnt early; jobs that cost the same keep their order."""
    return sorted(jobs, key=lambda job: costs.total(job.config))


class Pace:
    """Seconds of an epoch, by the finished runs on this kind of device: of the same network, else by operations."""

    def __init__(self, results: Iterable[Mapping[str, Any]], device: str) -> None:
        self._alike: dict[str, list[float]] = defaultdict(list)  # seconds for an image, by network
        self._seconds_per_operation: list[float] = []
        for result in results:
            images, settings = result.get("train_images", 0) * result.get("epochs", 0), result.get("settings", {})
            if result.get("device") != device or not images or not settings:
                continue
            seconds = result["seconds"] / images
            self._alike[_network(settings)].append(seconds)
            passes = FORWARD if settings["model"].get("freeze_features") else TRAINING
            classifier = _classifier_flops(result["feature_dimension"], settings["model"]["linear_features"])
            self._seconds_per_operation.append(seconds / (passes * result["feature_flops"] + TRAINING * classifier))

    def epoch_seconds(self, config: Config, costs: Costs) -> float | None:
        """None where there is no run to judge by."""
        alike = self._alike.get(_network(to_dict(config)))
        if alike:
            return median(alike) * costs.images(config)
        if self._seconds_per_operation:
            return median(self._seconds_per_operation) * costs.per_image(config) * costs.images(config)
        return None


def _classifier_flops(dimension: int, linear_features: int) -> int:
    return 2 * linear_features * (dimension + linear_features + 1)


def _network(settings: Mapping[str, Any]) -> str:
    return repr((sorted(settings["model"].items(), key=str), settings["data"]["image_size"]))
