"""The runs of a store that are new, told without listing it again while its folder is as it was."""

import os
import time

from crackdet.store.run_store import RUN_ID, Run, RunStore

SETTLED = 2.0  # seconds: what was changed later than so long before may change again unnoticed


class StoreWatcher:
    """Names each run of a store once."""

    def __init__(self, store: RunStore) -> None:
        self._root = store.root
        self._names: set[str] = set()
        self._settled: int | None = None  # time of change of the folder at the last listing

    def new(self) -> list[Run]:
        """The runs that were not there the last time, by name."""
        began = time.time()
        try:
            changed = self._root.stat().st_mtime_ns
            if changed == self._settled:
                return []
            names = set(os.listdir(self._root)) - self._names  # noqa: PTH208  # text: a store has many of them
        except OSError:
            return []
        self._settled = changed if changed / 1e9 < began - SETTLED else None
        self._names |= names
        runs = [Run(self._root, name) for name in sorted(names) if RUN_ID.fullmatch(name)]
        return [run for run in runs if run.directory.is_dir() and not run.directory.is_symlink()]
