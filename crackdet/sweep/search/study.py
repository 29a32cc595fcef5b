"""The study: Optuna's picture of what the run store knows. It lives in memory and is rebuilt at each start."""

from collections.abc import Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from crackdet.errors import UserError
from crackdet.sweep.search.distributions import distribution
from crackdet.sweep.search.history import History, Outcome, Trial
from crackdet.sweep.search.objectives import Lacking, Objective
from crackdet.sweep.search.space import Key, Space, key_of

STATES = {
    Outcome.COMPLETE: TrialState.COMPLETE,
    Outcome.PRUNED: TrialState.PRUNED,
    Outcome.FAILED: TrialState.FAIL,
}
RUNS = "runs"  # attribute of a trial in a user's storage: the ids of its runs


class StudyView:
    """A study in memory that is told what the history knows, each trial once."""

    def __init__(self, objectives: Sequence[Objective], mirror: "Mirror | None" = None) -> None:
        self.study = optuna.create_study(directions=[objective.direction for objective in objectives])
        self._objectives = objectives
        self._mirror = mirror
        self._told: set[Key] = set()

    def update(self, history: History) -> None:
        """Adds the trials that have ended since the last time, by whatever process."""
        for trial, outcome in history.outcomes():
            if trial.key not in self._told and (frozen := self._frozen(trial, outcome, history.space)):
                self.study.add_trial(frozen)
                self._note(trial, frozen)

    def tell(self, asked: optuna.trial.Trial, history: History, params: dict[str, Any]) -> Outcome | None:
        """Tells what has become of a suggestion, by the store; what has not ended is no trial, and told as failed."""
        trial, outcome = history.trials.get(key_of(params)), history.outcome(params)
        frozen = self._frozen(trial, outcome, history.space) if trial and outcome else None
        if trial is None or frozen is None or frozen.state == TrialState.FAIL:
            self.study.tell(asked, state=TrialState.FAIL)
        elif frozen.state == TrialState.PRUNED:
            for step, value in frozen.intermediate_values.items():
                asked.report(value, step)
            self.study.tell(asked, state=TrialState.PRUNED)
        else:
            self.study.tell(asked, values=frozen.values)
        if trial and frozen:
            self._note(trial, frozen)
        return outcome

    def repeat(self, asked: optuna.trial.Trial, values: Sequence[float] | None) -> None:
        """Ends a suggestion that was made before: with its values where the sampler lives on them."""
        if values is None:
            self.study.tell(asked, state=TrialState.FAIL)
        else:
            self.study.tell(asked, values=list(values))

    def _note(self, trial: Trial, frozen: FrozenTrial) -> None:
        if trial.key not in self._told:
            self._told.add(trial.key)
            if self._mirror:
                self._mirror.add(frozen)

    def _frozen(self, trial: Trial, outcome: Outcome, space: Space) -> FrozenTrial | None:
        """The trial as Optuna keeps it; None where it has not ended, or lacks an objective."""
        if outcome not in STATES:
            return None
        try:
            values = trial.values(self._objectives) if outcome is Outcome.COMPLETE else None
        except Lacking:
            return None
        single = len(self._objectives) == 1
        pruned = outcome is Outcome.PRUNED and single
        return create_trial(
            state=TrialState.FAIL if outcome is Outcome.PRUNED and not single else STATES[outcome],
            values=values,
            params=trial.params,
            distributions={p.name: distribution(p) for p in space.parameters_of(trial.params)},
            intermediate_values=trial.intermediate(self._objectives[0].column) if pruned else None,
            user_attrs={RUNS: [run.id for run in trial.runs.values()]},
        )


class Mirror:
    """A user's own storage (`hydra.sweeper.storage`), for dashboards: written, never read from by the search.

    Only trials that have ended go there, so none is left running when a process dies.

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
            known = self._study.get_trials(deepcopy=False)
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
        self._known = {tuple(trial.user_attrs.get(RUNS, ())) for trial in known}

    def add(self, trial: FrozenTrial) -> None:
        runs = tuple(trial.user_attrs[RUNS])
        if runs in self._known:
            return
        self._known.add(runs)
        try:
            self._study.add_trial(trial)
        except Exception as error:
            raise UserError(
                f"{self._where}: a trial cannot be written into the study {self._study.study_name} "
                f"({_short(error)}); a study of another space needs another hydra.sweeper.study_name"
            ) from None


def _short(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
