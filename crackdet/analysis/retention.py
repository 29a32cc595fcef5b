"""`runtime.keep_weights`: which weights of finished runs are kept.

`best:k` keeps, for each set of validation images, the best k of the runs that still have weights, and the run that the
summary recommends.
"""

import os
from collections.abc import Collection
from pathlib import Path

from crackdet.analysis.ranking import rank, summarize
from crackdet.analysis.rows import RunRow
from crackdet.store.garbage import Removable, remove
from crackdet.store.index import read_snapshots
from crackdet.store.paths import WEIGHTS
from crackdet.store.run import Run
from crackdet.store.run_store import RunStore
from crackdet.store.sweep_record import SweepRecord


def spare_weights(
    store: RunStore, keep_weights: str, among: Collection[str] | None = None, tolerated: int = 0
) -> list[Removable]:
    """Return the weights that are not kept.

    Args:
        store: The store, all runs of which are ranked.
        keep_weights: `all`, `none` or `best:k`.
        among: Ids of the runs whose weights may be deleted; None means all.
        tolerated: Return nothing if at most this many runs are beyond the best k. Otherwise the whole store is ranked
            to find the recommended runs.
    """
    if keep_weights == "all":
        return []
    kept = num_kept(keep_weights)
    with_weights = [run for run in store.runs() if os.path.exists(f"{run.directory}/{WEIGHTS}")]  # noqa: PTH110
    if among is not None and not any(run.id in among for run in with_weights):
        return []
    rankings = rank(map(RunRow, read_snapshots(with_weights)))
    spare = [row.run for ranking in rankings for row in ranking[kept:] if among is None or row.id in among]
    if len(spare) <= tolerated:
        return []
    recommended = {decision.recommended.id for decision in (summarize(store.root).decisions if kept else ())}
    why = f"weights beyond {keep_weights}"
    return [Removable(run, run.weights_file, why) for run in spare if run.id not in recommended]


def num_kept(keep_weights: str) -> int:
    """Return the k of `best:k`; 0 for `none`."""
    return int(keep_weights.removeprefix("best:").replace("none", "0"))


def clean_after_run(run: Run, keep_weights: str, sweep: Path | None) -> None:
    """Delete spare weights of this run and of its sweep.

    During a sweep up to k weights files more than `best:k` may stay until `clean_after_sweep`, so that the store is not
    ranked after each run.
    """
    among = {run.id, *(SweepRecord(sweep).runs() if sweep else ())}
    tolerated = num_kept(keep_weights) if sweep else 0
    remove(spare_weights(RunStore(run.root), keep_weights, among, tolerated))


def clean_after_sweep(sweep: Path, keep_weights: str) -> None:
    """Delete the spare weights of the runs of a sweep."""
    record = SweepRecord(sweep)
    store = record.store()
    if keep_weights != "all" and store is not None:
        remove(spare_weights(RunStore(store), keep_weights, record.runs()))
