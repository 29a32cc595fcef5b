"""A connection through files, between processes that share nothing but a folder.

Each end appends to its own file and reads the file of the other end. A message is one line, so a killed process can
damage only the message that it was writing. Files are opened for every read and write: on a network file system this
makes the writes of other machines visible.
"""

import base64
import pickle
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crackdet.core.locks import is_held, lock

POLL_INTERVAL = 0.05  # seconds between two reads while an answer is expected
MAX_POLL_INTERVAL = 1.0  # the interval grows to this while none comes
FOLDER, LOCK_FILE = ".workers", "lock"  # in a sweep's folder; the sweep's process holds the lock
CLOSED = b"closed"  # line that ends the messages; no encoded message equals it


class FileConnection:
    """One end, with the `send`, `recv`, `poll` and `close` of a `multiprocessing` connection.

    Args:
        peer_is_alive: Returns whether the process at the other end lives.
        skip_existing: Whether to ignore the messages that were written before, except that the connection is closed.
    """

    def __init__(
        self, write_to: Path, read_from: Path, peer_is_alive: Callable[[], bool], skip_existing: bool = False
    ) -> None:
        self._write_to, self._read_from, self._peer_is_alive = write_to, read_from, peer_is_alive
        self._position = 0
        self._messages: list[Any] = []
        if skip_existing:
            self._messages = [message for message in self._read_new() if message is CLOSED]
        self._sent = threading.Event()  # an answer may come soon: poll at the short interval
        if not write_to.exists() or write_to.stat().st_size:
            _append(write_to, b"\n")  # ends a line that a killed process may have left incomplete

    def send(self, message: Any) -> None:
        _append(self._write_to, base64.b64encode(pickle.dumps(message)) + b"\n")
        self._sent.set()

    def close(self) -> None:
        """Tell the other end that no more messages follow."""
        _append(self._write_to, CLOSED + b"\n")

    def poll(self) -> bool:
        """Return whether a message can be received without waiting."""
        if not self._messages:
            self._messages = self._read_new()
        return bool(self._messages)

    def recv(self) -> Any:
        """Wait for the next message.

        Raises:
            EOFError: If the other end has closed the connection or has died.
        """
        interval = POLL_INTERVAL
        while True:
            is_alive = self._peer_is_alive()  # before the read, which then sees its last message
            if self.poll():
                message = self._messages.pop(0)
                if message is CLOSED:
                    raise EOFError
                return message
            if not is_alive:
                raise EOFError
            interval = POLL_INTERVAL if self._sent.wait(interval) else min(1.2 * interval, MAX_POLL_INTERVAL)
            self._sent.clear()

    def _read_new(self) -> list[Any]:
        """Return the messages that were completed since the last read."""
        try:
            with self._read_from.open("rb") as file:
                file.seek(self._position)
                content = file.read()
        except FileNotFoundError:
            return []
        complete = content[: content.rfind(b"\n") + 1]
        self._position += len(complete)
        messages = []
        for line in complete.split():
            try:
                messages.append(CLOSED if line == CLOSED else pickle.loads(base64.b64decode(line, validate=True)))
            except (ValueError, EOFError, pickle.UnpicklingError):
                continue  # incomplete: its process was killed
        return messages


class ConnectionDir:
    """The folder of the connections between a sweep and its workers, deleted when the sweep closes it."""

    def __init__(self, sweep_directory: Path) -> None:
        self.folder = (sweep_directory / FOLDER).absolute()
        self._lock = lock(self.folder / LOCK_FILE)

    def open(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # its content is unpickled
        self._lock.acquire()

    def close(self) -> None:
        self._lock.release()
        shutil.rmtree(self.folder, ignore_errors=True)

    def connect_to_worker(self, name: str) -> FileConnection:
        """Return the sweep's end; whether the worker is alive is the backend's business."""
        return FileConnection(self.folder / f"{name}.inbox", self.folder / f"{name}.outbox", lambda: True)

    @staticmethod
    def connect_to_sweep(folder: Path, name: str) -> FileConnection:
        """Return the worker's end, which ends when the sweep's process does."""
        outbox, inbox = folder / f"{name}.outbox", folder / f"{name}.inbox"
        return FileConnection(outbox, inbox, lambda: ConnectionDir.is_open(folder), skip_existing=True)

    @staticmethod
    def is_open(folder: Path) -> bool:
        """Return whether the sweep's process is alive."""
        return is_held(folder / LOCK_FILE)


def _append(path: Path, content: bytes) -> None:
    with path.open("ab", buffering=0) as file:
        file.write(content)
