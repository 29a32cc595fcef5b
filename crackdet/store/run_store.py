"""The run store: a folder of run directories, the only database.

Every path is a property of the `Run` it belongs to. `result.json` is written last, and its being there and
valid is what "finished" means; a checkpoint alone means nothing. It knows the digest of every file of the run,
so that a file which was cut short, overwritten or exchanged is noticed and not believed.
"""

import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from filelock import Timeout

from crackdet.core.errors import StoreError, UserError
from crackdet.core.files import (
    file_digest,
    read_checksummed_json,
    read_csv,
    read_json,
    write_checksummed_json,
    write_json,
)
from crackdet.core.locks import is_held, lock
from crackdet.store.identity import NON_IDENTITY, Identity

log = logging.getLogger(__name__)

RUN_ID = re.compile(r"[a-z0-9_]+-[0-9a-f]{12}")
WEIGHTS = "model.safetensors"
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


class Failure(StrEnum):
    """Why a run has not ended, as `failure.json` says it."""

    DIED = "died"  # the process was killed: written before training, and taken away after it
    ERROR = "error"
    HOPELESS = "hopeless"  # would happen again, such as a NaN
    REFUSED = "refused"  # for something that the user can mend, such as weights that are not there
    PRUNED = "pruned"  # no failure: a search found it not worth going on with


@dataclass(frozen=True)
class Run:
    """One run directory: its paths, and what stands in it."""

    root: Path  # of its store
    id: str

    @cached_property
    def directory(self) -> Path:
        return self.root / self.id

    def anew(self) -> "Run":
        """The same run, without what is remembered of its files."""
        return Run(self.root, self.id)

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
        return self.directory / WEIGHTS

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
    def pointing_file(self) -> Path:
        return self.directory / "pointing.json"

    @property
    def mlflow_file(self) -> Path:
        return self.directory / "mlflow.json"

    @property
    def lock_file(self) -> Path:
        return self.directory / "lock"

    @cached_property
    def result(self) -> dict[str, Any] | None:
        """The content of `result.json`; None where it is absent or invalid."""
        content = read_checksummed_json(self.result_file)
        if content.get("id") != self.id:
            return None
        return content if all(_is(content.get(k), kind) for k, kind in RESULT_FIELDS.items()) else None

    def publish(self, result: Mapping[str, Any]) -> None:
        """Makes the run finished: writes `result.json`, with the digests of the files that it speaks of."""
        files = (
            self.config_file, self.identity_file, self.provenance_file, self.history_file, self.predictions_file,
            self.weights_file,
        )  # fmt: skip
        content = {"id": self.id, **result, "files": [_stamp(path) for path in files if path.exists()]}
        write_checksummed_json(self.result_file, content)
        self.failure_file.unlink(missing_ok=True)
        self._forget()

    def damage(self, thorough: bool = False) -> str | None:
        """Which file of a finished run is not as it was published; None where all are, or nothing was.

        Files whose size and time of change are as then are taken for whole. Of the others the content is
        compared, of the weights only if `thorough`: they may be large, and are compared when they are used.

        Raises:
            StoreError: if `thorough`, where a file cannot be read: what is out of reach need not be damaged.
        """
        if self.result is None:
            return f"{self.result_file.name} is not valid" if self.result_file.exists() else None
        directory = str(self.directory)
        for name, size, mtime_ns, digest in map(str.split, self.result.get("files", [])):
            path = f"{directory}/{name}"  # text, not a Path: this is done for each file of each run of a store
            is_weights = name == WEIGHTS
            try:
                now = os.stat(path)  # noqa: PTH116
            except OSError:
                if is_weights:
                    continue  # they may be removed to make room; the result stays
                return f"{name} is missing"
            if now.st_size != int(size):
                return f"{name} has {now.st_size} bytes, not {size}"
            touched = now.st_mtime_ns != int(mtime_ns)
            try:
                if touched and (thorough or not is_weights) and file_digest(Path(path)) != digest:
                    return f"{name} is not what was published"
            except OSError as error:
                if thorough:
                    raise StoreError(
                        f"{path}: cannot be read ({error.strerror}); make it readable, or remove the run: "
                        f"crackdet rm {self.id}"
                    ) from None
                return f"{name} cannot be read ({error.strerror})"
        return None

    @property
    def weights_digest(self) -> str | None:
        """SHA-256 of the published weights, as the result knows it: also where they have been removed."""
        stamps = [stamp.split() for stamp in (self.result or {}).get("files", [])]
        return next((digest for name, _, _, digest in stamps if name == WEIGHTS), None)

    def check_weights(self) -> Path:
        """The file of the published weights, its content compared with what was published.

        Raises:
            StoreError: where it is missing or another.
        """
        published = self.weights_digest
        if not self.weights_file.exists() or published is None:
            raise StoreError(f"{self.weights_file}: has been removed; runtime.retrain=true trains the run again")
        if file_digest(self.weights_file) != published:
            raise StoreError(
                f"{self.weights_file}: is damaged, its content is not what was published; "
                "the command that trained the run trains it again"
            )
        return self.weights_file

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved configuration as plain values; empty where there is none."""
        import yaml

        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C where PyYAML was built with it: ten times faster
        try:
            tree = yaml.load(self.config_file.read_bytes(), loader)
        except (OSError, ValueError, yaml.YAMLError):
            return {}
        return tree if isinstance(tree, dict) else {}

    @cached_property
    def settings(self) -> dict[str, Any]:
        """All settings that decide the result, by group, and what the identity knows besides.

        That is which photographs these were (`data.fingerprint`), what code (`model._source_`) and which file
        (`model._weights_`): the settings may say the same of others.
        """
        settings = (self.result or {}).get("settings")
        settings = settings or {group: value for group, value in self.config.items() if group not in NON_IDENTITY}
        content = read_json(self.identity_file)
        model = content.get("model", {})
        digest = re.match("sha256:(.{12})", str(model.get("weights")))
        more = {
            "data": {"fingerprint": str(content.get("fingerprint", ""))[:12]},
            "model": {"_source_": str(model.get("_source_", ""))[:12], "_weights_": digest[1] if digest else ""},
        }
        for group, values in more.items():
            known = {key: value for key, value in values.items() if value}
            if known and isinstance(settings.get(group), dict):
                settings = {**settings, group: {**settings[group], **known}}
        return settings

    @property
    def failure(self) -> dict[str, Any]:
        """The content of `failure.json`: kind, reason, attempts; empty where nothing failed."""
        return read_json(self.failure_file)

    def count_attempt(self) -> None:
        """Notes that training begins: should the process die, this is what is left to say so."""
        self.fail(Failure.DIED, "its process died, killed or out of memory", attempts=self.attempts + 1)

    def count_progress(self) -> None:
        """Notes that an attempt has come further than the ones before: they do not count any more."""
        if self.attempts > 1:
            self.fail(Failure.DIED, str(self.failure.get("reason")), attempts=1)

    def fail(self, kind: Failure, reason: str, attempts: int | None = None, **more: str) -> None:
        """Writes `failure.json`."""
        counted = self.attempts if attempts is None else attempts
        write_json(self.failure_file, {"kind": kind, "reason": reason, "attempts": counted, **more})

    @property
    def attempts(self) -> int:
        counted = self.failure.get("attempts", 0)
        return counted if isinstance(counted, int) else 0

    @property
    def provenance(self) -> dict[str, Any]:
        return read_json(self.provenance_file)

    @property
    def history(self) -> list[dict[str, str]]:
        """One row per epoch."""
        return read_csv(self.history_file)

    @property
    def predictions(self) -> list[dict[str, str]]:
        """One row per validation image."""
        return read_csv(self.predictions_file)

    def status(self) -> Status:
        """How far the run is, from what stands in its directory."""
        if self.result is not None and self.damage() is None:
            return Status.FINISHED
        if not self.directory.is_dir():
            return Status.TODO
        if is_held(self.lock_file):
            return Status.RUNNING
        if self.result_file.exists():
            return Status.CORRUPT
        failure = self.failure
        if failure.get("kind") == Failure.PRUNED:
            return Status.PRUNED
        if failure and failure.get("kind") != Failure.DIED:
            return Status.FAILED
        if failure or self.state_file.exists() or self.history_file.exists():
            return Status.INTERRUPTED
        return Status.TODO

    def is_finished(self, identity: str) -> bool:
        """Whether there is a sound result of exactly the identity with this digest.

        Raises:
            StoreError: where there is a sound result of another one under the same id, or its files cannot be read.
        """
        if self.result is None or self.damage(thorough=True) is not None:
            return False
        if (self.result.get("identity") or Identity(read_json(self.identity_file)).digest) != identity:
            raise StoreError(
                f"{self.identity_file}: holds another configuration than the one that hashes to {self.id}; "
                f"remove the run: crackdet rm {self.id}"
            )
        return True

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Holds the run for this process: by a lock of the operating system, which dies with the process.

        Raises:
            AlreadyRunning: where another process holds it.
            StoreError: where it belongs to another user, who lets nobody write.
        """
        own = lock(self.lock_file)
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            own.acquire(timeout=0.5, poll_interval=0.05)  # longer than a look at the status holds it
        except Timeout:
            raise AlreadyRunning(self.id) from None
        except PermissionError:
            raise StoreError(
                f"{self.directory}: may not be written; it is another user's, or the store is not shared: give it a "
                "group that all are in, its folders the mode 2775, and train with umask 002"
            ) from None
        try:
            self.__dict__.pop("result", None)  # another process may have finished it meanwhile
            for orphan in self.directory.glob(".*.tmp"):  # of a process that died while it wrote
                orphan.unlink(missing_ok=True)
            yield
        finally:
            own.release()

    def clear(self) -> None:
        """Forgets all that was computed, the result first.

        The lock stays, since a process may be waiting at it, and so does what is not crackdet's.
        """
        computed = (
            self.result_file, self.failure_file, self.state_file, self.weights_file, self.predictions_file,
            self.history_file, self.provenance_file, self.identity_file, self.config_file, self.pointing_file,
            self.mlflow_file,
        )  # fmt: skip
        for path in computed:
            path.unlink(missing_ok=True)
        self._forget()

    def _forget(self) -> None:
        """What is remembered of the files."""
        for name in ("result", "config", "settings"):
            self.__dict__.pop(name, None)


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
        return Run(self.root, run_id)

    def check_writable(self) -> None:
        """Raises UserError where run directories cannot be made."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            writable = os.access(self.root, os.W_OK | os.X_OK)
        except OSError as error:
            raise UserError(
                f"runtime.store={self.root}: cannot be made ({error.strerror}); give another folder"
            ) from None
        if not writable:
            raise UserError(f"runtime.store={self.root}: cannot be written; give another")

    def runs(self) -> Iterator[Run]:
        """All runs that may be read, by name."""
        if self.root.is_dir():
            with os.scandir(self.root) as entries:
                names = sorted(e.name for e in entries if RUN_ID.fullmatch(e.name) and e.is_dir(follow_symlinks=False))
            for name in names:
                if os.access(f"{self.root}/{name}", os.R_OK | os.X_OK):
                    yield Run(self.root, name)
                else:
                    _say_unreadable(f"{self.root}/{name}")

    def find(self, text: str) -> Run:
        """The run that a user means by an id or the beginning of one.

        Raises:
            UserError: where none or several are meant.
        """
        if not text:
            raise UserError("no run is named: give its id, the beginning of it, or best")
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


@cache
def _say_unreadable(directory: str) -> None:
    log.warning("%s: may not be read by this user, and is left out", directory)


def _stamp(path: Path) -> str:
    """Name, bytes, time of change in nanoseconds and SHA-256, in a line: a store has many of them."""
    status = path.stat()
    return f"{path.name} {status.st_size} {status.st_mtime_ns} {file_digest(path)}"


def _is(value: Any, kind: type) -> bool:
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, kind) and not isinstance(value, bool)
