"""A connection by files, between processes that share a folder and nothing else.

Each end appends to a file of its own and reads that of the other. A message is a line, so that one which a killed
process has left half-written spoils itself only. Files are opened anew for each message and each look: on a network
file system that is what makes what others have written visible.
"""

import base64
import functools
import pickle
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crackdet.core.locks import is_held, lock

POLL = 0.05  # seconds between two looks, for an answer
CALM = 1.0  # and where none has come for long
FOLDER, LOCK = ".crew", "lock"  # in a sweep's folder: of its workers; held as long as the sweep's process lives
END = b"end"  # no message encodes as that


class FileConnection:
    """One end; has `send` and `recv` of a `multiprocessing` connection."""

    def __init__(self, writes: Path, reads: Path, there: Callable[[], bool], from_now: bool = False) -> None:
        """`there` says whether the other end lives; `from_now` leaves out what it wrote before, but for the end."""
        self._writes, self._reads, self._there = writes, reads, there
        self._position = 0
        self._messages: list[Any] = []
        if from_now:
            self._messages = [message for message in self._look() if message is END]
        self._said = threading.Event()  # wakes who waits: an answer may come now
        if not writes.exists() or writes.stat().st_size:
            _append(writes, b"\n")  # ends what another process may have left half-written

    def send(self, message: Any) -> None:
        _append(self._writes, base64.b64encode(pickle.dumps(message)) + b"\n")
        self._said.set()

    def close(self) -> None:
        """Says that nothing more comes."""
        _append(self._writes, END + b"\n")

    def poll(self) -> bool:
        """Whether there is something to receive."""
        if not self._messages:
            self._messages = self._look()
        return bool(self._messages)

    def recv(self) -> Any:
        """Waits for the next message.

        Raises:
            EOFError: where the other end has said that nothing more comes, or does not live any more.
        """
        pause = POLL
        while True:
            there = self._there()
            if self.poll():
                message = self._messages.pop(0)
                if message is END:
                    raise EOFError
                return message
            if not there:
                raise EOFError
            pause = POLL if self._said.wait(pause) else min(1.2 * pause, CALM)
            self._said.clear()

    def _look(self) -> list[Any]:
        """What has been written since the last look."""
        try:
            with self._reads.open("rb") as file:
                file.seek(self._position)
                new = file.read()
        except FileNotFoundError:
            return []
        whole = new[: new.rfind(b"\n") + 1]
        self._position += len(whole)
        found = []
        for line in whole.split():
            try:
                found.append(END if line == END else pickle.loads(base64.b64decode(line, validate=True)))
            except (ValueError, EOFError, pickle.UnpicklingError):
                continue  # half a message, of a process that was killed
        return found


class ConnectionDir:
    """The folder of a sweep's letters, as long as the sweep has workers: used as a context, and then deleted."""

    def __init__(self, sweep: Path) -> None:
        self.folder = (sweep / FOLDER).absolute()
        self._lock = lock(self.folder / LOCK)

    def open(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # what is in it is unpickled
        self._lock.acquire()

    def close(self) -> None:
        self._lock.release()
        shutil.rmtree(self.folder, ignore_errors=True)

    def to_worker(self, name: str) -> FileConnection:
        """The sweep's end of the connection with a worker; whether that lives, its launcher knows."""
        return FileConnection(self.folder / f"{name}.orders", self.folder / f"{name}.news", lambda: True)

    @staticmethod
    def to_sweep(folder: Path, name: str) -> FileConnection:
        """The worker's end, which ends where the sweep's process does."""
        there = functools.partial(ConnectionDir.is_open, folder)
        return FileConnection(folder / f"{name}.news", folder / f"{name}.orders", there, from_now=True)

    @staticmethod
    def is_open(folder: Path) -> bool:
        """Whether the sweep's process lives."""
        return is_held(folder / LOCK)


def _append(path: Path, content: bytes) -> None:
    with path.open("ab", buffering=0) as file:
        file.write(content)
