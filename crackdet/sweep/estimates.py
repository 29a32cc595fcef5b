"""Estimates the cost of a run before it is trained: floating-point operations, and seconds. Imports torch."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from statistics import median
from typing import Any, NamedTuple

from crackdet.config.schema import Config, to_dict
from crackdet.data.dataset import list_splits
from crackdet.models.factory import feature_flops, validate_model
from crackdet.store.snapshot import RunSnapshot

# Cost of a training step in forward passes: the backward pass computes two products for each of the forward pass.
TRAINING_STEP = 3


class FlopEstimator:
    """Counts the floating-point operations of runs; each data set is read once."""

    def __init__(self) -> None:
        self._num_images: dict[str, int] = {}

    def per_image(self, config: Config) -> int:
        """Return the operations of training on one image once.

        Raises:
            UserError: If the network cannot be built.
        """
        model = config.model
        return _training_flops(
            feature_flops(config), validate_model(config), model.linear_features, model.freeze_features
        )

    def num_images(self, config: Config) -> int:
        """Return the number of training images.

        Raises:
            UserError: If the data cannot be listed or split.
        """
        key = repr(config.data)
        if key not in self._num_images:
            self._num_images[key] = len(list_splits(config.data, config.runtime)[0]["train"])
        return self._num_images[key]

    def total(self, config: Config) -> int:
        """Return the operations of all epochs, without early stopping; frozen features are computed once."""
        per_image = self.per_image(config) * config.trainer.max_epochs
        if config.model.freeze_features:
            per_image += feature_flops(config) * (config.data.augmentation.views or 1)
        return per_image * self.num_images(config)


class Duration(NamedTuple):
    """How long training is expected to take."""

    seconds: float
    is_rough: bool  # by the operations of other networks; networks differ tenfold in operations per second


class TimeEstimator:
    """Estimates the seconds of an epoch from finished runs on the same device."""

    def __init__(self, runs: Iterable[RunSnapshot], device: str, model_name: str) -> None:
        """Read the runs.

        Args:
            runs: Any runs.
            device: Its type: cpu, cuda or mps.
            model_name: The model of the GPU, or of the processor if there is none.
        """
        self._per_image: dict[str, list[float]] = defaultdict(list)  # seconds, by network
        self._per_flop: list[float] = []  # seconds
        for run in runs:
            if (result := run.result) is None or result.get("device") != device:
                continue
            if model_name != (run.provenance.get("gpu") or run.provenance.get("processor")):
                continue
            with suppress(LookupError, TypeError, ValueError, ArithmeticError):  # a result without what is needed
                self._add(result)

    def _add(self, result: Mapping[str, Any]) -> None:
        seconds = result["seconds"] / (result["train_images"] * result["epochs"])
        model = result["settings"]["model"]
        flops = _training_flops(
            result["feature_flops"], result["feature_dimension"], model["linear_features"], model["freeze_features"]
        )
        self._per_image[_network_key(result["settings"])].append(seconds)
        if not model["freeze_features"]:  # a head takes longer for an operation than a network
            self._per_flop.append(seconds / flops)

    def epoch(self, config: Config, flops: FlopEstimator) -> Duration | None:
        """Return the median of the runs of the same network, else a rough estimate by operations; None without runs."""
        if per_image := self._per_image.get(_network_key(to_dict(config))):
            return Duration(median(per_image) * flops.num_images(config), False)
        if self._per_flop:
            return Duration(median(self._per_flop) * flops.per_image(config) * flops.num_images(config), True)
        return None


def _training_flops(feature_flops: int, feature_dimension: int, linear_features: int, is_frozen: bool) -> int:
    """Return the operations of training on one image: the feature extractor if it is trained, and the linear layers."""
    classifier = 2 * linear_features * (feature_dimension + linear_features + 1)
    return TRAINING_STEP * (classifier if is_frozen else feature_flops + classifier)


def _network_key(settings: Mapping[str, Any]) -> str:
    return repr((sorted(settings["model"].items(), key=str), settings["data"]["image_size"]))
