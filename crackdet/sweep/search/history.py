"""The run store as the history of a search: which suggestions it knows, and what became of them."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

from crackdet.core.errors import UserError
from crackdet.core.files import read_json
from crackdet.store.failures import Failure
from crackdet.store.run import Run
from crackdet.store.run_store import RunStore
from crackdet.store.snapshot import RunSnapshot, Status
from crackdet.store.watcher import StoreWatcher
from crackdet.sweep.search.objectives import MissingObjective, Objective, values_of
from crackdet.sweep.search.space import Key, Match, Params, Space, key_of

log = logging.getLogger(__name__)


class Outcome(StrEnum):
    """What is known of a suggestion; by these words Optuna's states are chosen."""

    COMPLETE = "complete"  # all its seeds are finished
    PRUNED = "pruned"
    FAILED = "failed"
    RUNNING = "running"  # in whatever process
    INTERRUPTED = "interrupted"  # to be gone on with
    PARTIAL = "partial"  # some seeds are finished, by a grid or another search: as good as unknown


@dataclass
class Trial:
    """One suggestion with its runs, one a seed."""

    params: Params
    runs: dict[str, RunSnapshot] = field(default_factory=dict)

    @cached_property
    def key(self) -> Key:
        return key_of(self.params)

    def outcome(self, seeds: Sequence[str]) -> Outcome:
        found = {run.status for run in self.runs.values()}
        if found == {Status.FINISHED}:
            return Outcome.COMPLETE if len(self.runs) == max(1, len(seeds)) else Outcome.PARTIAL
        for status, outcome in (
            (Status.RUNNING, Outcome.RUNNING),
            (Status.PRUNED, Outcome.PRUNED),
            (Status.FAILED, Outcome.FAILED),
            (Status.INTERRUPTED, Outcome.INTERRUPTED),
            (Status.CORRUPT, Outcome.INTERRUPTED),
        ):
            if status in found:
                return outcome
        return Outcome.PARTIAL

    def values(self, objectives: Sequence[Objective]) -> list[float]:
        """The mean over the seeds; raises Lacking where a run has no such value."""
        columns = [values_of(run.result or {}, objectives) for run in self.runs.values()]
        return [sum(column) / len(column) for column in zip(*columns, strict=True)]

    def intermediate(self, column: str | None) -> dict[int, float]:
        """The values by epoch of the run that was pruned, where there is one, else of the first."""
        pruned = [run for run in self.runs.values() if run.status is Status.PRUNED]
        return by_epoch((pruned or list(self.runs.values()))[0].history, column) if column else {}

    def can_be_tried_again(self, limit: int) -> bool:
        """Whether a failed run among its runs has attempts left."""
        failures = [run.failure for run in self.runs.values() if run.status is Status.FAILED]
        return all(
            failure.get("kind") == Failure.REFUSED
            or (failure.get("kind") == Failure.ERROR and int(failure.get("attempts", 0)) < limit)
            for failure in failures
        )


def by_epoch(history: Sequence[Mapping[str, str]], column: str) -> dict[int, float]:
    """A column of a run's history by epoch; what cannot be read is not there."""
    values = {}
    for row in history:
        try:
            values[int(row["epoch"])] = float(row[column])
        except (KeyError, ValueError, TypeError):
            continue
    return values


class History:
    """The runs of the store that lie inside the space, by what would have to be suggested.

    `excludes` says of a suggestion whether the search leaves it out: its runs lie outside then.
    """

    def __init__(
        self,
        store: RunStore,
        space: Space,
        objectives: Sequence[Objective],
        excludes: Callable[[Params], bool] = lambda params: False,
    ) -> None:
        self.space = space
        self._excludes = excludes
        self._excluded: dict[Key, bool] = {}
        self.trials: dict[Key, Trial] = {}
        self._watcher = StoreWatcher(store)
        self._objectives = objectives
        self._open: dict[str, Run] = {}  # runs that lie inside, or may, and are not finished: those are read once
        self._located: dict[str, Match] = {}
        self._ended: set[str] = set()  # pruned and failed: looked at again if their files change
        self._values: dict[Key, list[float]] = {}  # of the complete trials
        self._lacking: Counter[str] = Counter()
        self._busy: set[Key] = set()

    def refresh(self, booked: Iterable[Mapping[str, Any]] = (), busy: Iterable[Params] = ()) -> None:
        """Looks for new runs, and again at those that may have changed.

        `booked` are the identities that other searches have suggested, `busy` what this one is at: they are running,
        even while nothing of them stands in the store.
        """
        theirs = [found.params for content in booked if (found := self._locate(content))]
        for key in self._busy.copy():
            self._let_go(key)
        for params in (*theirs, *busy):
            self._busy.add(self.trials.setdefault(key_of(params), Trial(params)).key)
        for run in self._watcher.update()[0]:
            self._open[run.id] = run
        for run in list(self._open.values()):
            if run.id not in self._located:
                content = read_json(run.identity_file)
                if not content:
                    continue  # a moment ago it was claimed
                located = self._locate(content)
                if located is None:
                    del self._open[run.id]
                    continue
                self._located[run.id] = located
            if run.id not in self._ended or self._watcher.has_changed(run):
                self._look(run, self._located[run.id])

    def add(self, params: Params, seed: str, run: Run) -> None:
        """A run that was suggested, however it would have been found."""
        self._located[run.id] = Match(params, seed)
        self._open[run.id] = run
        self._look(run, self._located[run.id])

    def release(self, params: Params) -> None:
        """What this search has been at, and is no more."""
        self._let_go(key_of(params))

    def outcomes(self) -> Iterator[tuple[Trial, Outcome]]:
        for trial in self.trials.values():
            yield trial, self._outcome(trial)

    def outcome(self, params: Params) -> Outcome | None:
        trial = self.trials.get(key_of(params))
        return self._outcome(trial) if trial else None

    def measured(self) -> list[tuple[Trial, list[float]]]:
        """The complete trials with their values; one whose runs lack an objective is said once, and left out."""
        found = []
        lacking: Counter[str] = Counter()
        for trial, outcome in self.outcomes():
            if outcome is not Outcome.COMPLETE:
                continue
            try:
                if trial.key not in self._values:
                    self._values[trial.key] = trial.values(self._objectives)
                found.append((trial, self._values[trial.key]))
            except MissingObjective as lack:
                lacking[str(lack)] += 1
        for name, count in lacking.items():
            if count > self._lacking[name]:
                log.warning(
                    "%d finished trials have no %s in their result.json and teach this search nothing; "
                    "runtime.retrain=true trains them again",
                    count, name,
                )  # fmt: skip
        self._lacking = lacking
        return found

    def _locate(self, content: Mapping[str, Any]) -> Match | None:
        located = self.space.locate(content)
        if located is None:
            return None
        key = key_of(located.params)
        if key not in self._excluded:
            try:
                self._excluded[key] = self._excludes(located.params)
            except UserError:  # it cannot be decided: nor would it be suggested
                self._excluded[key] = True
        return None if self._excluded[key] else located

    def _outcome(self, trial: Trial) -> Outcome:
        return Outcome.RUNNING if trial.key in self._busy else trial.outcome(self.space.seeds)

    def _let_go(self, key: Key) -> None:
        self._busy.discard(key)
        if key in self.trials and not self.trials[key].runs:
            del self.trials[key]

    def _look(self, run: Run, located: Match) -> None:
        trial = self.trials.setdefault(key_of(located.params), Trial(located.params))
        seed = located.seed if self.space.seeds else ""
        if seed in trial.runs and trial.runs[seed].status is Status.FINISHED:
            self._open.pop(run.id, None)
            return
        snapshot = run.snapshot()
        status = snapshot.status
        if status is Status.FINISHED:
            self._open.pop(run.id, None)
        if status in (Status.PRUNED, Status.FAILED):
            self._ended.add(run.id)
        else:
            self._ended.discard(run.id)
        if status is Status.TODO:
            trial.runs.pop(seed, None)
            if not trial.runs and trial.key not in self._busy:
                del self.trials[trial.key]
            return
        trial.runs[seed] = snapshot


def plain(params: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """What was suggested as the values that configurations hold."""
    own = {parameter.name: parameter for parameter in space.parameters_of(dict(params))}
    return {name: own[name].value(suggested) for name, suggested in params.items()}
