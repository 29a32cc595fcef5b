"""A store in which runs are trained, for a monitor to watch."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from crackdet.core.files import write_csv, write_text
from crackdet.store.failures import Failure, record_attempt, record_failure
from crackdet.store.run_store import RunStore
from crackdet.watch.monitor import StoreMonitor

IDS = [f"custom-{number:012x}" for number in range(3)]
ACTIONS = ("claim", "release", "epoch", "save", "fail", "prune", "publish", "reset", "remove")


class Trainer:
    """Does to the runs of a store what training processes do."""

    def __init__(self, store: Path) -> None:
        self.store = RunStore(store)
        self.held: dict[str, contextlib.ExitStack] = {}

    def do(self, action: str, run_id: str, number: int) -> None:
        run = self.store.run(run_id)
        if action == "claim" and run_id not in self.held:
            self.held[run_id] = contextlib.ExitStack()
            self.held[run_id].enter_context(run.claim())
            write_text(run.config_file, "trainer:\n  max_epochs: 9\n  monitor: valid_accuracy\n")
            record_attempt(run)
        elif action == "remove" and run_id not in self.held and run.directory.is_dir():
            self.store.remove(run)
        elif run_id not in self.held:
            return
        elif action == "release":
            self.held.pop(run_id).close()
        elif action == "epoch":
            row = {"epoch": 0, "valid_loss": 1.0, "valid_accuracy": number / 100, "seconds": 1.5}
            write_csv(run.history_file, [*run.snapshot().history, row])
        elif action == "save":
            write_text(run.state_file, str(number))
        elif action == "fail":
            record_failure(run, Failure.ERROR, f"no luck {number}")
        elif action == "prune":
            record_failure(run, Failure.PRUNED, f"after epoch {number}")
        elif action == "publish":
            result = {"accuracy": number / 100, "loss": 0.5, "epoch": 1, "parameters": 1, "seconds": 1.0}
            run.publish({**result, "valid_images": 9, "valid_digest": "0", "settings": {"seed": number}})
        elif action == "reset":
            run.reset()


def read_all(folder: Path) -> StoreMonitor:
    monitor = StoreMonitor(folder)
    while monitor.update() or monitor.num_unread:
        pass
    return monitor


@pytest.fixture
def trainer(tmp_path: Path) -> Iterator[Trainer]:
    """A trainer with a running, a finished and a failed run."""
    trainer = Trainer(tmp_path)
    for run_id, actions in zip(IDS, (("epoch", "epoch"), ("publish", "release"), ("fail", "release")), strict=True):
        for number, action in enumerate(("claim", *actions)):
            trainer.do(action, run_id, 70 + number)
    yield trainer
    for held in trainer.held.values():
        held.close()
