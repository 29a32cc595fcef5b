"""Finished runs judged on images, their own or others, by the measures of their training."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from crackdet.analysis.test_split import TestResult, read_test_result, write_test_result
from crackdet.config.composing import compose
from crackdet.config.parsing import parse
from crackdet.config.schema import Config, SyntheticData
from crackdet.core.console import sanitize
from crackdet.core.errors import UserError
from crackdet.data.dataset import ImageDataset, load_splits
from crackdet.data.records import ImageRecord, image_digest
from crackdet.data.sources.factory import open_source
from crackdet.data.splits import SPLITS, no_split, split
from crackdet.inference.loaded_run import LoadedRun
from crackdet.metrics.torch_metrics import Metrics, measure
from crackdet.store.run import Run
from crackdet.training.device import deterministic
from crackdet.training.loop import predict

METRICS = tuple(item.name for item in fields(Metrics))
ALL = "all"  # splits together
OWN_CODE = "_target_"  # among the settings of a network that is somebody's own: what reads them may import it


@dataclass(frozen=True)
class EvalSet:
    """Images to be judged on: what makes them of a run's own data, or a data source of its own (`data=...`)."""

    name: str
    overrides: Sequence[str] = ()


@dataclass(frozen=True)
class Evaluation:
    """A run on a test set."""

    run: str
    trained_on: str
    tested_on: str
    split: str
    images: int
    trained_with: int  # of these images
    metrics: Metrics

    def __str__(self) -> str:
        values = ", ".join(f"{name} {value:.4f}" for name, value in asdict(self.metrics).items())
        return f"{self.run} on {self.images} images ({sanitize(self.tested_on)}), {self.split} split: {values}"

    def row(self) -> dict[str, Any]:
        """Plain values, as they are written."""
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "metrics"}
        return {**values, **asdict(self.metrics)}


def parse_choice(text: str) -> EvalSet:
    """`own`, overrides as for train.py, or `NAME: OVERRIDES`.

    Raises:
        UserError: for overrides of something else than data.
    """
    match = re.fullmatch(r"([^\s=]+):\s+(.+)", text.strip())
    name, rest = (match[1], match[2]) if match else ("", text)
    overrides = [] if rest.strip() == "own" else shlex.split(rest)
    check_overrides(overrides)
    own = [override for override in overrides if not override.startswith("runtime.")]
    return EvalSet(name or " ".join(own) or "own", overrides)


def check_overrides(overrides: Sequence[str]) -> None:
    """Raises UserError for a setting that does not say which images a run is judged on."""
    for override in overrides:
        key, sign, _ = override.partition("=")
        if not sign or not re.match(r"data([./]|$)|runtime\.(cache|num_workers)", key):
            raise UserError(
                f"{override}: does not choose images; give data=SOURCE and data.KEY=VALUE (or runtime.cache=FOLDER)"
            )


def evaluate(run: LoadedRun, choice: EvalSet, part: str = "valid", device: str = "auto") -> Evaluation:
    """The measures of a run's published weights on a split of a test set, or on `all` of them.

    Raises:
        UserError: where the run has no weights, or the data no such split.
    """
    config, other = run.config, other_data(run.run, choice.overrides)
    images = _part(load_splits(other.data, other.runtime), part)
    workers = other.runtime.num_workers
    classifier = run.predictor(device)
    with deterministic():
        logits = predict(classifier.model, images, classifier.batch_size, classifier.number_format, workers)
    metrics = measure(logits, torch.from_numpy(images.labels).float(), config.trainer.pos_weight)
    with_them = _trained_with(config, images)
    return Evaluation(run.id, describe_data(config), choice.name, part, len(images), with_them, metrics)


def evaluate_test(run: Run, trust: bool = False) -> TestResult:
    """A run on its own test split: as recorded, or evaluated and recorded now, where the split is another since.

    Raises:
        UserError: where the run has no weights, or the data no test split.
    """
    found = read_test_result(run)
    photographs = None if OWN_CODE in run.snapshot().config.get("model", {}) and not trust else _test_photographs(run)
    if found and (found.photographs in (None, photographs) or photographs is None):
        return found
    judged = evaluate(LoadedRun(run, trust), parse_choice("own"), "test")
    return write_test_result(run, judged.metrics.accuracy, judged.images, photographs)


def _test_photographs(run: Run) -> str | None:
    """Which photographs are its test split now, in one hash; None where they are not there."""
    try:
        photographs = _listed(other_data(run, ()), "test")
    except UserError:
        return None
    return image_digest(photographs) if photographs else None


def other_data(run: Run, overrides: Sequence[str]) -> Config:
    """What overrides make of a run's own data, or, where they choose a source, of that source's defaults.

    Images are always as large as the run's own: its network knows no others.

    Raises:
        UserError: where they are not valid.
    """
    stored = run.snapshot().config
    size = f"data.image_size={stored['data']['image_size']}"
    for override in overrides:
        if override.startswith("data.image_size=") and override != size:
            raise UserError(f"{override}: {run.id} was trained with {size}, and is judged at that size")
    if any(override.startswith("data=") for override in overrides):
        return compose([*(override for override in overrides if override != size), size])
    return parse(OmegaConf.merge(OmegaConf.create(stored), OmegaConf.from_dotlist(list(overrides))))  # type: ignore[arg-type]


def describe_data(config: Config) -> str:
    """What a run was trained on, in a word."""
    data = config.data
    return "drawn" if isinstance(data, SyntheticData) else Path(data.root).name  # type: ignore[attr-defined]


def _part(splits: dict[str, ImageDataset], part: str) -> ImageDataset:
    names = SPLITS if part == ALL else (part,)
    photographs = [photograph for name in names for photograph in splits[name].photographs]
    if not photographs:
        raise no_split(part)
    return replace(splits["train"], photographs=photographs)


def _trained_with(config: Config, images: ImageDataset) -> int:
    """How many of the images the run was trained with; none where its photographs are not there to be compared."""
    known = {photograph.digest for photograph in _listed(config, "train")}
    return sum(photograph.digest in known for photograph in images.photographs)


def _listed(config: Config, part: str) -> list[ImageRecord]:
    """The photographs of a split of the run's own data, not decoded; none where they are not there."""
    try:
        source = open_source(config.data, Path(config.runtime.cache).expanduser())
        return split(source.photographs(), config.data)[part]
    except (UserError, OSError):
        return []
