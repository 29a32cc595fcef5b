"""What a run will cost before it is trained: operations, and seconds by the runs so far. Imports torch."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from crackdet.config.schema import Config, to_dict
from crackdet.data.sources.factory import open_source
from crackdet.data.splits import split
from crackdet.models.factory import check, feature_flops
from crackdet.running.job import Job

FORWARD, TRAINING = 1, 3  # forward passes: the backward pass computes two products where the forward computes one


class FlopEstimator:
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
            model = config.model
            self._per_image[key] = _operations(
                feature_flops(config), check(config), model.linear_features, model.freeze_features
            )
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


def cheapest_first(jobs: Sequence[Job], costs: FlopEstimator) -> list[Job]:
    """By rising cost, so that something is learnt early; jobs that cost the same keep their order."""
    return sorted(jobs, key=lambda job: costs.total(job.config))


class TimeEstimator:
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
            model = settings["model"]
            operations = _operations(
                result["feature_flops"], result["feature_dimension"], model["linear_features"],
                model.get("freeze_features", False),
            )  # fmt: skip
            self._seconds_per_operation.append(seconds / operations)

    def epoch_seconds(self, config: Config, costs: FlopEstimator) -> float | None:
        """None where there is no run to judge by."""
        alike = self._alike.get(_network(to_dict(config)))
        if alike:
            return median(alike) * costs.images(config)
        if self._seconds_per_operation:
            return median(self._seconds_per_operation) * costs.per_image(config) * costs.images(config)
        return None


def _operations(features: int, dimension: int, linear_features: int, frozen: bool) -> int:
    """Of training on one image: feature extractor (`features` forward) and the three linear layers behind it."""
    classifier = 2 * linear_features * (dimension + linear_features + 1)
    return (FORWARD if frozen else TRAINING) * features + TRAINING * classifier


def _network(settings: Mapping[str, Any]) -> str:
    return repr((sorted(settings["model"].items(), key=str), settings["data"]["image_size"]))
