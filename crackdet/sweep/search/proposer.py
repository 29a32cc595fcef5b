"""The next suggestion: one that can be trained, is not excluded, and is not in the store."""

import logging
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress

import optuna

from crackdet.core.errors import UserError
from crackdet.running.job import Job
from crackdet.store.snapshot import Status
from crackdet.sweep.search.history import History
from crackdet.sweep.search.job_factory import JobFactory
from crackdet.sweep.search.objectives import MissingObjective
from crackdet.sweep.search.samplers import Sampler, derive_seed
from crackdet.sweep.search.search_config import missing_package
from crackdet.sweep.search.space import Key, Params, key_of
from crackdet.sweep.search.study_sync import StudySync
from crackdet.sweep.search.trial import ActiveTrial, Outcome

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 20  # suggestions of the sampler before an unknown one is chosen at random
MAX_ATTEMPTS_INFINITE = 200  # the same in a space that cannot be listed
MAX_LISTED = 100_000  # suggestions in a space that is listed
MAX_SAME_PROBLEM, MAX_PROBLEMS = 10, 20  # suggestions that cannot be trained, before any that can


class Proposer:
    """Asks the sampler for suggestions until the store does not know one, and makes its jobs.

    Args:
        prior: Values of some parameters, to be tried first and in this order; the sampler chooses the others.
    """

    def __init__(
        self,
        study: StudySync,
        history: History,
        factory: JobFactory,
        sampler: Sampler,
        prior: Sequence[Params] = (),
    ) -> None:
        self._prior = list(prior)
        self.study, self.history, self.factory, self.sampler = study, history, factory, sampler
        self._space = history.space
        self._refused: set[Key] = set()
        self._checked: set[str] = set()  # data and networks that can be trained
        self._problems: dict[tuple[str, str], str] = {}  # data and network that cannot be trained -> why
        self._num_problems: Counter[str] = Counter()
        self._found_any = False  # whether a suggestion could be trained

    def resume(self, params: Params) -> ActiveTrial:
        """Return a trial of the store, to be trained further."""
        return ActiveTrial(params, self.factory.jobs(self._space, params))

    def refuse(self, params: Params) -> None:
        """Do not propose this suggestion again."""
        self._refused.add(key_of(params))

    def propose(self) -> ActiveTrial | None:
        """Return a new suggestion; None if none is left or found.

        Raises:
            UserError: If none of the first suggestions can be trained.
        """
        while self._prior:
            params = self._prior.pop(0)
            if not any(params.items() <= trial.params.items() for trial in self.history.trials.values()):
                self.study.study.enqueue_trial(params)
                if trial := self._make_trial(*self._ask(0)):
                    return trial
        attempts = 0 if self.sampler.is_grid else MAX_ATTEMPTS if self._space.count else MAX_ATTEMPTS_INFINITE
        for attempt in range(attempts):
            if trial := self._make_trial(*self._ask(attempt)):
                return trial
        for params in self._unknown():
            self.study.study.enqueue_trial(params)
            if trial := self._make_trial(*self._ask(attempts)):
                return trial
        return None

    def _ask(self, attempt: int) -> tuple[optuna.trial.Trial, Params]:
        self.sampler.prepare(self.study.study, len(self.history.trials), attempt)
        try:
            asked = self.study.study.ask()
            return asked, self._space.suggest(asked)
        except ImportError as error:
            name = self.sampler.name
            raise UserError(f"hydra.sweeper.sampler={name}: {missing_package(name, error)}") from None

    def _make_trial(self, asked: optuna.trial.Trial, params: Params) -> ActiveTrial | None:
        """Return the trial of a suggestion; None if it is known or cannot be trained, which Optuna is told."""
        if key_of(params) in self._refused:
            self.study.close_untrained(asked, None)
            return None
        if self._tell_if_known(asked, params):
            return None
        jobs = self._trainable_jobs(params)
        if jobs is None:
            self.refuse(params)
            self.study.close_untrained(asked, None)
            return None
        for seed, job in jobs.items():
            if job.run.status() is not Status.TODO:  # its identity does not match the space
                self.history.add(params, seed, job.run)
        return None if self._tell_if_known(asked, params) else ActiveTrial(params, jobs, asked)

    def _tell_if_known(self, asked: optuna.trial.Trial, params: Params) -> bool:
        """Return whether the store knows a suggestion; then Optuna is told that it is a repeat."""
        if not self.history.knows(params):
            return False
        values = None
        if self.sampler.learns_from_repeats and self.history.outcome(params) is Outcome.COMPLETE:
            with suppress(MissingObjective):
                values = self.history.values(self.history.trials[key_of(params)])
        self.study.close_untrained(asked, values)
        return True

    def _trainable_jobs(self, params: Params) -> dict[str, Job] | None:
        """Return the jobs of a suggestion, checked as a grid checks its own; None if they cannot be trained."""
        try:
            if self.factory.excludes_any_seed(self._space, params):
                return None
            jobs = self.factory.jobs(self._space, params)
            self._check(next(iter(jobs.values())))
        except UserError as error:
            self._on_problem(params, error)
            return None
        self._found_any = True
        return jobs

    def _on_problem(self, params: Params, error: UserError) -> None:
        self._num_problems[str(error)] += 1
        overrides = " ".join(self._space.overrides(params, next(iter(self._space.seeds), "")))
        total = self._num_problems.total()
        too_many = max(self._num_problems.values()) >= MAX_SAME_PROBLEM or total >= MAX_PROBLEMS
        if too_many and not self._found_any and not self.history.trials:
            raise UserError(
                f"none of the first {total} suggestions can be trained. The last suggestion was {overrides}, "
                f"with the error:\n    {error}"
            ) from None
        if self._num_problems[str(error)] == 1:
            log.warning("left out because it cannot be trained: %s\n    %s", overrides, error)

    def _check(self, job: Job) -> None:
        """Raise UserError if the job's data or its network cannot be used; each is checked once."""
        from crackdet.models.factory import validate_initial_weights  # imports torch: seconds
        from crackdet.running.preparation import load_data
        from crackdet.training.optimizers import check_optimizer, optimizer_kind

        config = job.config
        data = repr(config.data)
        kind = optimizer_kind(config.optimizer)
        network = repr((config.model, config.data.image_size, config.trainer.batch_size, kind))
        if (data, network) in self._problems:
            raise UserError(self._problems[data, network])
        try:
            if data not in self._checked:
                load_data(job)
            elif network not in self._checked:
                validate_initial_weights(config)
                check_optimizer(config.optimizer)
        except UserError as error:
            self._problems[data, network] = str(error)
            raise
        self._checked |= {data, network}

    def _unknown(self) -> Iterator[Params]:
        """Yield the suggestions of a listable space that are not known yet, in random order."""
        if self._space.count is None or self._space.count > MAX_LISTED:
            return
        suggestions = self._space.all()
        seed = self.sampler.seed
        random.Random(None if seed is None else derive_seed(seed, len(self.history.trials))).shuffle(suggestions)
        for params in suggestions:
            if key_of(params) not in self._refused and not self.history.knows(params):
                yield params
