"""Whether a run is worth going on with: Optuna's pruners over the histories in the run store.

A job asks after each epoch. What it is compared with are the `history.csv` files of the runs inside the space,
finished, pruned, or running in whatever process, so all processes that share a store decide alike; each run is
numbered by its id, since Hyperband draws a bracket by the number. With replicates a run is compared with runs of
the same seed.
"""

import functools
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from crackdet.core.files import read_csv, read_json, write_json
from crackdet.store.run import Run
from crackdet.store.run_store import RunStore
from crackdet.store.watcher import StoreWatcher
from crackdet.sweep.search.history import by_epoch
from crackdet.sweep.search.objectives import Objective
from crackdet.sweep.search.pruners import STUDY, Rungs, build_pruner, rungs_of
from crackdet.sweep.search.space import Space

FILE = "pruning.json"  # in the sweep's folder: what jobs in other processes need to know


@dataclass(frozen=True)
class PruningSpec:
    """What runs of a search are compared by."""

    space: Space
    objective: Objective
    max_epochs: int

    def write(self, directory: Path) -> None:
        content = {"space": self.space.to_json(), "objective": vars(self.objective), "max_epochs": self.max_epochs}
        write_json(directory / FILE, content)

    @classmethod
    def read(cls, directory: Path) -> "PruningSpec":
        content = read_json(directory / FILE)
        return cls(Space.from_json(content["space"]), Objective(**content["objective"]), content["max_epochs"])


def judge_of(
    directory: Path, pruner: Mapping[str, Any], run: Run
) -> Callable[[Sequence[Mapping[str, Any]]], str | None]:
    """Decides over a run that is a trial of the search in this folder.

    Raises:
        UserError: where the pruner cannot be built.
    """
    wanted = json.dumps(dict(pruner), sort_keys=True)
    board = _board(directory, run.root, wanted)
    return functools.partial(board.judge, run)


@functools.lru_cache(maxsize=4)  # one for all jobs of a search in this process
def _board(directory: Path, store: Path, pruner: str) -> "HistoryPruner":
    return HistoryPruner(PruningSpec.read(directory), RunStore(store), json.loads(pruner))


class HistoryPruner:
    """The runs of a store as Optuna's pruners want to see them."""

    def __init__(self, terms: PruningSpec, store: RunStore, pruner: Mapping[str, Any]) -> None:
        self._terms, self._watcher = terms, StoreWatcher(store)
        self._open: dict[str, Run] = {}  # runs that lie inside the space, or may, and are not finished
        self._pruner = build_pruner(pruner, terms.max_epochs)
        self._rungs = rungs_of(pruner, terms.max_epochs)
        self._name = str(pruner["_target_"]).rpartition(".")[2]
        self._trials: dict[str, FrozenTrial] = {}
        self._seeds: dict[str, str | None] = {}  # of each run that was looked at; None: outside the space
        self._storage = _Trials()
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # in jobs of their own process too
        self._study = optuna.create_study(
            storage=self._storage, study_name=STUDY, direction=terms.objective.direction, pruner=self._pruner
        )

    def judge(self, run: Run, history: Sequence[Mapping[str, Any]]) -> str | None:
        """Why this run should be pruned after the last of these epochs; None where it should go on."""
        column = str(self._terms.objective.column)
        values = {int(row["epoch"]): float(row[column]) for row in history}
        if not values:
            return None
        self._look(run)
        seed = self._seeds.get(run.id)
        others = [trial for other, trial in self._trials.items() if other != run.id and self._seeds[other] == seed]
        last = max(values)
        trial = _trial(run, values, TrialState.RUNNING, self._rungs, before=last)
        self._storage.trials = [*others, trial]
        if not self._pruner.prune(self._study, trial):
            return None
        name = self._terms.objective.name
        return f"after epoch {last} of {self._terms.max_epochs}, {name} {values[last]:.4f} ({self._name})"

    def _look(self, own: Run) -> None:
        """Reads the histories that are new or have grown."""
        self._open |= {run.id: run for run in self._watcher.update()[0]}
        for run in list(self._open.values()):
            if run.id not in self._seeds:
                content = read_json(run.identity_file)
                if not content:
                    continue  # a moment ago it was claimed
                located = self._terms.space.locate(content)
                self._seeds[run.id] = located.seed if located else None
            if self._seeds[run.id] is None:
                del self._open[run.id]
                continue
            if run.id == own.id:
                continue
            if not self._watcher.has_changed(run):
                continue
            finished = run.result_file.exists()
            if values := by_epoch(read_csv(run.history_file), str(self._terms.objective.column)):
                state = TrialState.COMPLETE if finished else TrialState.RUNNING
                self._trials[run.id] = _trial(run, values, state, self._rungs)
                if finished:
                    del self._open[run.id]


class _Trials(optuna.storages.InMemoryStorage):
    """A storage that holds what it is given: pruners look into it and note rungs, which follow from the values."""

    def __init__(self) -> None:
        super().__init__()
        self.trials: list[FrozenTrial] = []

    def get_all_trials(self, study_id: int, deepcopy: bool = True, states: Any = None) -> list[FrozenTrial]:
        return [trial for trial in self.trials if states is None or trial.state in states]

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        return


def _trial(
    run: Run, values: dict[int, float], state: TrialState, rungs: Rungs, before: int | None = None
) -> FrozenTrial:
    """`before`: the epoch that is being judged, whose rung the pruner itself climbs."""
    number = zlib.crc32(run.id.encode())
    reached = {step: value for step, value in values.items() if before is None or step < before}
    complete = state == TrialState.COMPLETE
    trial = optuna.trial.create_trial(
        state=state,
        value=values[max(values)] if complete else None,
        intermediate_values=values,
        system_attrs=rungs(number, reached),
    )
    trial.number = number
    trial._trial_id = number
    return trial
