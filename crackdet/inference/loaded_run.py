"""A run loaded from the store: settings, history, result and the trained classifier. Imports torch lazily."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crackdet.config.parsing import parse_literal
from crackdet.config.schema import Config, flatten
from crackdet.core.errors import UserError
from crackdet.core.files import expand_home
from crackdet.data.decode import BadImage
from crackdet.inference.images import iter_images
from crackdet.metrics.numpy_metrics import probabilities
from crackdet.store.code_digest import check_source
from crackdet.store.config_file import load_config
from crackdet.store.identity import read_identity
from crackdet.store.integrity import require_weights, verify_weights
from crackdet.store.predictions import read_predictions
from crackdet.store.run import Run
from crackdet.store.snapshot import RunSnapshot, Status

if TYPE_CHECKING:
    import torch

    from crackdet.inference.predictor import Predictor
    from crackdet.models.classifier import Classifier


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prediction:
    """The recorded prediction of one validation image."""

    image: str  # path relative to data.root, or the name of a synthetic image
    digest: str  # identifies the pixels: SHA-256 of the file, or the parameters of a synthetic image
    crack: bool  # the label
    logit: float  # above 0 means a probability above 0.5


@dataclass(frozen=True)
class LoadedRun:
    """A run of a store, read on access.

    Raises:
        UserError: From every member that needs a finished run, if the run is not finished or is corrupt.
    """

    run: Run
    trust: bool = False  # import user code named by the run
    _predictors: dict[tuple[str, int | None], "Predictor"] = field(default_factory=dict, repr=False, compare=False)

    @property
    def id(self) -> str:
        return self.run.id

    @property
    def directory(self) -> Path:
        return self.run.directory

    @property
    def status(self) -> Status:
        return self.run.status()

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """The resolved configuration with dotted keys, such as `settings["model.linear_features"]`."""
        return flatten(self.run.snapshot().config)

    @property
    def history(self) -> list[dict[str, float]]:
        """One row per epoch, as in `history.csv`."""
        return [{name: float(value or "nan") for name, value in row.items()} for row in self.run.snapshot().history]

    @property
    def result(self) -> Mapping[str, Any]:
        """The content of `result.json`: accuracy, loss, costs."""
        return check_finished(self.run).result or {}

    @property
    def predictions(self) -> list[Prediction]:
        """The logits of the validation images in evaluation order, as in `predictions.csv`."""
        check_finished(self.run)
        found = read_predictions(self.run)
        if found is None:
            raise UserError(f"{self.run.predictions_file}: cannot be read")
        columns = found.images, found.digests, found.labels.tolist(), found.logits.tolist()
        return [Prediction(*row) for row in zip(*columns, strict=True)]

    @cached_property
    def config(self) -> Config:
        """The configuration of a finished run as typed objects."""
        return stored_config(self.run, self.trust)

    def model(self, device: "str | torch.device" = "auto") -> "Classifier":
        """Return a new copy of the trained classifier in evaluation mode: images (N, 3, S, S) in [0, 1] -> logits.

        `device` is auto (CUDA, else MPS, else CPU) or a torch device.

        Raises:
            UserError: If the weights were removed or are corrupt, or the device is not available.
        """
        import torch

        from crackdet.models import factory
        from crackdet.training.device import find_device

        target = find_device(str(device), "device=")
        model = factory.load_trained(self.config, verify_weights(self.run))
        return model.to(target, memory_format=torch.channels_last).eval()  # type: ignore[call-overload, no-any-return]

    @property
    def white_level(self) -> float | None:
        """The setting `data.white_level`, which images of more than 8 bits are decoded with."""
        return getattr(self.config.data, "white_level", None)

    def predictor(self, device: "str | torch.device" = "auto", batch_size: int | None = None) -> "Predictor":
        """Return the cached classifier with the batch size and number format of its training."""
        from crackdet.inference.predictor import Predictor

        key = (str(device), batch_size)
        if key not in self._predictors:
            size = batch_size or self.config.trainer.batch_size
            number_format = self.result.get("number_format") or "fp32"
            self._predictors[key] = Predictor(self.model(device), number_format, size, self.white_level)
        return self._predictors[key]

    def predict(
        self, images: object, device: "str | torch.device" = "auto", batch_size: int | None = None
    ) -> NDArray[np.float64]:
        """Return the crack probabilities (N,) of images of any size, preprocessed as in training.

        `images` is one image or an iterable of images: paths, PIL images, arrays (H, W, 3), tensors (3, H, W); or an
        array (N, H, W, 3) or tensor (N, 3, H, W). Arrays and tensors hold uint8, or floats in [0, 1]. A folder is
        replaced by the images in it and its subfolders, sorted by path.

        Raises:
            UserError: If an image cannot be read, or a folder contains none; and as for `model`.
        """
        logits = []
        try:
            items = iter_images(images)
        except BadImage as error:
            raise UserError(f"images: {error}") from None
        for index, (image, logit) in enumerate(self.predictor(device, batch_size).iter_logits(items)):
            if isinstance(logit, BadImage):
                name = image if isinstance(image, (str, Path)) else f"image {index}"
                raise UserError(f"{name}: {logit}")
            logits.append(logit)
        return probabilities(logits)


def load_run(name: str, store: str | Path = "outputs/runs", trust: bool = False) -> LoadedRun:
    """See `crackdet.load_run`."""
    from crackdet.analysis.run_names import resolve_run

    named = resolve_run(str(name), expand_home(store), "store=")
    if named.note:
        log.info("%s", named.note)
    return LoadedRun(named.run, trust)


def check_finished(run: Run) -> RunSnapshot:
    """Return a snapshot of a run; raise UserError if it is not finished or its published files have changed."""
    snapshot = run.snapshot()
    if snapshot.status is Status.CORRUPT:
        raise UserError(f"{run.id}: is corrupt ({snapshot.corruption}); the command that trained the run repairs it")
    if snapshot.status is not Status.FINISHED:
        raise UserError(f"{run.id}: is {snapshot.status}, not finished; the command that trained the run resumes it")
    return snapshot


def check_loadable(run: Run, trust: bool = False) -> None:
    """Check that the network of a run can be loaded, without importing torch or the user's code.

    Raises:
        UserError: As `stored_config`, or if the weights were removed.
    """
    check_finished(run)
    stored = load_config(run)
    if not _needs_trust(run, stored, trust):
        parse_literal(stored)
    require_weights(run)


def stored_config(run: Run, trust: bool = False) -> Config:
    """Return the configuration of a finished run.

    Raises:
        UserError: If the run is not finished, or its model is user code that is not trusted or has changed.
    """
    check_finished(run)
    stored = load_config(run)
    target = _needs_trust(run, stored, trust)
    config = parse_literal(stored)
    if target is not None:
        check_source(target, read_identity(run).get("model", {}).get("_source_"), run.id)
    return config


def _needs_trust(run: Run, stored: Mapping[str, Any], trust: bool) -> str | None:
    """Return the user's class that a stored configuration names; None if the network is crackdet's own.

    Raises:
        UserError: If it names one that is not trusted.
    """
    model = stored.get("model")
    target = model.get("_target_") if isinstance(model, Mapping) else None
    if target is not None and not trust:
        raise UserError(
            f"{run.id}: its network is {target}, which is not part of crackdet; "
            "to execute this code, give --trust (trust=True in Python)"
        )
    return target
