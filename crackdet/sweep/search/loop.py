"""The search itself: what the store knows, a suggestion, its runs, and again until there are enough trials.

The store is the only memory. Whatever a search has done is found there by the next one, in this process or another,
on this machine or another; a grid over the same settings is as good a beginning.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from crackdet.config import parse_sweep
from crackdet.console import bar
from crackdet.errors import UserError
from crackdet.store import Run, RunStore, Status
from crackdet.sweep.choosing import Excluded
from crackdet.sweep.finish import finish
from crackdet.sweep.grid import POLL, launch
from crackdet.sweep.job import NO_PRUNER
from crackdet.sweep.record import SweepRecord
from crackdet.sweep.search.asking import Asker, Suggestion
from crackdet.sweep.search.building import Planner, build_space
from crackdet.sweep.search.history import History, Outcome, Trial
from crackdet.sweep.search.objectives import Objective, parse_objectives
from crackdet.sweep.search.pruners import build_pruner
from crackdet.sweep.search.pruning import Terms
from crackdet.sweep.search.report import write_report
from crackdet.sweep.search.samplers import Sampler
from crackdet.sweep.search.space import Key, Space, key_of
from crackdet.sweep.search.study import Mirror, StudyView

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """`hydra.sweeper`, by the keys of hydra-optuna-sweeper and some more."""

    sampler: Mapping[str, Any]
    pruner: Mapping[str, Any] | None = None
    objectives: Sequence[str] = ("accuracy",)
    direction: Any = None
    storage: Any = None
    study_name: str | None = None
    n_trials: int = 20
    n_jobs: int = 2
    max_failure_rate: float = 1.0
    search_space: Mapping[str, Any] | None = None
    custom_search_space: str | None = None

    @property
    def pruning(self) -> Mapping[str, Any] | None:
        """The pruner, unless it is one that never prunes."""
        return None if self.pruner is None or self.pruner.get("_target_") == NO_PRUNER else self.pruner

    def check(self, objectives: Sequence[Objective]) -> None:
        """Raises UserError where a number is out of its range, or the pruner has nothing to go by."""
        for name, low in (("n_trials", 0), ("n_jobs", 1)):
            if getattr(self, name) < low:
                raise UserError(f"hydra.sweeper.{name}={getattr(self, name)}: must be at least {low}")
        if not 0 <= self.max_failure_rate <= 1:
            raise UserError(f"hydra.sweeper.max_failure_rate={self.max_failure_rate}: must be from 0 to 1")
        if self.custom_search_space is not None:
            raise UserError(
                "hydra.sweeper.custom_search_space: is not needed, what the chosen options do not have is left out of "
                "a suggestion; for other conditions there are sweep.exclude and hydra/sweeper=optuna"
            )
        if self.pruning is not None and len(objectives) > 1:
            raise UserError(
                "hydra.sweeper.pruner: several objectives cannot be pruned, a run that is worse in one of them may be "
                "better in another; say hydra/sweeper/pruner=none"
            )
        if self.pruning is not None and objectives[0].column is None:
            raise UserError(
                f"hydra.sweeper.pruner: {objectives[0].name} is known at the end of a run only, so none can be pruned "
                "by it; say hydra/sweeper/pruner=none"
            )


def search(
    arguments: Sequence[str], settings: Settings, context: HydraContext, config: DictConfig, launcher: Launcher
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
    if config.runtime.rerun:
        raise UserError("runtime.rerun=true: a search trains no run twice; a grid, hydra/sweeper=crackdet, does")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    planner = Planner(context, config, Excluded(sweep.exclude))
    space = build_space(arguments, settings.search_space or {}, context, planner)
    store = RunStore(Path(config.runtime.store).expanduser())
    found = Search(settings, objectives, space, planner, store, launcher, config)
    if sweep.plan:
        found.show_plan()
        return
    directory = Path(config.hydra.sweep.dir)
    directory.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, directory / "multirun.yaml")
    status = found.run()
    _warn_of_other_images(found.history)
    write_report(found.history, objectives, directory)
    finish(directory, status)


class Search:
    """One search in one process."""

    def __init__(
        self,
        settings: Settings,
        objectives: Sequence[Objective],
        space: Space,
        planner: Planner,
        store: RunStore,
        launcher: Launcher,
        config: DictConfig,
    ) -> None:
        self.history = History(store, space, objectives)
        self._settings, self._objectives, self._space, self._planner = settings, objectives, space, planner
        self._launcher, self._runtime = launcher, config.runtime
        self._directory = Path(config.hydra.sweep.dir)
        self._record = SweepRecord(self._directory)
        self._recorded: set[str] = set()
        self._attempted: set[Key] = set()
        self._failures = self._launched = 0
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
            mirror = Mirror(self._settings.storage, self._settings.study_name, self._objectives)
        if self._settings.pruning is not None:
            Terms(self._space, self._objectives[0], self._max_epochs).write(self._directory)
        view = StudyView(self._objectives, mirror)
        asker = Asker(view, self.history, self._planner, self._sampler, self._objectives)
        self._look(view)
        self._announce()
        status = 0
        try:
            with bar("trials", self._wanted, done=min(self._wanted, self._count())) as trials:
                while True:
                    before = self._count()
                    batch = self._next_batch(asker)
                    if batch:
                        status = max(status, self._train(batch, view, asker))
                    elif not self._waits():
                        break
                    if status >= 128:
                        break
                    self._look(view)
                    trials.advance(self._count() - before)
                    if self._failures > self._settings.max_failure_rate * self._settings.n_trials:
                        log.error("stopped: %d trials failed, more than hydra.sweeper.max_failure_rate", self._failures)
                        status = 1
                        break
        except KeyboardInterrupt:
            status = 130
        self._look(view)
        return status

    def show_plan(self) -> None:
        """Prints the trials that the store knows and how many are to come."""
        from crackdet.sweep.cost import Costs
        from crackdet.sweep.preview import preview

        self.history.refresh()
        jobs = [
            self._planner.job(self._space.overrides(trial.params, seed))
            for trial, _ in self.history.outcomes()
            for seed in trial.runs
        ]
        if jobs:
            preview(jobs, Costs())
        self._announce()

    def _next_batch(self, asker: Asker) -> list[Suggestion]:
        """What was begun earlier and stopped comes first, then new suggestions, as many as can be trained at once."""
        size = 1 if type(self._launcher).__name__ == "BasicLauncher" else self._settings.n_jobs
        begun = [trial for trial, outcome in self.history.outcomes() if self._goes_on(trial, outcome)]
        batch = [asker.resumed(trial.params) for trial in begun[:size]]
        while not begun and len(batch) < min(size, self._wanted - self._count()):
            suggestion = asker.next({key_of(other.params) for other in batch})
            if suggestion is None:
                log.info("no other suggestion is left after %d trials", self._count())
                break
            batch.append(suggestion)
        return batch

    def _train(self, batch: Sequence[Suggestion], view: StudyView, asker: Asker) -> int:
        """Trains the runs of suggestions, seed by seed, since a suggestion may be pruned by its first; tells Optuna."""
        status = 0
        self._attempted |= {key_of(suggestion.params) for suggestion in batch}
        left = list(batch)
        for seed in self._space.seeds or [""]:
            jobs = [suggestion.jobs[seed] for suggestion in left if not suggestion.jobs[seed].is_finished()]
            status = max(status, launch(jobs, len(jobs), self._launcher, self._launched))
            self._launched += len(jobs)
            for suggestion in left:
                self.history.add(suggestion.params, seed, suggestion.jobs[seed].run)
            if status >= 128:
                break
            left = [s for s in left if Run(s.jobs[seed].run.directory).status() not in (Status.PRUNED, Status.FAILED)]
        for suggestion in batch:
            if suggestion.asked is not None:
                outcome = view.tell(suggestion.asked, self.history, suggestion.params)
            else:
                outcome = self.history.outcome(suggestion.params)
            if outcome in (None, Outcome.PARTIAL) and status < 128:  # its job did not even begin: nothing says so later
                asker.refuse(suggestion.params)
                self._failures += 1
            self._failures += outcome is Outcome.FAILED
        return status

    def _goes_on(self, trial: Trial, outcome: Outcome) -> bool:
        if trial.key in self._attempted:
            return False
        if outcome is Outcome.FAILED:
            return trial.can_be_tried_again(self._runtime.retry_failed)
        return outcome is Outcome.INTERRUPTED

    def _waits(self) -> bool:
        """Sleeps a moment where runs in other processes are to be waited for."""
        running = [trial for trial, outcome in self.history.outcomes() if outcome is Outcome.RUNNING]
        if not running or not self._runtime.wait_for_others:
            return False
        time.sleep(POLL)
        self._attempted -= {trial.key for trial in running}  # should their process die they are gone on with
        return True

    def _count(self) -> int:
        """The trials that there are, of whatever process; those without the objective do not count."""
        complete = len(self.history.measured())
        begun = (Outcome.PRUNED, Outcome.FAILED, Outcome.RUNNING, Outcome.INTERRUPTED)
        return complete + sum(outcome in begun for _, outcome in self.history.outcomes())

    def _look(self, view: StudyView) -> None:
        """What the store has become, for the study and for the record of the sweep."""
        self.history.refresh()
        view.update(self.history)
        for trial in self.history.trials.values():
            for seed, run in trial.runs.items():
                if run.id not in self._recorded:
                    self._recorded.add(run.id)
                    self._record.add(run, self._space.overrides(trial.params, seed))

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


def _max_epochs(space: Space, planner: Planner) -> int:
    """The longest that a run of the space can be."""
    longest = []
    for branch in space.branches:
        own = [p for p in branch.parameters if p.name == "trainer.max_epochs"]
        values = [int(value) for p in own for value in (p.values or [p.high])]
        longest.append(max(values) if values else int(branch.content["trainer"]["max_epochs"]))
    return max(longest)


def _warn_of_other_images(history: History) -> None:
    runs = [run for trial, _ in history.measured() for run in trial.runs.values()]
    if len({str((run.result or {}).get("valid_digest")) for run in runs}) > 1:
        log.warning(
            "the parameters choose the validation images too, and runs on different ones were compared with each "
            "other: what looks better may only have had easier images"
        )


def _name(pruner: Mapping[str, Any] | None) -> str:
    return str(pruner["_target_"]).rpartition(".")[2] if pruner else "no pruner"
