"""`sweep.dry_run=true`: prints a table of what a sweep would train, and trains nothing. Imports torch."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from rich.table import Table

from crackdet.analysis.differences import Differences
from crackdet.analysis.rows import RunRow
from crackdet.analysis.tables import console
from crackdet.config.schema import Config
from crackdet.core.console import escape_markup
from crackdet.core.errors import StoreError
from crackdet.core.files import free_bytes
from crackdet.data.counts import count_table
from crackdet.data.dataset import list_splits
from crackdet.models.batchnorm import check_batch_size
from crackdet.models.factory import build_on_meta
from crackdet.running.job import Job
from crackdet.store.integrity import read_result
from crackdet.store.run_store import RunStore
from crackdet.store.snapshot import Status
from crackdet.sweep.disk_usage import estimate_disk_usage, format_bytes
from crackdet.sweep.estimates import FlopEstimator, TimeEstimator
from crackdet.training.device import choose_device, resolve_precision
from crackdet.training.resources import MIB, estimate_resources

log = logging.getLogger(__name__)

MAX_SPLITS = 3  # tables of images, if the runs have different splits
STATUS_TEXT = {
    Status.TODO: "to do",
    Status.INTERRUPTED: "resumable",
    Status.RUNNING: "running elsewhere",
    Status.CORRUPT: "corrupt, will be retrained",
}


@dataclass(frozen=True)
class PlannedRow(RunRow):
    """A row of a run that may not exist yet, so its settings come from its job."""

    job: Job | None = None

    @property
    def tree(self) -> Mapping[str, Any]:
        assert self.job is not None
        return self.job.settings


def dry_run(jobs: Sequence[Job]) -> None:
    """Print the runs with their status, size and expected time.

    Raises:
        UserError: If a network cannot be built, or the images cannot be listed.
    """
    if not jobs:
        console().print("no runs: sweep.exclude excludes every combination")
        return
    device = choose_device(jobs[0].config.runtime)
    store = RunStore(jobs[0].run.root)
    times = TimeEstimator((result for run in store.runs() if (result := read_result(run))), device.type)
    rows = [PlannedRow(job.run.snapshot(), job.overrides, job) for job in jobs]
    differences = Differences(rows)
    table = Table("run", "what differs", "status")
    for name in ("parameters", "memory", "at most"):
        table.add_column(name, justify="right", no_wrap=True)
    sizes = _size_cells([job.config for job in jobs], device)
    flops = FlopEstimator()
    to_train: list[Config] = []
    durations: list[float | None] = []  # of the unfinished runs
    for job, row, cells in zip(jobs, rows, sizes, strict=True):
        is_finished = _is_finished(job)
        seconds = None if is_finished else _remaining_seconds(row, job.config, times, flops)
        if not is_finished:
            durations.append(seconds)
            to_train += [job.config] if row.status is not Status.RUNNING else []
        table.add_row(
            row.id,
            escape_markup(differences.describe(row)),
            _status(row, job, is_finished),
            *cells,
            "" if is_finished else _duration(seconds),
        )
    console().print(table)
    _print_splits([job.config for job in jobs])
    known = [seconds for seconds in durations if seconds is not None]
    expected = f", at most {_duration(sum(known))}" if to_train and len(known) == len(durations) else ""
    line = f"{len(jobs)} runs, {len(jobs) - len(durations)} of them finished, {len(to_train)} to train{expected}"
    console().print(line, highlight=False)
    if to_train:
        free = format_bytes(free_bytes(store.root))
        console().print(f"they take up to {estimate_disk_usage(to_train)}; {free} are free", highlight=False)


def _is_finished(job: Job) -> bool:
    try:
        return job.is_finished()
    except StoreError as error:  # such as the run of another user: a sweep would leave it out
        log.error("would be left out: %s", error)
        return False


def _print_splits(configs: Sequence[Config]) -> None:
    """Print the images and groups of each split, once for all configurations with the same ones, and warn of few."""
    tables: dict[str, Table] = {}
    warnings: dict[str, None] = {}
    for config in {repr(config.data): config for config in configs}.values():
        splits, found = list_splits(config.data, config.runtime)
        tables.setdefault(repr(splits), count_table(splits))
        warnings |= dict.fromkeys(found)
    for table in list(tables.values())[:MAX_SPLITS]:
        console().print(table)
    if len(tables) > MAX_SPLITS:
        console().print(f"and {len(tables) - MAX_SPLITS} other splits", highlight=False)
    for warning in warnings:
        console().print(escape_markup(warning), highlight=False, soft_wrap=True)


def _size_cells(configs: Sequence[Config], device: torch.device) -> list[tuple[str, str]]:
    """Return the cells for parameters and memory; equal networks, such as those of replicates, are built once."""
    keys = [repr((config.model, config.data.image_size, config.trainer, config.optimizer)) for config in configs]
    cells = {}
    for key, config in dict(zip(keys, configs, strict=True)).items():
        model = build_on_meta(config)
        check_batch_size(config, model)
        memory = estimate_resources(config, resolve_precision(config, device)).memory
        cells[key] = f"{model.num_parameters:,}", f"{memory / MIB:,.0f} MiB"
    return [cells[key] for key in keys]


def _remaining_seconds(row: RunRow, config: Config, times: TimeEstimator, flops: FlopEstimator) -> float | None:
    """Return the longest that a run can take, or None if there are no runs to estimate it from."""
    per_epoch = times.epoch_seconds(config, flops)
    remaining = max(1, config.trainer.max_epochs - len(row.snapshot.history))
    return None if per_epoch is None else per_epoch * remaining


def _status(row: RunRow, job: Job, is_finished: bool) -> str:
    text = "corrupt" if not row.snapshot.is_repairable else STATUS_TEXT.get(row.status, str(row.status))
    epochs = len(row.snapshot.history)
    if row.status in (Status.INTERRUPTED, Status.PRUNED, Status.RUNNING) and epochs:
        return f"{text}, epoch {epochs} of {job.config.trainer.max_epochs}"
    if row.status is Status.FINISHED and not is_finished:
        return "finished, will be retrained"
    return text


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 1 else "< 1 s"
