"""The prune check of a run. Importing this module does not import optuna; the first check does."""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crackdet.running.job import PruneCheck
from crackdet.store.run import Run
from crackdet.store.run_store import RunStore

if TYPE_CHECKING:
    from crackdet.sweep.search.pruning import HistoryPruner


def make_prune_check(directory: Path, pruner: Mapping[str, Any], run: Run) -> PruneCheck:
    """Return the prune check of a run that belongs to the search in this folder.

    Raises:
        UserError: If the pruner cannot be built.
    """
    history_pruner = _cached_pruner(directory, run.root, json.dumps(dict(pruner), sort_keys=True))
    return functools.partial(history_pruner.prune_reason, run)


@functools.lru_cache(maxsize=4)  # shared by the jobs of a search in this process
def _cached_pruner(directory: Path, store: Path, pruner: str) -> "HistoryPruner":
    from crackdet.sweep.search.pruning import HistoryPruner, PruningSpec

    return HistoryPruner(PruningSpec.read(directory), RunStore(store), json.loads(pruner))
