"""Decides whether a run should be pruned: Optuna's pruners over the histories in the run store.

A job asks after each epoch. Its run is compared with the `history.csv` files of the runs inside the search space,
whether finished, pruned or running in any process, so all processes that share a store decide alike. The number of a
trial follows from its run id, since Hyperband derives the bracket from the number. With several seeds, a run is
compared with runs of the same seed.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from crackdet.core.files import write_json
from crackdet.core.reading import read_json
from crackdet.store.history import read_history
from crackdet.store.identity import read_identity
from crackdet.store.run import Run
from crackdet.store.run_store import RunStore
from crackdet.store.watcher import StoreWatcher
from crackdet.sweep.search.objectives import Objective
from crackdet.sweep.search.pruners import STUDY, build_pruner, rungs_of
from crackdet.sweep.search.search_config import class_name
from crackdet.sweep.search.space import Space
from crackdet.sweep.search.trial import by_epoch

FILE = "pruning.json"  # in the sweep's folder, for jobs in other processes


@dataclass(frozen=True)
class PruningSpec:
    """What the runs of a search are compared by."""

    space: Space
    objective: Objective
    max_epochs: int

    def write(self, directory: Path) -> None:
        write_json(directory / FILE, asdict(self))

    @classmethod
    def read(cls, directory: Path) -> "PruningSpec":
        content = read_json(directory / FILE)
        return cls(Space.from_json(content["space"]), Objective(**content["objective"]), content["max_epochs"])


class HistoryPruner:
    """Presents the runs of a store to one of Optuna's pruners as trials."""

    def __init__(self, spec: PruningSpec, store: RunStore, pruner: Mapping[str, Any]) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # in worker processes too
        self._spec, self._watcher = spec, StoreWatcher(store)
        self._column = str(spec.objective.column)
        self._pruner = build_pruner(pruner, spec.max_epochs)
        self._rungs = rungs_of(pruner, spec.max_epochs)
        self._name = class_name(pruner)
        self._open: dict[str, Run] = {}  # runs that may lie inside the space and are not finished
        self._seeds: dict[str, str | None] = {}  # by run id; None: outside the space
        self._trials: dict[str, FrozenTrial] = {}  # by run id
        self._storage = _TrialList()
        self._study = optuna.create_study(
            storage=self._storage, study_name=STUDY, direction=spec.objective.direction, pruner=self._pruner
        )

    def prune_reason(self, run: Run, history: Sequence[Mapping[str, Any]]) -> str | None:
        """Return why a run should be pruned after the last epoch of its history; None if it should continue."""
        values = {int(row["epoch"]): float(row[self._column]) for row in history}
        if not values:
            return None
        self._refresh(run)
        seed = self._seeds.get(run.id)
        others = [trial for other, trial in self._trials.items() if other != run.id and self._seeds[other] == seed]
        epoch = max(values)
        trial = self._trial(run, values, TrialState.RUNNING, num_noted=epoch - 1)
        self._storage.trials = [*others, trial]
        if not self._pruner.prune(self._study, trial):
            return None
        name = self._spec.objective.name
        return f"after epoch {epoch} of {self._spec.max_epochs}, {name} {values[epoch]:.4f} ({self._name})"

    def _refresh(self, own: Run) -> None:
        """Read the histories that are new or have grown."""
        self._open |= {run.id: run for run in self._watcher.update()[0]}
        for run in list(self._open.values()):
            if run.id not in self._seeds:
                content = read_identity(run)
                if not content:
                    continue  # claimed a moment ago
                match = self._spec.space.match_identity(content)
                self._seeds[run.id] = match.seed if match else None
            if self._seeds[run.id] is None:
                del self._open[run.id]
                continue
            if run.id == own.id or not self._watcher.has_changed(run):
                continue
            finished = run.result_file.exists()
            if values := by_epoch(read_history(run), self._column):
                state = TrialState.COMPLETE if finished else TrialState.RUNNING
                self._trials[run.id] = self._trial(run, values, state)
                if finished:
                    del self._open[run.id]

    def _trial(
        self, run: Run, values: dict[int, float], state: TrialState, num_noted: int | None = None
    ) -> FrozenTrial:
        """Return a run as a trial; its rungs up to epoch `num_noted` are noted, by default all."""
        number = zlib.crc32(run.id.encode())
        noted = {epoch: value for epoch, value in values.items() if num_noted is None or epoch <= num_noted}
        trial = optuna.trial.create_trial(
            state=state,
            value=values[max(values)] if state == TrialState.COMPLETE else None,
            intermediate_values=values,
            system_attrs=self._rungs(number, noted),
        )
        trial.number = number
        trial._trial_id = number
        return trial


class _TrialList(optuna.storages.InMemoryStorage):
    """A storage with a given list of trials, in which pruners note no rungs: those follow from the values."""

    def __init__(self) -> None:
        super().__init__()
        self.trials: list[FrozenTrial] = []

    def get_all_trials(self, study_id: int, deepcopy: bool = True, states: Any = None) -> list[FrozenTrial]:
        return [trial for trial in self.trials if states is None or trial.state in states]

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        return
