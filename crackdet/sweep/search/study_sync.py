"""The study: Optuna's picture of what the run store knows. It lives in memory and is rebuilt at each start."""

import logging
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from crackdet.core.errors import UserError
from crackdet.sweep.search.history import History, Outcome, Trial
from crackdet.sweep.search.objectives import MissingObjective, Objective
from crackdet.sweep.search.space import Key, Space, key_of

log = logging.getLogger(__name__)

STATES = {
    Outcome.COMPLETE: TrialState.COMPLETE,
    Outcome.PRUNED: TrialState.PRUNED,
    Outcome.FAILED: TrialState.FAIL,
}
RUNS = "runs"  # attribute of a trial in a user's storage: the ids of its runs


class StudySync:
    """A study in memory that is told what the history knows, each trial once, and again where it became another.

    What is running enters it as running, whoever trains it, so that a sampler with a constant liar (TPE) keeps away
    from it.
    """

    def __init__(self, objectives: Sequence[Objective], mirror: "StorageMirror | None" = None) -> None:
        self.study = optuna.create_study(directions=[objective.direction for objective in objectives])
        self._objectives = objectives
        self._mirror = mirror
        self._told: dict[Key, Outcome] = {}
        self._asked: dict[Key, optuna.trial.Trial] = {}  # here, and not yet ended
        self._lies: dict[Key, int] = {}  # numbers of the trials that stand for those of others

    def begin(self, asked: optuna.trial.Trial, params: dict[str, Any]) -> None:
        """A suggestion is being trained."""
        self._asked[key_of(params)] = asked

    def update(self, history: History) -> None:
        """Tells what has ended since the last time, and what has begun, by whatever process."""
        running = set()
        for trial, outcome in history.outcomes():
            if self._told.get(trial.key) in (Outcome.COMPLETE, outcome):
                continue  # a failed one may be tried again, a pruned one be finished
            if outcome is Outcome.RUNNING:
                running.add(trial.key)
                if trial.key not in self._asked and trial.key not in self._lies:
                    self._lies[trial.key] = self._lie(trial, history.space)
            elif frozen := self._frozen(trial, outcome, history.space):
                self._tell(trial.key, frozen)
                self._told[trial.key] = outcome
        for key in (self._asked.keys() | self._lies.keys()) - running:  # stopped, or not even begun
            self._fail(key)

    def repeat(self, asked: optuna.trial.Trial, values: Sequence[float] | None) -> None:
        """Ends a suggestion that was made before: with its values where the sampler lives on them."""
        if values is None:
            self.study.tell(asked, state=TrialState.FAIL)
        else:
            self.study.tell(asked, values=values)

    def _tell(self, key: Key, frozen: FrozenTrial) -> None:
        """A trial that has ended: told as what was asked here, or added as what it is."""
        asked = self._asked.pop(key, None)
        if asked is None:
            self._fail(key)
            self.study.add_trial(frozen)
        elif frozen.state == TrialState.FAIL:
            self.study.tell(asked, state=TrialState.FAIL)
        elif frozen.state == TrialState.PRUNED:
            for step, value in frozen.intermediate_values.items():
                asked.report(value, step)
            self.study.tell(asked, state=TrialState.PRUNED)
        else:
            self.study.tell(asked, values=frozen.values)
        if self._mirror:
            self._mirror.add(frozen)

    def _lie(self, trial: Trial, space: Space) -> int:
        distributions = {p.name: p.distribution() for p in space.parameters_of(trial.params)}
        self.study.add_trial(create_trial(state=TrialState.RUNNING, params=trial.params, distributions=distributions))
        return len(self.study.get_trials(deepcopy=False)) - 1

    def _fail(self, key: Key) -> None:
        if (trial := self._asked.pop(key, self._lies.pop(key, None))) is not None:
            self.study.tell(trial, state=TrialState.FAIL)

    def _frozen(self, trial: Trial, outcome: Outcome, space: Space) -> FrozenTrial | None:
        """The trial as Optuna keeps it; None where it has not ended, or lacks an objective."""
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
            distributions={p.name: p.distribution() for p in space.parameters_of(trial.params)},
            intermediate_values=trial.intermediate(self._objectives[0].column) if pruned else None,
            user_attrs={RUNS: [run.id for run in trial.runs.values()]},
        )


class StorageMirror:
    """A user's own storage (`hydra.sweeper.storage`), for dashboards: written, never read from by the search.

    Only trials that have ended go there, so none is left running when a process dies. What goes wrong with it once the
    search has begun is said, and ends nothing.

    Raises:
        UserError: where the storage cannot be used.
    """

    def __init__(self, storage: Any, study_name: str | None, objectives: Sequence[Objective]) -> None:
        self._where = f"hydra.sweeper.storage={storage}"
        directions = [objective.direction for objective in objectives]
        try:
            self._study = optuna.create_study(
                storage=storage, study_name=study_name or "crackdet", directions=directions, load_if_exists=True
            )
            same = [direction.name.lower() for direction in self._study.directions] == directions
        except Exception as error:  # a database driver, SQLAlchemy, the network: anything
            raise UserError(
                f"{self._where}: Optuna {optuna.__version__} cannot use it ({_short(error)}); none is needed, the run "
                "store holds all there is to know: hydra.sweeper.storage=null"
            ) from None
        if not same:
            raise UserError(
                f"hydra.sweeper.study_name={self._study.study_name}: the study in {storage} has other objectives; "
                "give another name"
            )
        self._known: set[tuple[frozenset[str], TrialState]] = set()
        self._is_silent = False

    def add(self, trial: FrozenTrial) -> None:
        if self._is_silent:
            return
        try:
            if _said(trial) not in self._known:  # as far as is known: another search may have written it
                self._known = {_said(other) for other in self._study.get_trials(deepcopy=False)}
            if _said(trial) not in self._known:
                self._study.add_trial(trial)
        except Exception as error:
            self._is_silent = True
            log.warning(
                "%s: a trial cannot be written into the study %s (%s); the search goes on without it. A study of "
                "another space needs another hydra.sweeper.study_name",
                self._where, self._study.study_name, _short(error),
            )  # fmt: skip


def _said(trial: FrozenTrial) -> tuple[frozenset[str], TrialState]:
    """What a trial of the mirror says: which runs, and what became of them."""
    return frozenset(trial.user_attrs.get(RUNS, ())), trial.state


def _short(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
