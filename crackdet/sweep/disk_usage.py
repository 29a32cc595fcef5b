"""What the runs of a sweep leave on disk, which is told before it is full. Imports torch where networks are built."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from crackdet.config.schema import Config
from crackdet.core.files import free_bytes
from crackdet.running.job import Job
from crackdet.store.run import Run

GIB = 2**30
MUCH = GIB  # of states at the end of a sweep: less is not worth a line

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DiskUsage:
    """Bytes, about, that runs leave when they are finished."""

    weights: int
    states: int  # from which they can be trained for more epochs

    @property
    def total(self) -> int:
        return self.weights + self.states


def estimate_disk_usage(configs: Iterable[Config]) -> DiskUsage:
    """What the runs of these configurations leave at most.

    Raises:
        UserError: where a network cannot be built.
    """
    from crackdet.models.factory import build_on_meta
    from crackdet.training.resources import resume_state_bytes, weight_sizes

    known: dict[str, tuple[int, int]] = {}
    weights, states, keep, sets = [], 0, "all", set()
    for config in configs:
        keep = config.runtime.keep_weights
        sets.add(repr(config.data))
        key = repr((config.model, config.data.image_size))
        if key not in known:
            known[key] = weight_sizes(build_on_meta(config))
        weights.append(known[key][0])
        states += resume_state_bytes(config, *known[key])
    kept = {"all": len(weights), "none": 0}.get(keep)
    if kept is None:  # best:N of each set of images, and the one to take
        kept = (int(keep.partition(":")[2]) + 1) * len(sets)
    return DiskUsage(sum(sorted(weights, reverse=True)[:kept]), states)


def describe(left: DiskUsage) -> str:
    """`12.3 GiB on disk, 9.2 GiB of them to be trained longer from`."""
    states = f", {show(left.states)} of them to be trained longer from" if left.states else ""
    return f"{show(left.total)} on disk{states}"


def show(size: int) -> str:
    """`12.3 GiB`, or `512 MiB`."""
    return f"{size / GIB:.1f} GiB" if size >= GIB else f"{size / 2**20:.0f} MiB"


def warn_of_room(jobs: Sequence[Job]) -> None:
    """Says so where the runs of a sweep will not find room for all that they leave."""
    if not jobs:
        return
    store, left = jobs[0].run.root, estimate_disk_usage(job.config for job in jobs)
    if left.total > (free := free_bytes(store)):
        log.warning(
            "careful: these runs leave up to %s, and %s are free in %s; runtime.keep_resume_mib=0 and "
            "runtime.keep_weights=best:3 leave less",
            describe(left), show(free), store,
        )  # fmt: skip


def log_checkpoint_usage(runs: Iterable[Run]) -> None:
    """Says how much the states of finished runs take, where that is much."""
    files = [run.state_file for run in runs]
    size = sum(file.stat().st_size for file in files if file.exists())
    if size > MUCH:
        store = files[0].parent.parent
        log.info(
            "the states from which these runs can be trained longer take %s; "
            "crackdet clean --store %s shows them, and --yes deletes them",
            show(size), store,
        )  # fmt: skip
