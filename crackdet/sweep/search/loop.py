"""The search itself: what the store knows, a suggestion, its runs, and again until there are enough trials.

The store is the only memory. Whatever a search has done is found there by the next one, in this process or another,
on this machine or another; a grid over the same settings is as good a beginning.
"""

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from crackdet.config.parsing import parse_runtime, parse_sweep
from crackdet.core.console import bar
from crackdet.core.errors import UserError
from crackdet.core.signals import Interrupted
from crackdet.running.job import Job
from crackdet.store.run_store import RunStore
from crackdet.store.snapshot import Status
from crackdet.store.sweep_record import SweepRecord
from crackdet.sweep.execution.executor import Executor, exit_status
from crackdet.sweep.execution.factory import create_executor
from crackdet.sweep.execution.worker import SweepContext
from crackdet.sweep.finalize import finalize
from crackdet.sweep.grid import POLL
from crackdet.sweep.search.active_trial import ActiveTrial
from crackdet.sweep.search.history import History, Outcome, Trial
from crackdet.sweep.search.objectives import Objective, parse_objectives
from crackdet.sweep.search.proposer import Proposer, Suggestion
from crackdet.sweep.search.pruners import build_pruner
from crackdet.sweep.search.pruning import PruningSpec
from crackdet.sweep.search.report import warn_of_other_images, write_report
from crackdet.sweep.search.reservations import Reservations
from crackdet.sweep.search.samplers import Sampler
from crackdet.sweep.search.search_config import SearchConfig
from crackdet.sweep.search.space import Key, Space
from crackdet.sweep.search.space_builder import JobFactory, build_space
from crackdet.sweep.search.study_sync import StorageMirror, StudySync
from crackdet.sweep.selection import ExcludeFilter

log = logging.getLogger(__name__)


def search(
    arguments: Sequence[str], settings: SearchConfig, context: HydraContext, config: DictConfig, launcher: Launcher
) -> None:
    """Searches the space of these overrides; leaves with the exit status that says whether all went well.

    Raises:
        UserError: where the search cannot begin, or cannot go on.
    """
    objectives = parse_objectives(list(settings.objectives), settings.direction)
    settings.check(objectives)
    sweep = parse_sweep(config)
    if sweep.zip:
        raise UserError("sweep.zip: is for a grid; a search chooses each parameter by itself")
    if config.runtime.retrain:
        raise UserError("runtime.retrain=true: a search trains no run twice; a grid, hydra/sweeper=crackdet, does")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    planner = JobFactory(context, config, ExcludeFilter(sweep.exclude))
    space = build_space(arguments, settings.search_space or {}, context, planner)
    store = RunStore(Path(config.runtime.store).expanduser())
    directory = Path(config.hydra.sweep.dir)
    crew = create_executor(
        launcher, parse_runtime(config), SweepContext(directory, settings.pruning), settings.n_trials, settings.n_jobs
    )
    found = Search(settings, objectives, space, planner, store, crew, config)
    if sweep.dry_run:
        found.show_plan()
        return
    SweepRecord(directory).make(store.root)
    OmegaConf.save(config, directory / "multirun.yaml")
    status = found.run()
    warn_of_other_images(found.history)
    write_report(found.history, objectives, directory)
    keep_weights = config.runtime.keep_weights if found.has_trained else "all"
    finalize(directory, status, sweep.report and found.has_trained, keep_weights)  # nothing new: nothing to report


class Search:
    """One search in one process, which asks, and has the runs trained by its crew."""

    def __init__(
        self,
        settings: SearchConfig,
        objectives: Sequence[Objective],
        space: Space,
        planner: JobFactory,
        store: RunStore,
        crew: Executor,
        config: DictConfig,
    ) -> None:
        self.history = History(store, space, objectives, partial(planner.leaves_out, space))
        self._settings, self._objectives, self._space, self._planner = settings, objectives, space, planner
        self._crew, self._runtime = crew, config.runtime
        self._bookings = Reservations(store)
        self._directory = Path(config.hydra.sweep.dir)
        self._record = SweepRecord(self._directory)
        self._recorded: set[str] = set()
        self._attempted: set[Key] = set()
        self._busy: dict[Key, ActiveTrial] = {}
        self._failures = 0
        self.has_trained = False
        self._exhausted = False
        self._sampler = Sampler(settings.sampler)
        self._wanted = settings.n_trials
        if self._sampler.is_grid:
            if space.count is None:
                raise UserError("hydra/sweeper/sampler=grid: needs single values, as in 1,2,3 or range(1,4)")
            self._wanted = min(self._wanted, space.count)
        self._max_epochs = _max_epochs(space, planner)
        if settings.pruning is not None:
            build_pruner(settings.pruning, self._max_epochs)  # what is wrong with it is said now

    def run(self) -> int:
        """Trains until there are enough trials; an exit status as `launch` gives it."""
        mirror = None
        if self._settings.storage is not None:
            mirror = StorageMirror(self._settings.storage, self._settings.study_name, self._objectives)
        if self._settings.pruning is not None:
            PruningSpec(self._space, self._objectives[0], self._max_epochs).write(self._directory)
        view = StudySync(self._objectives, mirror)
        asker = Proposer(view, self.history, self._planner, self._sampler, self._objectives)
        try:
            with self._bookings, self._crew:
                self._look(view)
                self._announce()
                status = self._train(view, asker)
        except (KeyboardInterrupt, Interrupted) as stop:
            status = exit_status(stop)
        self._busy.clear()
        self._look(view)
        return status

    def _train(self, view: StudySync, asker: Proposer) -> int:
        status = 0
        with bar("trials", self._wanted, done=min(self._wanted, self._count())) as trials:
            shown = self._count()
            while True:
                self._begin(view, asker)
                if self._busy:
                    for end in self._crew.wait():
                        status = max(status, int(end.failed))
                        self._take_back(end.job, asker)
                elif not self._waits():
                    return status
                self._look(view)
                now = self._count() - len(self._busy)
                trials.advance(max(0, now - shown))
                shown = max(shown, now)
                if self._failures > self._settings.max_failure_rate * self._settings.n_trials:
                    log.error("stopped: %d trials failed, more than hydra.sweeper.max_failure_rate", self._failures)
                    return 1

    def show_plan(self) -> None:
        """Prints the trials that the store knows and how many are to come."""
        from crackdet.sweep.dry_run import dry_run
        from crackdet.sweep.estimates import FlopEstimator

        self.history.refresh()
        jobs = [
            self._planner.job(self._space.overrides(trial.params, seed))
            for trial, _ in self.history.outcomes()
            for seed in trial.runs
        ]
        if jobs:
            dry_run(jobs, FlopEstimator())
        self._announce()

    def _begin(self, view: StudySync, asker: Proposer) -> None:
        """Asks for as many suggestions as can be trained now, and has their first runs started."""
        while self._crew.size is None or len(self._busy) < self._crew.size:
            with self._bookings.asking():
                self._look(view)
                suggestion = self._next(asker)
                if suggestion is None:
                    return
                trial = ActiveTrial(suggestion)
                self._busy[trial.key] = trial
                self._bookings.add(suggestion.jobs.values())
            if suggestion.asked is not None:
                view.begin(suggestion.asked, suggestion.params)
            self._attempted.add(trial.key)
            self._go_on(trial, asker)

    def _next(self, asker: Proposer) -> Suggestion | None:
        """What was begun earlier and stopped comes first, then a new suggestion, while there are not enough trials."""
        for trial, outcome in self.history.outcomes():
            if self._goes_on(trial, outcome):
                return asker.resumed(trial.params)
        if self._count() >= self._wanted:
            return None
        suggestion = asker.next()
        if suggestion is None and not self._exhausted:
            self._exhausted = True
            if self._planner.has_excluded and not self._count():
                raise UserError(
                    "sweep.exclude leaves nothing to search over; of several seeds one that is excluded leaves out all"
                )
            log.info("no other suggestion is left after %d trials", self._count())
        return suggestion

    def _go_on(self, trial: ActiveTrial, asker: Proposer) -> None:
        """Starts the next run of a trial; where there is none, or none is worth it, the trial has ended."""
        while trial.left:
            seed, job = trial.left.popleft()
            if not job.is_finished():
                trial.now = seed
                self.has_trained = True
                self._crew.start(job)
                return
            self.history.add(trial.params, seed, job.run)
        del self._busy[trial.key]
        self._bookings.remove(trial.suggestion.jobs.values())
        self.history.release(trial.params)
        outcome = self.history.outcome(trial.params)
        if outcome in (None, Outcome.PARTIAL):  # its job did not even begin: nothing says so later
            asker.refuse(trial.params)
            self._failures += 1
        self._failures += outcome is Outcome.FAILED

    def _take_back(self, job: Job, asker: Proposer) -> None:
        """Looks at what a run has become, and goes on with its trial; a seed that is pruned or fails has no next."""
        trial = next(trial for trial in self._busy.values() if job.run.id in trial.run_ids)
        self.history.add(trial.params, trial.now, job.run)
        if job.run.status() in (Status.PRUNED, Status.FAILED):
            trial.left.clear()
        self._go_on(trial, asker)

    def _goes_on(self, trial: Trial, outcome: Outcome) -> bool:
        if trial.key in self._attempted:
            return False
        if outcome is Outcome.FAILED:
            return trial.can_be_tried_again(self._runtime.max_attempts)
        return outcome is Outcome.INTERRUPTED

    def _waits(self) -> bool:
        """Sleeps a moment where runs in other processes are to be waited for."""
        running = [trial for trial, outcome in self.history.outcomes() if outcome is Outcome.RUNNING]
        if not running or not self._runtime.wait_for_others:
            return False
        self._crew.idle(POLL)
        self._attempted -= {trial.key for trial in running}  # should their process die they are gone on with
        return True

    def _count(self) -> int:
        """The trials that there are, of whatever process; those without the objective do not count."""
        complete = len(self.history.measured())
        begun = (Outcome.PRUNED, Outcome.FAILED, Outcome.RUNNING, Outcome.INTERRUPTED)
        return complete + sum(outcome in begun for _, outcome in self.history.outcomes())

    def _look(self, view: StudySync) -> None:
        """What the store has become, for the study and for the record of the sweep."""
        self.history.refresh(self._bookings.of_others(), [trial.params for trial in self._busy.values()])
        view.update(self.history)
        for trial in self.history.trials.values():
            for seed, snapshot in trial.runs.items():
                if snapshot.id not in self._recorded:
                    self._recorded.add(snapshot.id)
                    self._record.add(snapshot.run, self._space.overrides(trial.params, seed))

    def _announce(self) -> None:
        outcomes = [str(outcome) for _, outcome in self.history.outcomes() if outcome is not Outcome.PARTIAL]
        known = ", ".join(f"{outcomes.count(word)} {word}" for word in dict.fromkeys(outcomes))
        size = self._space.count
        log.info(
            "%d of %d trials are in the store%s; %s, %s",
            min(self._count(), self._wanted), self._wanted, f" ({known})" if known else "",
            f"{size} suggestions are possible" if size else "the space has no end",
            f"{self._sampler.name}, {_name(self._settings.pruning)}",
        )  # fmt: skip


def _max_epochs(space: Space, planner: JobFactory) -> int:
    """The longest that a run of the space can be."""
    longest = []
    for branch in space.branches:
        own = [p for p in branch.parameters if p.name == "trainer.max_epochs"]
        values = [int(value) for p in own for value in (p.values or [p.high])]
        longest.append(max(values) if values else int(branch.examples[0].content["trainer"]["max_epochs"]))
    return max(longest)


def _name(pruner: Mapping[str, Any] | None) -> str:
    return str(pruner["_target_"]).rpartition(".")[2] if pruner else "no pruner"
