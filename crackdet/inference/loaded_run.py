"""A run as its user meets it: settings, history, result, and the trained classifier. torch comes when it is used."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crackdet.config.parsing import parse
from crackdet.config.schema import Config, flatten
from crackdet.core.errors import UserError
from crackdet.core.files import read_json
from crackdet.data.decode import BadImage
from crackdet.inference.images import each
from crackdet.metrics.numpy_metrics import probabilities
from crackdet.store.code_digest import check_source
from crackdet.store.integrity import verify_weights
from crackdet.store.predictions import read_predictions
from crackdet.store.run import Run
from crackdet.store.run_store import RunStore
from crackdet.store.snapshot import RunSnapshot, Status

if TYPE_CHECKING:
    import torch

    from crackdet.inference.predictor import Predictor
    from crackdet.models.classifier import Classifier


@dataclass(frozen=True)
class Recorded:
    """What a run said of a validation image when it was judged."""

    image: str  # path relative to data.root, or the name of a drawing
    digest: str  # SHA-256 of the file, or what stands for it
    crack: bool
    logit: float  # above 0 is a probability above 0.5


@dataclass(frozen=True)
class LoadedRun:
    """A run of a store. Whether it has what is asked of it, is found when it is asked.

    Raises (all of its members):
        UserError: for a result, predictions or a model of a run that is not finished, or damaged.
    """

    run: Run
    trust: bool = False  # import the user's class that the run names
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
        """The whole configuration with dotted keys, as `settings["model.linear_features"]`."""
        return flatten(self.run.snapshot().config)

    @property
    def history(self) -> list[dict[str, float]]:
        """A row for each epoch, as in `history.csv`."""
        return [{name: float(value) for name, value in row.items()} for row in self.run.snapshot().history]

    @property
    def result(self) -> Mapping[str, Any]:
        """The content of `result.json`: accuracy, loss, costs."""
        return check_finished(self.run).result or {}

    @property
    def predictions(self) -> list[Recorded]:
        """The validation images in the order of their batches, as in `predictions.csv`."""
        check_finished(self.run)
        found = read_predictions(self.run)
        if found is None:
            raise UserError(f"{self.run.predictions_file}: cannot be read")
        columns = found.images, found.digests, found.labels.tolist(), found.logits.tolist()
        return [Recorded(*row) for row in zip(*columns, strict=True)]

    @cached_property
    def config(self) -> Config:
        """The configuration as typed objects, of a finished run."""
        return stored_config(self.run, self.trust)

    def model(self, device: "str | torch.device" = "auto") -> "Classifier":
        """The trained classifier in evaluation mode, a new one at each call: images (N, 3, S, S) in [0, 1] -> logits.

        `device` is auto (CUDA, else MPS, else the CPU) or torch's name of one.

        Raises:
            UserError: where the weights have been removed or are damaged, or there is no such device.
        """
        import torch

        from crackdet.models import factory
        from crackdet.training.device import find_device

        where = find_device(str(device), "device=")
        model = factory.load_trained(self.config, verify_weights(self.run))
        return model.to(where, memory_format=torch.channels_last).eval()  # type: ignore[call-overload, no-any-return]

    def predictor(self, device: "str | torch.device" = "auto", batch_size: int | None = None) -> "Predictor":
        """The classifier with batches and number format as in training; the same one at each call.

        Raises:
            UserError: as `model`.
        """
        from crackdet.inference.predictor import Predictor

        key = (str(device), batch_size)
        if key not in self._predictors:
            number_format = str(self.result.get("number_format", "fp32"))
            size = batch_size or self.config.trainer.batch_size
            self._predictors[key] = Predictor(self.model(device), number_format, size)
        return self._predictors[key]

    def predict(
        self, images: object, device: "str | torch.device" = "auto", batch_size: int | None = None
    ) -> NDArray[np.float64]:
        """Probabilities (N,) of a crack, of pictures of any size that are prepared as in training.

        `images` is one picture or an iterable of them: paths, PIL images, arrays (H, W, 3), tensors (3, H, W);
        or an array (N, H, W, 3) or a tensor (N, 3, H, W). Arrays and tensors hold bytes, or floats in [0, 1].

        Raises:
            UserError: for a picture that cannot be read, with its name or place; and as `model`.
        """
        logits = []
        try:
            pictures = each(images)
        except BadImage as error:
            raise UserError(f"images: {error}") from None
        for place, (picture, logit) in enumerate(self.predictor(device, batch_size).each(pictures)):
            if isinstance(logit, BadImage):
                name = picture if isinstance(picture, (str, Path)) else f"image {place}"
                raise UserError(f"{name}: {logit}")
            logits.append(logit)
        return probabilities(logits)


def load_run(name: str, store: str | Path = "outputs/runs", trust: bool = False) -> LoadedRun:
    """As `crackdet.load_run`."""
    from crackdet.analysis.ranking import resolve_run

    root = Path(store)
    if not root.is_dir():
        raise UserError(f"store {root}: there is no such folder; train.py makes it (runtime.store)")
    return LoadedRun(resolve_run(name, RunStore(root)), trust)


def check_finished(run: Run) -> RunSnapshot:
    """Return a snapshot of a finished run.

    Raises:
        UserError: If the run is not finished, or its files are not the published ones.
    """
    snapshot = run.snapshot()
    if snapshot.status is Status.CORRUPT:
        raise UserError(f"{run.id}: is corrupt ({snapshot.corruption}); the command that trained the run repairs it")
    if snapshot.status is not Status.FINISHED:
        raise UserError(f"{run.id}: is {snapshot.status}, not finished; the command that trained the run resumes it")
    return snapshot


def stored_config(run: Run, trust: bool = False) -> Config:
    """The configuration of a finished run.

    Raises:
        UserError: where the run is not finished, or would import a class that nobody vouched for or that has changed.
    """
    stored = check_finished(run).config
    target = stored.get("model", {}).get("_target_")
    if target is not None and not trust:
        raise UserError(
            f"{run.id}: its network is {target}, code from outside crackdet; "
            "say --trust where you know it (trust=True in Python)"
        )
    config = parse(stored)
    if target is not None:
        check_source(target, read_json(run.identity_file).get("model", {}).get("_source_"), run.id)
    return config
