"""The next suggestion: one that can be trained, is not excluded, and is not known yet."""

import logging
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import optuna

from crackdet.core.errors import UserError
from crackdet.running.job import Job
from crackdet.store.snapshot import Status
from crackdet.sweep.search.history import History, Outcome
from crackdet.sweep.search.objectives import MissingObjective, Objective
from crackdet.sweep.search.samplers import Sampler, derived, missing
from crackdet.sweep.search.space import Key, Params, key_of
from crackdet.sweep.search.space_builder import JobFactory
from crackdet.sweep.search.study_sync import StudySync

log = logging.getLogger(__name__)

TRIES = 20  # suggestions of the sampler until one that is not known is drawn by chance
ENDLESS_TRIES = 200  # in a space that cannot be listed
LISTED = 100_000  # suggestions: of a smaller space it is known when all have been made
SAME_PROBLEM, PROBLEMS = 10, 20  # suggestions that cannot be trained, before any that can


@dataclass(frozen=True)
class Suggestion:
    """What is to be trained, one job a seed; `asked` is None of a trial that goes on from an earlier time."""

    params: Params
    jobs: dict[str, Job]
    asked: optuna.trial.Trial | None


class Proposer:
    """Asks the sampler, and answers from the store what the store knows."""

    def __init__(
        self, view: StudySync, history: History, planner: JobFactory, sampler: Sampler, objectives: Sequence[Objective]
    ) -> None:
        self._view, self._history, self._planner, self._sampler = view, history, planner, sampler
        self._space = history.space
        self._objectives = objectives
        self._refused: set[Key] = set()
        self._checked: set[str] = set()
        self._bad: dict[tuple[str, str], str] = {}  # data and network that cannot be, and why
        self._problems: Counter[str] = Counter()
        self._found_any = False  # suggestion that can be trained

    def resumed(self, params: Params) -> Suggestion:
        """A known trial, to be gone on with."""
        return Suggestion(params, self._jobs(params), None)

    def refuse(self, params: Params) -> None:
        """Makes no such suggestion again."""
        self._refused.add(key_of(params))

    def next(self) -> Suggestion | None:
        """A suggestion that is not known yet; None where none is left, or none is found.

        Raises:
            UserError: where from the beginning suggestion after suggestion cannot be trained.
        """
        tries = 0 if self._sampler.is_grid else TRIES if self._space.count else ENDLESS_TRIES
        for attempt in range(tries):
            if suggestion := self._usable(*self._ask(attempt)):
                return suggestion
        for params in self._unseen():
            self._view.study.enqueue_trial(params)
            if suggestion := self._usable(*self._ask(tries)):
                return suggestion
        return None

    def _ask(self, attempt: int) -> tuple[optuna.trial.Trial, Params]:
        self._sampler.prepare(self._view.study, len(self._history.trials), attempt)
        try:
            asked = self._view.study.ask()
            return asked, self._space.suggest(asked)
        except ImportError as error:
            name = self._sampler.name
            raise UserError(f"hydra.sweeper.sampler={name}: {missing(name, error)}") from None

    def _usable(self, asked: optuna.trial.Trial, params: Params) -> Suggestion | None:
        key = key_of(params)
        if key in self._refused:
            self._view.repeat(asked, None)
            return None
        if self._is_answered(asked, params):
            return None
        jobs = self._trainable(params)
        if jobs is None:
            self._refused.add(key)
            self._view.repeat(asked, None)
            return None
        for seed, job in jobs.items():
            if job.run.status() is not Status.TODO:  # its identity did not show that it lies inside the space
                self._history.add(params, seed, job.run)
        return None if self._is_answered(asked, params) else Suggestion(params, jobs, asked)

    def _is_answered(self, asked: optuna.trial.Trial, params: Params) -> bool:
        """Whether the store knows the suggestion; the study has been told, or will be."""
        outcome = self._history.outcome(params)
        if outcome in (None, Outcome.PARTIAL):
            return False
        values = None
        if self._sampler.learns_from_repeats and outcome is Outcome.COMPLETE:
            try:
                values = self._history.trials[key_of(params)].values(self._objectives)
            except MissingObjective:
                values = None
        self._view.repeat(asked, values)
        return True

    def _trainable(self, params: Params) -> dict[str, Job] | None:
        """The jobs of a suggestion, looked at as a grid looks at its own before it begins; None where they cannot be.

        Raises:
            UserError: where so it was from the beginning, time after time.
        """
        try:
            if self._planner.leaves_out(self._space, params):
                return None
            jobs = self._jobs(params)
            self._check(next(iter(jobs.values())))
        except UserError as error:
            self._problems[str(error)] += 1
            said = " ".join(self._space.overrides(params, next(iter(self._space.seeds), "")))
            often = max(self._problems.values()) >= SAME_PROBLEM or self._problems.total() >= PROBLEMS
            if often and not self._found_any and not self._history.trials:
                raise UserError(
                    f"the first {self._problems.total()} suggestions cannot be trained, the last of them, {said}:\n"
                    f"    {error}"
                ) from None
            if self._problems[str(error)] == 1:
                log.warning("left out, since it cannot be trained: %s\n    %s", said, error)
            return None
        self._found_any = True
        return jobs

    def _check(self, job: Job) -> None:
        from crackdet.models.factory import check_weights  # imports torch: seconds
        from crackdet.running.train_run import load_data

        images, network = repr(job.config.data), repr((job.config.model, job.config.data.image_size))
        if (images, network) in self._bad:
            raise UserError(self._bad[images, network])
        try:
            if images not in self._checked:
                load_data(job.config, job.identity)
            elif network not in self._checked:
                check_weights(job.config)
        except UserError as error:
            self._bad[images, network] = str(error)
            raise
        self._checked |= {images, network}

    def _jobs(self, params: Params) -> dict[str, Job]:
        return {seed: self._planner.job(self._space.overrides(params, seed)) for seed in self._space.seeds or [""]}

    def _unseen(self) -> Iterator[Params]:
        """What has not been suggested yet, in an order drawn by chance."""
        if self._space.count is None or self._space.count > LISTED:
            return
        left = self._space.all()
        known = len(self._history.trials)
        seed = self._sampler.seed
        random.Random(None if seed is None else derived(seed, known)).shuffle(left)
        for params in left:
            if key_of(params) not in self._refused and self._history.outcome(params) in (None, Outcome.PARTIAL):
                yield params
