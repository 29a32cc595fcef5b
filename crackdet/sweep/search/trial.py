"""Trials: what the run store holds of a suggestion, and a suggestion that this search is training."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

import optuna

from crackdet.running.job import Job
from crackdet.store.failures import Failure
from crackdet.store.snapshot import RunSnapshot, Status
from crackdet.sweep.search.objectives import Objective, values_of
from crackdet.sweep.search.space import Key, Params, key_of


class Outcome(StrEnum):
    """The state of a trial."""

    COMPLETE = "complete"  # all its seeds are finished
    PRUNED = "pruned"
    FAILED = "failed"
    RUNNING = "running"  # in any process
    INTERRUPTED = "interrupted"  # to be resumed
    PARTIAL = "partial"  # a grid or another search has finished some of its seeds; treated as not suggested yet


@dataclass
class Trial:
    """A suggestion and its runs in the store, by seed."""

    params: Params
    runs: dict[str, RunSnapshot] = field(default_factory=dict)

    @cached_property
    def key(self) -> Key:
        return key_of(self.params)

    def outcome(self, seeds: Sequence[str]) -> Outcome:
        statuses = {run.status for run in self.runs.values()}
        if statuses == {Status.FINISHED}:
            return Outcome.COMPLETE if len(self.runs) == max(1, len(seeds)) else Outcome.PARTIAL
        for outcome in (Outcome.RUNNING, Outcome.PRUNED, Outcome.FAILED, Outcome.INTERRUPTED):
            if Status(outcome) in statuses:
                return outcome
        return Outcome.INTERRUPTED if Status.CORRUPT in statuses else Outcome.PARTIAL

    def values(self, objectives: Sequence[Objective]) -> list[float]:
        """Return the mean of each objective over the seeds.

        Raises:
            MissingObjective: If a run has no value for one of them.
        """
        columns = [values_of(run.result or {}, objectives) for run in self.runs.values()]
        return [sum(column) / len(column) for column in zip(*columns, strict=True)]

    def intermediate_values(self, column: str | None) -> dict[int, float]:
        """Return a column of `history.csv` by epoch: of the pruned run if there is one, else of the first."""
        pruned = [run for run in self.runs.values() if run.status is Status.PRUNED]
        return by_epoch((pruned or list(self.runs.values()))[0].history, column) if column else {}

    def is_retryable(self, max_attempts: int) -> bool:
        """Return whether all failed runs have attempts left."""
        failures = [run.failure for run in self.runs.values() if run.status is Status.FAILED]
        return all(
            failure.get("kind") == Failure.REFUSED
            or (failure.get("kind") == Failure.ERROR and int(failure.get("attempts", 0)) < max_attempts)
            for failure in failures
        )


@dataclass
class ActiveTrial:
    """A suggestion that this search trains, one seed after the other, since the first may be pruned."""

    params: Params
    jobs: dict[str, Job]  # by seed
    asked: optuna.trial.Trial | None = None  # None if a trial of the store is resumed
    seed: str = ""  # of the run that is being trained
    pending: deque[str] = field(init=False)  # seeds that are left

    def __post_init__(self) -> None:
        self.pending = deque(self.jobs)

    @cached_property
    def key(self) -> Key:
        return key_of(self.params)

    def next_job(self) -> Job | None:
        """Return the job of the next seed; None if none is left."""
        if not self.pending:
            return None
        self.seed = self.pending.popleft()
        return self.jobs[self.seed]


def by_epoch(history: Sequence[Mapping[str, str]], column: str) -> dict[int, float]:
    """Return a column of a run's history by epoch, without unreadable rows."""
    values = {}
    for row in history:
        try:
            values[int(row["epoch"])] = float(row[column])
        except (KeyError, ValueError, TypeError):
            continue
    return values
