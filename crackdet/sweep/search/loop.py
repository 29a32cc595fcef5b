"""The search: ask Optuna for trials, run their jobs, tell Optuna the results.

The run store is the only memory: a search finds there what earlier searches, grids and other processes have trained.
"""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from crackdet.config.overrides import parse_overrides
from crackdet.config.parsing import parse_group
from crackdet.config.schema import Runtime, Sweep
from crackdet.core.console import bar
from crackdet.core.errors import StoreError, UserError
from crackdet.core.files import OpenFolder, expand_home
from crackdet.core.signals import Interrupted
from crackdet.running.job import Job
from crackdet.store.run_store import RunStore
from crackdet.store.snapshot import Status
from crackdet.store.sweep_record import SweepRecord
from crackdet.sweep.execution.executor import Executor, exit_status
from crackdet.sweep.execution.factory import create_executor
from crackdet.sweep.execution.worker import SweepContext
from crackdet.sweep.finalize import finalize
from crackdet.sweep.grid import POLL_INTERVAL
from crackdet.sweep.screen import best_candidates
from crackdet.sweep.search.history import History
from crackdet.sweep.search.job_factory import JobFactory
from crackdet.sweep.search.objectives import parse_objectives
from crackdet.sweep.search.proposer import Proposer
from crackdet.sweep.search.prune_check import make_prune_check
from crackdet.sweep.search.pruners import build_pruner
from crackdet.sweep.search.pruning import PruningSpec
from crackdet.sweep.search.reservations import Reservations
from crackdet.sweep.search.results import warn_of_different_images, write_results
from crackdet.sweep.search.samplers import Sampler
from crackdet.sweep.search.search_config import SearchConfig, class_name
from crackdet.sweep.search.space import Key, Space
from crackdet.sweep.search.space_builder import build_space
from crackdet.sweep.search.study_sync import StorageMirror, StudySync
from crackdet.sweep.search.trial import ActiveTrial, Outcome, Trial
from crackdet.sweep.selection import ExcludeFilter

log = logging.getLogger(__name__)


def search(
    arguments: Sequence[str], config: SearchConfig, context: HydraContext, composed: DictConfig, launcher: Launcher
) -> None:
    """Search the space that these overrides span.

    Raises:
        UserError: If the search cannot begin or continue.
        SystemExit: If a run failed, or the search was stopped.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    objectives = parse_objectives(list(config.objectives), config.direction)
    config.validate(objectives)
    sweep: Sweep = parse_group("sweep", composed.get("sweep"))
    runtime: Runtime = parse_group("runtime", composed.get("runtime"))
    if sweep.zip:
        raise UserError("sweep.zip: not possible in a search; use it in a grid only")
    if runtime.retrain:
        raise UserError("runtime.retrain=true: not possible in a search; use a grid (hydra/sweeper=crackdet)")
    factory = JobFactory(context, composed, ExcludeFilter(sweep.exclude))
    overrides = parse_overrides(arguments, OverridesParser.create(config_loader=context.config_loader))
    candidates = best_candidates(sweep, overrides, composed, context)
    networks = {one.text: one.overrides for one in candidates}
    space = build_space(arguments, config.search_space or {}, context, factory, networks)
    store, directory = RunStore(expand_home(runtime.store)), Path(composed.hydra.sweep.dir)
    sampler = Sampler(config.sampler)
    spec = PruningSpec(space, objectives[0], _max_epochs(space))
    if config.active_pruner is not None:
        build_pruner(config.active_pruner, spec.max_epochs)  # refuses wrong settings
    if sampler.is_grid and space.count is None:
        raise UserError("hydra/sweeper/sampler=grid: needs single values, as in 1,2,3 or range(1,4)")
    history = History(store, space, objectives, partial(factory.excludes_any_seed, space))
    pruning = partial(make_prune_check, directory, config.active_pruner) if config.active_pruner is not None else None
    executor = create_executor(launcher, runtime, SweepContext(directory, pruning), config.n_trials, config.n_jobs)
    if sweep.dry_run:
        _show_plan(history, factory, config, sampler)
        return
    record = SweepRecord(directory)
    record.make(store.root)
    OmegaConf.save(composed, directory / "multirun.yaml")
    mirror = StorageMirror(config.storage, config.study_name, objectives) if config.storage is not None else None
    if config.active_pruner is not None:
        spec.write(directory)
    study = StudySync(objectives, mirror)
    proposer = Proposer(study, history, factory, sampler, prior=[{"model": name} for name in networks])
    loop = SearchLoop(config, runtime, proposer, executor, record)
    status = loop.run()
    warn_of_different_images(history)
    write_results(history, directory)
    keep_weights = runtime.keep_weights if loop.has_trained else "all"
    finalize(directory, status, sweep.report and loop.has_trained, keep_weights)  # no report if nothing was trained


class SearchLoop:
    """The loop of one search in one process; other processes may search the same store."""

    def __init__(
        self, config: SearchConfig, runtime: Runtime, proposer: Proposer, executor: Executor, record: SweepRecord
    ) -> None:
        self.has_trained = False
        self._config, self._runtime = config, runtime
        self._proposer, self._executor, self._record = proposer, executor, record
        self._history, self._study = proposer.history, proposer.study
        self._store = RunStore(expand_home(runtime.store))
        self._reservations = Reservations(self._store)
        self._n_trials = _num_wanted(config, proposer.sampler, self._history.space)
        self._active: dict[Key, ActiveTrial] = {}
        self._attempted: set[Key] = set()  # trials that this search does not resume (again)
        self._recorded: set[str] = set()
        self._num_failures = 0
        self._is_exhausted = False

    def run(self) -> int:
        """Train until there are enough trials; return an exit status as `run_jobs` does."""
        self._store.check_writable()
        directory = OpenFolder(self._record.directory, "hydra.sweep.dir")
        try:
            with OpenFolder(self._store.root) as store, directory, self._reservations, self._executor:
                self._executor.folders = (store, directory)
                self._tell()
                _log_state(self._history, self._config, self._proposer.sampler)
                status = self._run()
        except (KeyboardInterrupt, Interrupted) as stop:
            status = exit_status(stop)
        self._active.clear()
        self._tell()
        return status

    def _run(self) -> int:
        status = 0
        shown = self._history.count()
        with bar("trials", self._n_trials, done=min(self._n_trials, shown)) as progress:
            while True:
                while self._has_capacity() and (trial := self._ask()):
                    self._start_next_job(trial)
                if self._active:
                    outcomes = self._executor.wait()
                    self._executor.check_folders()
                    for outcome in outcomes:
                        status = max(status, int(outcome.failed))
                        self._on_job_end(outcome.job)
                elif not self._wait_for_others():
                    return status
                self._tell()
                ended = self._history.count() - len(self._active)
                progress.advance(max(0, ended - shown))
                shown = max(shown, ended)
                if self._num_failures > self._config.max_failure_rate * self._config.n_trials:
                    log.error("stopped: %d trials failed, more than hydra.sweeper.max_failure_rate", self._num_failures)
                    return 1

    def _has_capacity(self) -> bool:
        return self._executor.max_jobs is None or len(self._active) < self._executor.max_jobs

    def _ask(self) -> ActiveTrial | None:
        """Return the next trial and reserve its runs; None if there are enough trials or no suggestion is left."""
        self._executor.check_folders()
        with self._reservations.asking():
            self._tell()
            trial = self._next_trial()
            if trial is not None:
                self._active[trial.key] = trial
                self._attempted.add(trial.key)
                self._reservations.add(trial.jobs.values())
                self._study.begin(trial)
        return trial

    def _next_trial(self) -> ActiveTrial | None:
        """Return an interrupted or failed trial of the store if one is to be resumed, else a new suggestion."""
        for known, outcome in self._history.outcomes():
            if self._is_resumable(known, outcome):
                return self._proposer.resume(known.params)
        num_trials = self._history.count()
        if num_trials >= self._n_trials:
            return None
        trial = self._proposer.propose()
        if trial is None and not self._is_exhausted:
            self._is_exhausted = True
            if self._proposer.factory.exclude.has_condition and not num_trials:
                raise UserError(
                    "sweep.exclude: excludes every suggestion that can be trained; a suggestion is excluded if the "
                    "expression is true for one of its seeds"
                )
            log.info("no other suggestion is left after %d trials", num_trials)
        return trial

    def _is_resumable(self, trial: Trial, outcome: Outcome) -> bool:
        if trial.key in self._attempted:
            return False
        if outcome is Outcome.FAILED:
            return trial.is_retryable(self._runtime.max_attempts)
        return outcome is Outcome.INTERRUPTED

    def _start_next_job(self, trial: ActiveTrial) -> None:
        """Start the trial's next job that is not finished; if none is left, the trial has ended."""
        while (job := trial.next_job()) is not None:
            try:
                is_finished = job.is_finished()
            except StoreError as error:  # such as the run of another user; the search goes on
                log.error("left out: %s", error)
                self._attempted.add(trial.key)
                break
            if not is_finished:
                self.has_trained = True
                self._executor.submit(job)
                return
            self._history.add(trial.params, trial.seed, job.run)
        del self._active[trial.key]
        self._reservations.remove(trial.jobs.values())
        self._history.release(trial.key)
        outcome = self._history.outcome(trial.params)
        if not self._history.knows(trial.params):  # its job did not even begin, so the store has no trace of it
            self._proposer.refuse(trial.params)
        self._num_failures += outcome in (None, Outcome.PARTIAL, Outcome.FAILED)

    def _on_job_end(self, job: Job) -> None:
        trial = next(trial for trial in self._active.values() if trial.jobs[trial.seed].run.id == job.run.id)
        self._history.add(trial.params, trial.seed, job.run)
        if job.run.status() in (Status.PRUNED, Status.FAILED):
            trial.pending.clear()  # the mean over the seeds is not needed
        self._start_next_job(trial)

    def _wait_for_others(self) -> bool:
        """Return whether runs of other processes are to be waited for, after a moment of waiting."""
        running = [trial for trial, outcome in self._history.outcomes() if outcome is Outcome.RUNNING]
        if not running or not self._runtime.wait_for_others:
            return False
        self._executor.idle(POLL_INTERVAL)
        self._attempted -= {trial.key for trial in running}  # to be resumed if their process dies
        return True

    def _tell(self) -> None:
        """Tell the study and the sweep's record what has changed in the store."""
        self._history.refresh(self._reservations.of_others(), [trial.params for trial in self._active.values()])
        self._study.tell(self._history)
        for trial in self._history.trials.values():
            for seed, snapshot in trial.runs.items():
                if snapshot.id not in self._recorded:
                    self._recorded.add(snapshot.id)
                    self._record.add(snapshot.run, self._history.space.overrides(trial.params, seed))


def _show_plan(history: History, factory: JobFactory, config: SearchConfig, sampler: Sampler) -> None:
    """Print the trials in the store and how many are to come."""
    from crackdet.sweep.dry_run import dry_run

    history.refresh()
    space = history.space
    jobs = [factory.job(space.overrides(trial.params, seed)) for trial, _ in history.outcomes() for seed in trial.runs]
    if jobs:
        dry_run(jobs)
    _log_state(history, config, sampler)


def _log_state(history: History, config: SearchConfig, sampler: Sampler) -> None:
    """Log how many trials the store has, how large the space is, and the methods."""
    outcomes = [str(outcome) for _, outcome in history.outcomes() if outcome is not Outcome.PARTIAL]
    counts = ", ".join(f"{outcomes.count(word)} {word}" for word in dict.fromkeys(outcomes))
    n_trials, size = _num_wanted(config, sampler, history.space), history.space.count
    log.info(
        "%d of %d trials are in the store%s; %s; %s, %s",
        min(history.count(), n_trials), n_trials, f" ({counts})" if counts else "",
        f"{size} suggestions are possible" if size else "the space is infinite",
        sampler.name, class_name(config.active_pruner) if config.active_pruner else "no pruner",
    )  # fmt: skip


def _num_wanted(config: SearchConfig, sampler: Sampler, space: Space) -> int:
    """Return the number of trials that the search ends with."""
    return min(config.n_trials, space.count) if sampler.is_grid and space.count is not None else config.n_trials


def _max_epochs(space: Space) -> int:
    """Return the largest number of epochs that a run of the space can have."""
    found: list[Any] = []
    for branch in space.branches:
        values = [p.values or [p.high] for p in branch.parameters if p.name == "trainer.max_epochs"]
        found += values[0] if values else [branch.references[0].content["trainer"]["max_epochs"]]
    return max(map(int, found))
