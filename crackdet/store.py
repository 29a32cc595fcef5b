"""The run store: a folder of run directories, the only database.

Every path is a property of the `Run` it belongs to. A file appears whole or not at all: it is written beside
its place, flushed, and renamed. `result.json` is written last, and its being there and valid is what
"finished" means; a checkpoint alone means nothing.
"""

import csv
import io
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from crackdet.errors import StoreError, UserError
from crackdet.identity import Identity

RUN_ID = re.compile(r"[a-z0-9_]+-[0-9a-f]{12}")
RESULT_FIELDS = {"accuracy": float, "loss": float, "epoch": int, "parameters": int, "seconds": float}


class Status(StrEnum):
    TODO = "todo"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    FAILED = "failed"
    PRUNED = "pruned"
    CORRUPT = "corrupt"
    FINISHED = "finished"


class AlreadyRunning(Exception):
    """Another process holds the run."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A neighbour to write, which takes the place of `path` when the block ends well and vanishes when not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty where the file is missing or damaged."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@dataclass(frozen=True)
class Run:
    """One run directory: its paths, and what stands in it."""

    directory: Path

    @property
    def id(self) -> str:
        return self.directory.name

    @property
    def config_file(self) -> Path:
        return self.directory / "config.yaml"

    @property
    def identity_file(self) -> Path:
        return self.directory / "identity.json"

    @property
    def provenance_file(self) -> Path:
        return self.directory / "provenance.json"

    @property
    def history_file(self) -> Path:
        return self.directory / "history.csv"

    @property
    def predictions_file(self) -> Path:
        return self.directory / "predictions.csv"

    @property
    def weights_file(self) -> Path:
        return self.directory / "model.safetensors"

    @property
    def state_file(self) -> Path:
        return self.directory / "resume.pt"

    @property
    def failure_file(self) -> Path:
        return self.directory / "failure.json"

    @property
    def result_file(self) -> Path:
        return self.directory / "result.json"

    @property
    def lock_file(self) -> Path:
        return self.directory / "lock"

    @cached_property
    def result(self) -> dict[str, Any] | None:
        """The content of `result.json`; None where it is absent or invalid."""
        content = read_json(self.result_file)
        if content.get("id") != self.id:
            return None
        return content if all(_is(content.get(k), kind) for k, kind in RESULT_FIELDS.items()) else None

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved configuration as plain values; empty where there is none."""
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException
        from yaml import YAMLError

        try:
            tree = OmegaConf.to_container(OmegaConf.load(self.config_file))
        except (OSError, ValueError, OmegaConfBaseException, YAMLError):
            return {}
        return tree if isinstance(tree, dict) else {}  # type: ignore[return-value]

    @property
    def failure(self) -> dict[str, Any]:
        return read_json(self.failure_file)

    @property
    def provenance(self) -> dict[str, Any]:
        return read_json(self.provenance_file)

    @property
    def history(self) -> list[dict[str, str]]:
        """One row per epoch."""
        return read_csv(self.history_file) if self.history_file.exists() else []

    def status(self) -> Status:
        if not self.directory.is_dir():
            return Status.TODO
        if self.result is not None:
            return Status.FINISHED
        if self._is_claimed():
            return Status.RUNNING
        if self.result_file.exists():
            return Status.CORRUPT
        if self.failure_file.exists():
            return Status.FAILED
        if self.state_file.exists() or self.history_file.exists():
            return Status.INTERRUPTED
        return Status.TODO

    def check_identity(self, identity: Identity) -> None:
        """Makes sure that this directory is of the run with this identity.

        Raises:
            StoreError: where another identity stands in it.
        """
        try:
            found = json.loads(self.identity_file.read_bytes())
        except FileNotFoundError:
            return
        except (OSError, ValueError):
            raise StoreError(f"{self.identity_file}: cannot be read; remove the run: crackdet rm {self.id}") from None
        if found != json.loads(identity.canonical):
            raise StoreError(
                f"{self.identity_file}: holds another configuration than the one that hashes to {self.id}; "
                f"the run was edited or copied: remove it with crackdet rm {self.id}"
            )

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Holds the run for this process: by a lock of the operating system, which dies with the process.

        Raises:
            AlreadyRunning: where another process holds it.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.lock_file)
        try:
            lock.acquire(timeout=0.5, poll_interval=0.05)  # longer than a look at the status holds it
        except Timeout:
            raise AlreadyRunning(self.id) from None
        try:
            self.__dict__.pop("result", None)  # another process may have finished it meanwhile
            yield
        finally:
            lock.release()

    def clear(self) -> None:
        """Forgets all that was computed; the lock stays, since a process may be waiting at it."""
        for path in self.directory.iterdir():
            if path != self.lock_file:
                path.unlink()
        self.__dict__.pop("result", None)
        self.__dict__.pop("config", None)

    def _is_claimed(self) -> bool:
        if not self.lock_file.exists():
            return False
        lock = FileLock(self.lock_file)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return True
        lock.release()
        return False


@dataclass(frozen=True)
class RunStore:
    """A folder of run directories."""

    root: Path

    def run(self, run_id: str) -> Run:
        """The run of this id, whether or not it has begun.

        Raises:
            UserError: for a text that is no run id (and might lead out of the store).
        """
        if not RUN_ID.fullmatch(run_id):
            raise UserError(f"{run_id}: is no run id; one looks like custom-0123456789ab")
        return Run(self.root / run_id)

    def runs(self) -> Iterator[Run]:
        """All runs, by name."""
        if self.root.is_dir():
            with os.scandir(self.root) as entries:
                names = sorted(e.name for e in entries if RUN_ID.fullmatch(e.name) and e.is_dir(follow_symlinks=False))
            for name in names:
                yield Run(self.root / name)

    def find(self, text: str) -> Run:
        """The run that a user means by an id or the beginning of one.

        Raises:
            UserError: where none or several are meant.
        """
        matches = [run for run in self.runs() if run.id == text] or [
            run for run in self.runs() if run.id.startswith(text) or run.id.partition("-")[2].startswith(text)
        ]
        if not matches:
            raise UserError(f"{text}: no such run in {self.root}; crackdet runs lists them")
        if len(matches) > 1:
            raise UserError(f"{text}: could be {', '.join(run.id for run in matches[:5])}; give more of the id")
        return matches[0]

    def remove(self, run: Run) -> None:
        """Deletes a run for good.

        Raises:
            UserError: where a process is at work on it.
        """
        try:
            with run.claim():
                shutil.rmtree(run.directory)
        except AlreadyRunning:
            raise UserError(f"{run.id}: is running; stop it first") from None


def _is(value: Any, kind: type) -> bool:
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, kind) and not isinstance(value, bool)
