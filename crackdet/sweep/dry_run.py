"""`sweep.dry_run=true`: what a sweep would do, as a table; nothing is trained. Imports torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from rich.table import Table

from crackdet.analysis.rows import RunRow, differing_keys
from crackdet.analysis.tables import console, describe
from crackdet.config.schema import Config, to_dict
from crackdet.core.console import escape_markup
from crackdet.core.files import free_bytes
from crackdet.models.factory import build_on_meta
from crackdet.running.job import Job
from crackdet.store.identity import NON_IDENTITY
from crackdet.store.integrity import read_result
from crackdet.store.run_store import RunStore
from crackdet.store.snapshot import Status
from crackdet.sweep.disk_usage import describe as describe_left
from crackdet.sweep.disk_usage import estimate_disk_usage, show
from crackdet.sweep.estimates import FlopEstimator, TimeEstimator
from crackdet.training.device import choose_device, precision_of
from crackdet.training.resources import MIB, estimate

WORDS = {
    Status.TODO: "to do",
    Status.INTERRUPTED: "resumable",
    Status.RUNNING: "running elsewhere",
    Status.CORRUPT: "corrupt, trained again",
}


@dataclass(frozen=True)
class Planned(RunRow):
    """A run that need not have begun, described by its configuration."""

    config: Config | None = None

    @property
    def tree(self) -> Mapping[str, Any]:
        assert self.config is not None
        return {group: value for group, value in to_dict(self.config).items() if group not in NON_IDENTITY}


def dry_run(jobs: Sequence[Job], costs: FlopEstimator) -> None:
    """Prints the runs with status, size and expected time.

    Raises:
        UserError: where a network cannot be built.
    """
    if not jobs:
        console().print("no runs: sweep.exclude leaves nothing")
        return
    device = choose_device(jobs[0].config.runtime)
    store = RunStore(jobs[0].run.root)
    pace = TimeEstimator((result for run in store.runs() if (result := read_result(run))), device.type)
    entries = [Planned(job.run.snapshot(), job.overrides, config=job.config) for job in jobs]
    keys = differing_keys(entries)
    table = Table("run", "what differs", "status")
    for name in ("parameters", "memory", "at most"):
        table.add_column(name, justify="right", no_wrap=True)
    total, known, finished = 0.0, True, 0
    todo: list[Config] = []
    sizes = Sizes(device)
    for job, entry in zip(jobs, entries, strict=True):
        seconds, done_with = None, job.is_finished()
        finished += done_with
        if not done_with:
            done = len(entry.snapshot.history)
            left = max(1, job.config.trainer.max_epochs - done)
            epoch = pace.epoch_seconds(job.config, costs)
            seconds = None if epoch is None else epoch * left
            todo += [job.config] if entry.status is not Status.RUNNING else []
            total, known = total + (seconds or 0.0), known and seconds is not None
        table.add_row(
            entry.id,
            escape_markup(describe(entry, keys)),
            _status(entry, job, done_with),
            *sizes.shown(job.config),
            "" if done_with else _duration(seconds),
        )
    console().print(table)
    expected = f", at most {_duration(total)}" if known and todo else ""
    console().print(f"{len(jobs)} runs, {finished} of them finished, {len(todo)} to train{expected}", highlight=False)
    if todo:
        free = show(free_bytes(store.root))
        console().print(
            f"they leave up to {describe_left(estimate_disk_usage(todo))}; {free} are free", highlight=False
        )


class Sizes:
    """Parameters and memory of runs; those that differ in neither, such as replicates, are built once."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._known: dict[str, tuple[str, str]] = {}

    def shown(self, config: Config) -> tuple[str, str]:
        key = repr((config.model, config.data.image_size, config.trainer, config.optimizer))
        if key not in self._known:
            memory = estimate(config, precision_of(config, self._device)).memory
            self._known[key] = f"{build_on_meta(config).num_parameters:,}", f"{memory / MIB:,.0f} MiB"
        return self._known[key]


def _status(entry: RunRow, job: Job, done_with: bool) -> str:
    word = WORDS.get(entry.status, str(entry.status))
    epochs = len(entry.snapshot.history)
    if entry.status in (Status.INTERRUPTED, Status.PRUNED, Status.RUNNING) and epochs:
        return f"{word}, epoch {epochs} of {job.config.trainer.max_epochs}"
    if entry.status is Status.FINISHED and not done_with:
        return "finished, trained again"
    return word


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 1 else "< 1 s"
