"""Messages between processes arrive once and in order, and end with the death of either side."""

import base64
import multiprocessing
import os
import pickle
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crackdet.sweep.execution.file_connection import ConnectionDir, FileConnection


@pytest.fixture
def connections(tmp_path: Path) -> ConnectionDir:
    return ConnectionDir(tmp_path / "sweep")


def receive_all(connection: FileConnection) -> list[object]:
    messages = []
    while connection.poll():
        messages.append(connection.recv())
    return messages


@given(st.lists(st.text() | st.binary() | st.integers(), max_size=8), st.data())
def test_messages_arrive_once_and_in_order_among_incomplete_ones(
    tmp_path_factory: pytest.TempPathFactory, messages: list[object], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("connection")
    receiver = FileConnection(folder / "a", folder / "b", lambda: True)
    received: list[object] = []
    for message in messages:
        FileConnection(folder / "b", folder / "a", lambda: True).send(message)  # as a new process each time
        incomplete = base64.b64encode(pickle.dumps("incomplete"))[: data.draw(st.integers(0, 12))]
        with (folder / "b").open("ab") as file:
            file.write(incomplete)
        if data.draw(st.booleans()):
            received += receive_all(receiver)
    assert received + receive_all(receiver) == messages


def test_a_restarted_worker_ignores_earlier_jobs_but_not_the_end_of_the_connection(
    connections: ConnectionDir,
) -> None:
    connections.open()
    sweep = connections.connect_to_worker("1")
    sweep.send("a job")
    worker = ConnectionDir.connect_to_sweep(connections.folder, "1")
    assert not worker.poll()
    sweep.send("another")
    assert worker.recv() == "another"
    sweep.close()
    with pytest.raises(EOFError):
        ConnectionDir.connect_to_sweep(connections.folder, "1").recv()
    connections.close()


def test_the_connection_ends_with_the_process_of_the_sweep(connections: ConnectionDir) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    sweep = context.Process(target=run_sweep, args=(connections.folder.parent, theirs))
    sweep.start()
    assert ours.recv() == "open"
    worker = ConnectionDir.connect_to_sweep(connections.folder, "1")
    ours.send("connected")
    assert worker.recv() == "last message"
    os.kill(sweep.pid or 0, signal.SIGKILL)
    with pytest.raises(EOFError):
        worker.recv()
    sweep.join()


def run_sweep(directory: Path, pipe: Connection) -> None:
    connections = ConnectionDir(directory)
    connections.open()
    worker = connections.connect_to_worker("1")
    pipe.send("open")
    pipe.recv()  # the worker is connected
    worker.send("last message")
    pipe.recv()  # waits until the process is killed
