"""`sweep.dry_run=true`: prints a table of what a sweep would train, and trains nothing. Imports torch."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from rich.table import Column, Table

from crackdet.analysis.differences import Differences
from crackdet.analysis.rows import RunRow
from crackdet.analysis.tables import NARROW, console, shown_id
from crackdet.config.schema import Config
from crackdet.core.console import escape_markup
from crackdet.core.errors import StoreError
from crackdet.core.files import free_bytes
from crackdet.core.machine import cpu_name
from crackdet.data.counts import count_table, few_observations_warning
from crackdet.data.dataset import list_splits
from crackdet.models.factory import build_on_meta
from crackdet.running.job import Job
from crackdet.store.run_store import RunStore
from crackdet.store.snapshot import Status
from crackdet.sweep.disk_usage import estimate_disk_usage, format_bytes
from crackdet.sweep.estimates import Duration, FlopEstimator, TimeEstimator
from crackdet.training.device import choose_device, gpu_name, resolve_precision
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
    times = TimeEstimator((run.snapshot() for run in store.runs()), device.type, gpu_name(device) or cpu_name())
    rows = [PlannedRow(job.run.snapshot(), job.overrides, job) for job in jobs]
    differences = Differences(rows)
    is_narrow = console().width < NARROW
    table = Table(Column("run", no_wrap=True), Column("what differs", overflow="fold"), "status")
    for name in ("parameters", "memory", "at most")[is_narrow:]:
        table.add_column(name, justify="right", no_wrap=True)
    sizes = _size_cells([job.config for job in jobs], device)
    flops = FlopEstimator()
    to_train: list[Config] = []
    durations: list[Duration | None] = []  # of the unfinished runs
    for job, row, cells in zip(jobs, rows, sizes, strict=True):
        is_finished = _is_finished(job)
        duration = None if is_finished else _remaining(row, job.config, times, flops)
        if not is_finished:
            durations.append(duration)
            to_train += [job.config] if row.status is not Status.RUNNING else []
        table.add_row(
            shown_id(row.id, console().width),
            escape_markup(differences.describe(row)),
            _status(row, job, is_finished),
            *cells[is_narrow:],
            "" if is_finished else _text(duration),
        )
    console().print(table)
    _print_splits([job.config for job in jobs])
    networks = ", ".join(dict.fromkeys(job.config.model.name for job in jobs))
    line = f"{len(jobs)} runs of {networks}, {len(jobs) - len(durations)} of them finished, {len(to_train)} to train"
    console().print(escape_markup(line + _expected(durations)), highlight=False, soft_wrap=True)
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
        few = few_observations_warning(splits)
        warnings |= dict.fromkeys([*found, *([few] if few else [])])
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
        memory = estimate_resources(config, resolve_precision(config, device)).memory
        cells[key] = f"{build_on_meta(config).num_parameters:,}", f"{memory / MIB:,.0f} MiB"
    return [cells[key] for key in keys]


def _remaining(row: RunRow, config: Config, times: TimeEstimator, flops: FlopEstimator) -> Duration | None:
    """Return the longest that a run can train, or None if there are no runs to estimate it from."""
    remaining = max(1, config.trainer.max_epochs - len(row.snapshot.history))
    epoch = times.epoch(config, flops)
    return epoch and epoch._replace(seconds=epoch.seconds * remaining)


def _expected(durations: Sequence[Duration | None]) -> str:
    """Return how long the unfinished runs train; empty if there are none, or the duration of one is not known."""
    known = [duration for duration in durations if duration is not None]
    if not known or len(known) < len(durations):
        return ""
    total = Duration(sum(duration.seconds for duration in known), any(duration.is_rough for duration in known))
    reason = " (~: rough estimate from the FLOPs of other networks on this device)" if total.is_rough else ""
    return f", at most {_text(total)} of training{reason}"


def _status(row: RunRow, job: Job, is_finished: bool) -> str:
    text = "corrupt" if not row.snapshot.is_repairable else STATUS_TEXT.get(row.status, str(row.status))
    epochs = len(row.snapshot.history)
    if row.status in (Status.INTERRUPTED, Status.PRUNED, Status.RUNNING) and epochs:
        return f"{text}, epoch {epochs} of {job.config.trainer.max_epochs}"
    if row.status is Status.FINISHED and not is_finished:
        return "finished, will be retrained"
    return text


def _text(duration: Duration | None) -> str:
    if duration is None:
        return "?"
    sign, seconds = "~" * duration.is_rough, duration.seconds
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{sign}{seconds / size:.{0 if duration.is_rough else 1}f} {unit}"
    return f"{sign}{seconds:.0f} s" if seconds >= 1 else f"{sign}1 s"
