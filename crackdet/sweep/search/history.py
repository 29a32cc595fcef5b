"""The run store as the history of a search: the trials that it holds, and their outcomes."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from crackdet.core.errors import UserError
from crackdet.store.identity import read_identity
from crackdet.store.run import Run
from crackdet.store.run_store import RunStore
from crackdet.store.snapshot import Status
from crackdet.store.watcher import StoreWatcher
from crackdet.sweep.search.objectives import MissingObjective, Objective
from crackdet.sweep.search.space import Key, Match, Params, Space, key_of
from crackdet.sweep.search.trial import Outcome, Trial

log = logging.getLogger(__name__)


class History:
    """The runs of a store that lie inside the search space, grouped into trials.

    Args:
        excludes: Returns whether the search leaves a suggestion out; its runs then lie outside the space.
    """

    def __init__(
        self,
        store: RunStore,
        space: Space,
        objectives: Sequence[Objective],
        excludes: Callable[[Params], bool] = lambda params: False,
    ) -> None:
        self.space, self.objectives = space, objectives
        self.trials: dict[Key, Trial] = {}
        self._excludes = excludes
        self._excluded: dict[Key, bool] = {}
        self._watcher = StoreWatcher(store)
        self._open: dict[str, Run] = {}  # runs that may lie inside the space and are not known to be finished
        self._matches: dict[str, Match] = {}  # by run id
        self._ended: set[str] = set()  # ids of pruned and failed runs, which are read again only if their files change
        self._values: dict[Key, list[float]] = {}  # of the complete trials
        self._num_missing: Counter[str] = Counter()  # trials without a value, by objective
        self._active: set[Key] = set()

    def refresh(self, reserved: Iterable[Mapping[str, Any]] = (), active: Iterable[Params] = ()) -> None:
        """Read the runs that are new or may have changed.

        Args:
            reserved: Identities of the runs that other searches have suggested: running, even if the store has no
                trace of them yet.
            active: Suggestions that this search is training, likewise.
        """
        elsewhere = [match.params for content in reserved if (match := self._match(content))]
        for key in self._active.copy():
            self.release(key)
        for params in (*elsewhere, *active):
            self._active.add(self.trials.setdefault(key_of(params), Trial(params)).key)
        for run in self._watcher.update()[0]:
            self._open[run.id] = run
        for run in list(self._open.values()):
            if run.id not in self._matches:
                content = read_identity(run)
                if not content:
                    continue  # claimed a moment ago
                match = self._match(content)
                if match is None:
                    del self._open[run.id]
                    continue
                self._matches[run.id] = match
            if run.id not in self._ended or self._watcher.has_changed(run):
                self._read(run, self._matches[run.id])

    def add(self, params: Params, seed: str, run: Run) -> None:
        """Read a run that belongs to a suggestion, whatever its identity says."""
        self._matches[run.id] = Match(params, seed)
        self._open[run.id] = run
        self._read(run, self._matches[run.id])

    def release(self, key: Key) -> None:
        """Stop counting a suggestion as running."""
        self._active.discard(key)
        if key in self.trials and not self.trials[key].runs:
            del self.trials[key]

    def outcomes(self) -> Iterator[tuple[Trial, Outcome]]:
        for trial in self.trials.values():
            yield trial, self._outcome(trial)

    def outcome(self, params: Params) -> Outcome | None:
        """Return the outcome of a suggestion; None if it is unknown."""
        trial = self.trials.get(key_of(params))
        return self._outcome(trial) if trial else None

    def knows(self, params: Params) -> bool:
        """Return whether a suggestion needs no training, or is being trained."""
        return self.outcome(params) not in (None, Outcome.PARTIAL)

    def values(self, trial: Trial) -> list[float]:
        """Return the objectives of a complete trial.

        Raises:
            MissingObjective: If a run has no value for one of them.
        """
        if trial.key not in self._values:
            self._values[trial.key] = trial.values(self.objectives)
        return self._values[trial.key]

    def complete_trials(self) -> list[tuple[Trial, list[float]]]:
        """Return the complete trials with their values; warn once of those without a value, and leave them out."""
        found = []
        num_missing: Counter[str] = Counter()
        for trial, outcome in self.outcomes():
            if outcome is Outcome.COMPLETE:
                try:
                    found.append((trial, self.values(trial)))
                except MissingObjective as missing:
                    num_missing[str(missing)] += 1
        for name, count in num_missing.items():
            if count > self._num_missing[name]:
                log.warning(
                    "%d finished trials have no %s in their result.json and are ignored; runtime.retrain=true in a "
                    "grid trains them again",
                    count, name,
                )  # fmt: skip
        self._num_missing = num_missing
        return found

    def count(self) -> int:
        """Return how many trials count towards `n_trials`: all that were begun, and are not ignored."""
        begun = (Outcome.PRUNED, Outcome.FAILED, Outcome.RUNNING, Outcome.INTERRUPTED)
        return len(self.complete_trials()) + sum(outcome in begun for _, outcome in self.outcomes())

    def _match(self, content: Mapping[str, Any]) -> Match | None:
        match = self.space.match_identity(content)
        if match is None:
            return None
        key = key_of(match.params)
        if key not in self._excluded:
            try:
                self._excluded[key] = self._excludes(match.params)
            except UserError:  # sweep.exclude cannot be evaluated, so it would not be suggested either
                self._excluded[key] = True
        return None if self._excluded[key] else match

    def _outcome(self, trial: Trial) -> Outcome:
        return Outcome.RUNNING if trial.key in self._active else trial.outcome(self.space.seeds)

    def _read(self, run: Run, match: Match) -> None:
        trial = self.trials.setdefault(key_of(match.params), Trial(match.params))
        seed = match.seed if self.space.seeds else ""
        if seed in trial.runs and trial.runs[seed].status is Status.FINISHED:
            self._open.pop(run.id, None)
            return
        snapshot = run.snapshot()
        if snapshot.status is Status.FINISHED:
            self._open.pop(run.id, None)
        if snapshot.status in (Status.PRUNED, Status.FAILED):
            self._ended.add(run.id)
        else:
            self._ended.discard(run.id)
        if snapshot.status is not Status.TODO:
            trial.runs[seed] = snapshot
            return
        trial.runs.pop(seed, None)
        if not trial.runs and trial.key not in self._active:
            del self.trials[trial.key]
