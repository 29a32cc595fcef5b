"""What can be deleted from a run store without losing a result."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from crackdet.analysis.ranking import summarize
from crackdet.core.errors import StoreError
from crackdet.store.run_store import AlreadyRunning, Run, RunStore, Status


@dataclass(frozen=True)
class Removable:
    """A file that is no longer needed."""

    run: Run
    path: Path
    why: str

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0


def removable(store: RunStore, keep_weights: str = "all") -> list[Removable]:
    """Resume states of finished runs, weights beyond those to keep (`all`, `best:k`, `none`), orphaned temporaries."""
    return [*_states_and_temporaries(store), *spare_weights(store, keep_weights)]


def spare_weights(store: RunStore, keep_weights: str, among: Collection[str] | None = None) -> list[Removable]:
    """The weights that `runtime.keep_weights` does not keep; `among` are the ids of the runs in question, None is all.

    Of each set of validation images `best:k` keeps those of the best k and of the run that the summary says to take.
    """
    if keep_weights == "all":
        return []
    keep = 0 if keep_weights == "none" else int(keep_weights.partition(":")[2])
    summary = summarize(store.root)
    decisions = summary.decisions if keep else []
    recommended = {decision.recommended.id for decision in decisions if decision is not None}
    return [
        Removable(entry.run, entry.run.weights_file, f"weights beyond {keep_weights}")
        for ranking in summary.rankings
        for entry in ranking[keep:]
        if (among is None or entry.id in among) and entry.id not in recommended and entry.run.weights_file.exists()
    ]


def remove(items: Sequence[Removable]) -> list[Removable]:
    """Deletes the files, but none of a run that another process or user holds; gives those that it deleted."""
    removed = []
    for item in items:
        try:
            with item.run.claim():
                item.path.unlink(missing_ok=True)
                removed.append(item)
        except (AlreadyRunning, StoreError, PermissionError):
            continue
    return removed


def _states_and_temporaries(store: RunStore) -> Iterator[Removable]:
    for run in store.runs():
        status = run.status()
        if status is Status.RUNNING:
            continue
        if status is Status.FINISHED and run.state_file.exists():
            yield Removable(run, run.state_file, "resume state of a finished run")
        for path in run.directory.glob(".*.tmp"):
            yield Removable(run, path, "left by a process that died")
