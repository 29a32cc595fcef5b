"""Frozen features: computed once for a set of images, and shared by all runs that train a head on them.

The features of an image depend on the feature extractor, the number format, the processor and the set of images. They
depend neither on the number of threads nor on the run that needs them first: each batch has a fixed place in the set,
and is computed by one thread.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crackdet.config.schema import Config
from crackdet.core.console import bar
from crackdet.core.errors import RunFailed, UserError
from crackdet.core.files import expand_home
from crackdet.core.machine import cpu_name
from crackdet.core.signals import catch_signals
from crackdet.data import decode
from crackdet.data.augmentation import augment, sample_view_params
from crackdet.data.batches import iter_batches, to_device, to_input
from crackdet.data.dataset import Dataset, FeatureDataset, ImageDataset
from crackdet.data.feature_cache import COSTS, FeatureArray, FeatureFile
from crackdet.data.rand_augment import Draws, rand_augment, sample_view_operations
from crackdet.data.records import ImageRecord
from crackdet.models.classifier import Classifier
from crackdet.models.factory import build, validate_model
from crackdet.training.device import autocast, gpu_name, preserve_num_threads
from crackdet.training.latency import LatencyMeter

VERSION = 1  # raised if the features of an image become others
BATCH = 32  # images
NOT_FEATURES = ("linear_features", "freeze_features")  # settings of `model` that do not change features

log = logging.getLogger(__name__)


class FrozenExtractor:
    """The feature extractor of a frozen run, built when it is needed.

    Args:
        config: The configuration of the run.
        model: The settings of its network, as in its identity.
        device: Where features are computed.
        precision: fp32 or bf16.
    """

    _last: tuple[str, Classifier] | None = None  # of this process: the runs of a sweep share their extractor

    def __init__(self, config: Config, model: Mapping[str, Any], device: torch.device, precision: str) -> None:
        self.name, self.device, self.num_workers = config.model.name, device, config.runtime.num_workers
        self._config, self._precision = config, precision
        self.key: dict[str, Any] = {
            "version": VERSION,
            "model": {name: value for name, value in model.items() if name not in NOT_FEATURES},
            "seed": config.seed if config.model.weights is None else None,  # of random weights
            "image_size": config.data.image_size,
            "precision": precision,
            "decoder": decode.VERSIONS,
            "torch": torch.__version__,
            "processor": gpu_name(device) or cpu_name(),
        }

    @property
    def classifier(self) -> Classifier:
        """The network with its initial weights, on the device in evaluation mode; only its head is another run's."""
        key = repr(self.key)
        if FrozenExtractor._last is None or FrozenExtractor._last[0] != key:
            FrozenExtractor._last = None  # first: two large networks may not fit
            classifier = build(self._config).eval()
            classifier.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            FrozenExtractor._last = key, classifier
        return FrozenExtractor._last[1]

    def datasets(self, images: Mapping[str, ImageDataset], on_batch: Callable[[str], None]) -> dict[str, Dataset]:
        """Return the splits `train` and `valid` with their features, computed if they are not in the cache.

        Args:
            images: The splits.
            on_batch: Called before each batch with where the computation is.

        Returns:
            The images themselves if their features are larger than `runtime.cache_gib`.

        Raises:
            UserError: If the features cannot be written to the cache.
            RunFailed: If features are not finite.
            Interrupted: If the process was asked to stop; computed features are kept.
        """
        augmentation, train, valid = self._config.data.augmentation, images["train"], images["valid"]
        if augmentation.is_active:
            wanted = [(valid.records, None), *((train.records, view) for view in range(augmentation.views or 1))]
        else:
            wanted = [([*train.records, *valid.records], None)]
        files = [self._file(records, view) for records, view in wanted]
        arrays = [file.open() for file in files]
        if not all(arrays) and not self._fits(files):
            return dict(images)
        for number, ((records, view), file) in enumerate(zip(wanted, files, strict=True)):
            if arrays[number] is None:
                unique = {record.digest: record for record in records}
                dataset = ImageDataset([unique[digest] for digest in file.rows], train.pixels)
                arrays[number] = self._build(file, _View(self, dataset, view, on_batch))
        built = [array for array in arrays if array is not None]
        return {
            "train": FeatureDataset(train.records, built[1:] or built),
            "valid": FeatureDataset(valid.records, built[:1]),
        }

    def _file(self, records: Sequence[ImageRecord], view: int | None) -> FeatureFile:
        augmentation = None if view is None else {**vars(self._config.data.augmentation), "views": view}
        digests = [record.digest for record in records]
        return FeatureFile(expand_home(self._config.runtime.cache), {**self.key, "view": augmentation}, digests)

    def _fits(self, files: Sequence[FeatureFile]) -> bool:
        """Return whether all features fit into the cache."""
        num_bytes = validate_model(self._config) * (2 if self._precision == "bf16" else 4)
        gib, limit = sum(len(file.rows) for file in files) * num_bytes / 2**30, self._config.runtime.cache_gib
        if gib > limit:
            log.info(
                "the frozen features of %s are %.1f GiB, over runtime.cache_gib=%g: they are computed in each epoch",
                self.name, gib, limit,
            )  # fmt: skip
        return gib <= limit

    def _build(self, file: FeatureFile, view: "_View") -> FeatureArray:
        dtype = np.int16 if self._precision == "bf16" else np.float32
        try:
            return file.build(validate_model(self._config), dtype, view.fill, self._measure_costs)
        except OSError as error:
            cache = self._config.runtime.cache
            raise UserError(
                f"runtime.cache={cache}: frozen features cannot be written to this folder ({error.strerror or error}); "
                "give another folder, or runtime.cache_gib=0 to compute features in each epoch"
            ) from None

    def _measure_costs(self) -> dict[str, float]:
        measured = LatencyMeter(self.classifier, self._precision).result(BATCH, 0.0)
        return {name: measured[name] for name in COSTS}

    def compute(self, pixels: Tensor, params: Tensor | None, operations: Draws | None) -> Tensor:
        """Return the features of images, on the CPU: (N, D) as float32, or as the bits of bfloat16."""
        magnitude = self._config.data.augmentation.rand_augment
        with torch.no_grad(), autocast(self._precision, self.device):
            if operations is not None and magnitude is not None:
                pixels = rand_augment(pixels, operations, magnitude)
            images = to_input(pixels)
            if params is not None:
                images = augment(images, params, self._config.data.augmentation)
            features = self.classifier.features(images)
        if not torch.isfinite(features).all():
            raise RunFailed(f"the features of {self.name} are not finite")
        if self._precision == "bf16":
            return features.to(torch.bfloat16).cpu().view(torch.int16)
        return features.float().cpu()


class _View:
    """The images of an array of features, in the order of its rows, and their augmentation."""

    def __init__(
        self, extractor: FrozenExtractor, images: ImageDataset, view: int | None, on_batch: Callable[[str], None]
    ) -> None:
        self._extractor, self._images, self._on_batch = extractor, images, on_batch
        self._params = None if view is None else sample_view_params(images.records, view)
        self._operations = None if view is None else sample_view_operations(images.records, view)
        self._title = f"features of {extractor.name}" + ("" if view is None else f", view {view + 1}")

    def fill(self, array: NDArray[Any], start: int) -> Iterator[int]:
        """Write the features of the images from `start` on, in order; yield the number of rows that are done."""
        start -= start % BATCH
        _ = self._extractor.classifier  # built once, before the threads use it
        with catch_signals() as request, bar(self._title, len(array), done=start, log_progress=True) as progress:
            for features in self._compute(range(start, len(array), BATCH)):
                array[start : start + len(features)] = features.numpy()
                start += len(features)
                progress.advance(len(features))
                yield start
                request.raise_if_asked()

    def _compute(self, starts: Sequence[int]) -> Iterator[Tensor]:
        """Yield the features of the batches that start at these images; on a CPU each thread computes a batch."""
        device, num_images = self._extractor.device, len(self._images)
        batches = [np.arange(row, min(row + BATCH, num_images)) for row in starts]
        loaded = iter_batches(self._images, batches, device, self._extractor.num_workers)
        num_threads, pending = torch.get_num_threads() if device.type == "cpu" else 1, deque[Future[Tensor]]()
        set_threads = partial(torch.set_num_threads, 1) if device.type == "cpu" else None
        with preserve_num_threads(), ThreadPoolExecutor(num_threads, initializer=set_threads) as pool:
            for row, batch in zip(starts, loaded, strict=True):
                self._on_batch(f"{self._title}, image {row + 1}")
                params = None if self._params is None else to_device(self._params[row : row + BATCH], device)
                operations = None if self._operations is None else self._operations[row : row + BATCH]
                pending.append(pool.submit(self._extractor.compute, batch.inputs, params, operations))
                if len(pending) > num_threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
