"""Estimates how much disk space the runs of a sweep need. Imports torch where networks are built."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from crackdet.config.schema import Config
from crackdet.core.files import free_bytes
from crackdet.running.job import Job
from crackdet.store.run import Run

GIB = 2**30

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DiskUsage:
    """Approximate bytes that finished runs take."""

    weights: int
    states: int  # resume states, from which runs can be trained for more epochs

    @property
    def total(self) -> int:
        return self.weights + self.states

    def __str__(self) -> str:
        states = f", {format_bytes(self.states)} of them resume states" if self.states else ""
        return f"{format_bytes(self.total)} on disk{states}"


def estimate_disk_usage(configs: Iterable[Config]) -> DiskUsage:
    """Return an upper limit of what the runs of these configurations take once they are finished.

    Raises:
        UserError: If a network cannot be built.
    """
    from crackdet.models.factory import build_on_meta
    from crackdet.training.resources import resume_state_bytes, weight_sizes

    sizes: dict[str, tuple[int, int]] = {}
    weights, states, keep_weights, datasets = [], 0, "all", set()
    for config in configs:
        keep_weights = config.runtime.keep_weights
        datasets.add(repr(config.data))
        key = repr((config.model, config.data.image_size))
        if key not in sizes:
            sizes[key] = weight_sizes(build_on_meta(config))
        weights.append(sizes[key][0])
        states += resume_state_bytes(config, *sizes[key])
    num_kept = {"all": len(weights), "none": 0}.get(keep_weights)
    if num_kept is None:  # best:N of each data set, and the recommended run
        num_kept = (int(keep_weights.partition(":")[2]) + 1) * len(datasets)
    return DiskUsage(sum(sorted(weights, reverse=True)[:num_kept]), states)


def format_bytes(size: int) -> str:
    """Return `12.3 GiB` or `512 MiB`."""
    return f"{size / GIB:.1f} GiB" if size >= GIB else f"{size / 2**20:.0f} MiB"


def warn_if_disk_is_short(jobs: Sequence[Job]) -> None:
    """Log a warning if the runs of a sweep may need more disk space than is free."""
    if not jobs:
        return
    store, usage = jobs[0].run.root, estimate_disk_usage(job.config for job in jobs)
    if usage.total > (free := free_bytes(store)):
        log.warning(
            "disk space may run out: these runs take up to %s, and %s has %s free; set runtime.keep_resume_mib=0 or "
            "runtime.keep_weights=best:3 to need less",
            usage, store, format_bytes(free),
        )  # fmt: skip


def log_checkpoint_usage(runs: Iterable[Run]) -> None:
    """Log how much disk space the resume states of finished runs take, if it is much."""
    files = [run.state_file for run in runs]
    size = sum(file.stat().st_size for file in files if file.exists())
    if size > GIB:
        log.info(
            "the resume states of these runs take %s; crackdet clean --store %s lists them, and --yes deletes them",
            format_bytes(size), files[0].parent.parent,
        )  # fmt: skip
