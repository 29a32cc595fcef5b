"""Evaluate finished runs on their own or other images, with the metrics of training."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from crackdet.analysis.test_split import TestResult, read_test_result, write_test_result
from crackdet.config.schema import Config
from crackdet.core.console import escape_markup, sanitize
from crackdet.core.errors import UserError
from crackdet.data import splits
from crackdet.data.dataset import ImageDataset, list_splits, load_splits
from crackdet.data.records import ImageRecord, image_digest
from crackdet.data.tiles import parse_digest
from crackdet.inference.eval_data import ALL, METRICS, EvalSet, config_with_data
from crackdet.inference.loaded_run import LoadedRun
from crackdet.inference.rates import Rate, measure_rate
from crackdet.metrics.torch_metrics import Metrics, compute_metrics
from crackdet.store.run import Run
from crackdet.training.device import deterministic
from crackdet.training.loop import predict

NEED_BOTH_CLASSES = ("precision", "f1", "roc_auc")


@dataclass(frozen=True)
class Evaluation:
    """The metrics of one run on one set of images, which may be of one class."""

    run: str
    trained_on: str
    tested_on: str
    split: str
    images: int
    trained_with: int  # how many of these images the run was trained with; 0 if its data is gone
    metrics: Metrics  # those that need both classes mean nothing if the images are of one
    recall: Rate | None  # None: no image has a crack
    false_alarm_rate: Rate | None  # None: all images have a crack

    @property
    def values(self) -> dict[str, float | None]:
        """The metrics by name; None if the images lack a class that the metric needs."""
        values: dict[str, float | None] = asdict(self.metrics)
        if self.recall is None or self.false_alarm_rate is None:
            values |= dict.fromkeys(NEED_BOTH_CLASSES)
        rates = {"recall": self.recall, "false_alarm_rate": self.false_alarm_rate}
        return values | {name: None if rate is None else rate.value for name, rate in rates.items()}

    def __str__(self) -> str:
        rates = {"recall": self.recall, "false_alarm_rate": self.false_alarm_rate}
        texts = [f"{name} {rates.get(name) or _show(value)}" for name, value in self.values.items()]
        where = f"{self.images} images ({sanitize(self.tested_on)}), {self.split} split"
        return f"{self.run} on {where}: {', '.join(texts)}"

    def row(self) -> dict[str, Any]:
        """Return all values as one flat row."""
        names = ("run", "trained_on", "tested_on", "split", "images", "trained_with")
        intervals = {
            f"{name}_{end}": None if rate is None else getattr(rate, end)
            for name, rate in (("recall", self.recall), ("false_alarm_rate", self.false_alarm_rate))
            for end in ("low", "high")
        }
        return {name: getattr(self, name) for name in names} | self.values | intervals


def evaluate(run: LoadedRun, eval_set: EvalSet, split: str = "valid", device: str = "auto") -> Evaluation:
    """Evaluate a run's published weights on one split of a set of images, or on `all` splits.

    Raises:
        UserError: If the run has no weights, or the data has no such split.
    """
    config, eval_config = run.config, config_with_data(run.run, eval_set.overrides)
    images = _select_split(load_splits(eval_config.data, eval_config.runtime, both_classes=False), split)
    predictor = run.predictor(device)
    with deterministic():
        logits = predict(
            predictor.model, images, predictor.batch_size, predictor.number_format, eval_config.runtime.num_workers
        )
    metrics = compute_metrics(logits, torch.from_numpy(images.labels).float(), config.trainer.pos_weight)
    photographs = {parse_digest(record.digest)[0] for record in _list_split(config, "train")}
    trained_with = sum(parse_digest(record.digest)[0] in photographs for record in images.records)
    trained_on = Path(getattr(config.data, "root", "synthetic")).name
    recall, false_alarm_rate = (measure_rate(images.records, (logits > 0).numpy(), crack) for crack in (True, False))
    return Evaluation(
        run.id, trained_on, eval_set.name, split, len(images), trained_with, metrics, recall, false_alarm_rate
    )


def evaluate_test(run: Run, trust: bool = False) -> TestResult:
    """Return a run's result on its own test split; evaluate and record it unless that split's result is recorded.

    Raises:
        UserError: If the run has no weights, or the data has no test split.
    """
    recorded = read_test_result(run)
    has_user_code = "_target_" in run.snapshot().config.get("model", {})  # imported when the configuration is parsed
    digest = None if has_user_code and not trust else _test_split_digest(run)
    if recorded and digest in (None, recorded.photographs):
        return recorded
    evaluation = evaluate(LoadedRun(run, trust), EvalSet("own"), "test")
    return write_test_result(run, evaluation.metrics.accuracy, evaluation.images, digest)


def evaluation_table(evaluations: Sequence[Evaluation], metric: str) -> Table:
    """Return a table of one metric (trained on x tested on) for several runs and sets, else of all metrics."""
    runs = list(dict.fromkeys(evaluation.run for evaluation in evaluations))
    sets = list(dict.fromkeys(evaluation.tested_on for evaluation in evaluations))
    table = Table(title_justify="left")
    table.add_column("run", no_wrap=True)
    table.add_column("trained on")
    if len(runs) > 1 and len(sets) > 1:
        table.title = f"{metric}: trained on \N{MULTIPLICATION SIGN} tested on"
        for name in sets:
            table.add_column(escape_markup(name), justify="right", overflow="fold")
        cells = {(evaluation.run, evaluation.tested_on): evaluation for evaluation in evaluations}
        for run in runs:
            values = [_show(cells[run, name].values[metric]) for name in sets]
            table.add_row(run, escape_markup(cells[run, sets[0]].trained_on), *values)
        return table
    table.add_column("tested on", overflow="fold")
    for name in ("images", *METRICS):
        table.add_column(name, justify="right")
    for evaluation in evaluations:
        values = [_show(evaluation.values[name]) for name in METRICS]
        names = (evaluation.run, escape_markup(evaluation.trained_on), escape_markup(evaluation.tested_on))
        table.add_row(*names, str(evaluation.images), *values)
    return table


def _show(value: float | None) -> str:
    return "\N{EN DASH}" if value is None else f"{value:.4f}"


def _select_split(by_split: dict[str, ImageDataset], split: str) -> ImageDataset:
    names = splits.SPLITS if split == ALL else (split,)
    records = [record for name in names for record in by_split[name].records]
    if not records:
        if any(by_split[name].records for name in ("train", "valid")) and split != "test":
            raise UserError(f"data: the {split} split is empty; --split all takes the images of all splits")
        raise splits.missing_split_error(split)
    return replace(by_split["train"], records=records)


def _test_split_digest(run: Run) -> str | None:
    """Return a digest of the current test images; None if the data is gone."""
    try:
        records = _list_split(config_with_data(run, ()), "test")
    except UserError:
        return None
    return image_digest(records) if records else None


def _list_split(config: Config, split: str) -> list[ImageRecord]:
    """Return the images of one split without decoding them; empty if the data is gone."""
    try:
        return list_splits(config.data, config.runtime)[0][split]
    except (UserError, OSError):
        return []
