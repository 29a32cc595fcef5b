"""The study: Optuna's view of the history. It lives in memory and is rebuilt at each start."""

import logging
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from crackdet.core.errors import UserError, first_line
from crackdet.sweep.search.history import History
from crackdet.sweep.search.objectives import MissingObjective, Objective
from crackdet.sweep.search.space import Key, Space
from crackdet.sweep.search.trial import ActiveTrial, Outcome, Trial

log = logging.getLogger(__name__)

STATES = {
    Outcome.COMPLETE: TrialState.COMPLETE,
    Outcome.PRUNED: TrialState.PRUNED,
    Outcome.FAILED: TrialState.FAIL,
}
RUNS = "runs"  # user attribute of a trial in a user's storage: the ids of its runs


class StudySync:
    """Keeps a study in memory in step with the history: each trial once, and again if its outcome changes.

    Trials that run in other processes enter the study as running placeholders, so that a sampler with a constant liar
    (TPE) stays away from them.
    """

    def __init__(self, objectives: Sequence[Objective], mirror: "StorageMirror | None" = None) -> None:
        self.study = optuna.create_study(directions=[objective.direction for objective in objectives])
        self._objectives = objectives
        self._mirror = mirror
        self._outcomes: dict[Key, Outcome] = {}
        self._optuna_trials: dict[Key, optuna.trial.Trial] = {}  # trials that this search is training
        self._placeholders: dict[Key, int] = {}  # numbers of the study's trials that other processes train

    def begin(self, trial: ActiveTrial) -> None:
        """Take note that a suggestion is being trained."""
        if trial.asked is not None:
            self._optuna_trials[trial.key] = trial.asked

    def tell(self, history: History) -> None:
        """Tell the study what has begun or ended since the last call, in any process."""
        running = set()
        for trial, outcome in history.outcomes():
            if self._outcomes.get(trial.key) in (Outcome.COMPLETE, outcome):
                continue  # a failed trial may be retried, a pruned one finished
            if outcome is Outcome.RUNNING:
                running.add(trial.key)
                if trial.key not in self._optuna_trials and trial.key not in self._placeholders:
                    self._placeholders[trial.key] = self._add_placeholder(trial, history.space)
            elif frozen := self._freeze(trial, outcome, history.space):
                self._tell_ended(trial.key, frozen)
                self._outcomes[trial.key] = outcome
        for key in (self._optuna_trials.keys() | self._placeholders.keys()) - running:  # stopped, or never begun
            self._fail(key)

    def close_untrained(self, asked: optuna.trial.Trial, values: Sequence[float] | None) -> None:
        """End a suggestion that is not trained: with known values, or as failed."""
        if values is None:
            self.study.tell(asked, state=TrialState.FAIL)
        else:
            self.study.tell(asked, values=values)

    def _tell_ended(self, key: Key, frozen: FrozenTrial) -> None:
        asked = self._optuna_trials.pop(key, None)
        if asked is None:
            self._fail(key)
            self.study.add_trial(frozen)
        elif frozen.state == TrialState.COMPLETE:
            self.study.tell(asked, values=frozen.values)
        else:
            for step, value in frozen.intermediate_values.items():
                asked.report(value, step)
            self.study.tell(asked, state=frozen.state)
        if self._mirror:
            self._mirror.add(frozen)

    def _add_placeholder(self, trial: Trial, space: Space) -> int:
        distributions = space.distributions(trial.params)
        self.study.add_trial(create_trial(state=TrialState.RUNNING, params=trial.params, distributions=distributions))
        return len(self.study.get_trials(deepcopy=False)) - 1

    def _fail(self, key: Key) -> None:
        if (trial := self._optuna_trials.pop(key, self._placeholders.pop(key, None))) is not None:
            self.study.tell(trial, state=TrialState.FAIL)

    def _freeze(self, trial: Trial, outcome: Outcome, space: Space) -> FrozenTrial | None:
        """Return the trial as Optuna stores it; None if it has not ended or lacks an objective."""
        if outcome not in STATES:
            return None
        try:
            values = trial.values(self._objectives) if outcome is Outcome.COMPLETE else None
        except MissingObjective:
            return None
        single = len(self._objectives) == 1
        pruned = outcome is Outcome.PRUNED and single
        return create_trial(
            state=TrialState.FAIL if outcome is Outcome.PRUNED and not single else STATES[outcome],
            values=values,
            params=trial.params,
            distributions=space.distributions(trial.params),
            intermediate_values=trial.intermediate_values(self._objectives[0].column) if pruned else None,
            user_attrs={RUNS: [run.id for run in trial.runs.values()]},
        )


class StorageMirror:
    """Writes ended trials into a user's own storage (`hydra.sweeper.storage`), for dashboards; reads no results there.

    No trial is left running there if a process dies. An error during the search is logged once and ends nothing.

    Raises:
        UserError: If the storage cannot be used.
    """

    def __init__(self, storage: Any, study_name: str | None, objectives: Sequence[Objective]) -> None:
        self._setting = f"hydra.sweeper.storage={storage}"
        directions = [objective.direction for objective in objectives]
        try:
            self._study = optuna.create_study(
                storage=storage, study_name=study_name or "crackdet", directions=directions, load_if_exists=True
            )
            same = [direction.name.lower() for direction in self._study.directions] == directions
        except Exception as error:  # anything: a database driver, SQLAlchemy, the network
            raise UserError(
                f"{self._setting}: Optuna {optuna.__version__} cannot use this storage ({first_line(error)}). "
                "A search needs no storage: set hydra.sweeper.storage=null"
            ) from None
        if not same:
            raise UserError(
                f"hydra.sweeper.study_name={self._study.study_name}: the study in {storage} has other objectives; "
                "give another name"
            )
        self._written: set[tuple[frozenset[str], TrialState]] = set()
        self._is_broken = False

    def add(self, trial: FrozenTrial) -> None:
        """Write a trial unless it is there."""
        if self._is_broken:
            return
        try:
            if _content(trial) not in self._written:  # another search may have written it
                self._written = {_content(other) for other in self._study.get_trials(deepcopy=False)}
            if _content(trial) not in self._written:
                self._study.add_trial(trial)
        except Exception as error:
            self._is_broken = True
            log.warning(
                "%s: a trial cannot be written into the study %s (%s); the search continues without it. A study of "
                "another space needs another hydra.sweeper.study_name",
                self._setting, self._study.study_name, first_line(error),
            )  # fmt: skip


def _content(trial: FrozenTrial) -> tuple[frozenset[str], TrialState]:
    """Return a trial's runs and state, by which it is recognized in a storage."""
    return frozenset(trial.user_attrs.get(RUNS, ())), trial.state
