"""Letters between processes: whole, in order, and ended by the death of either side."""

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
def office(tmp_path: Path) -> ConnectionDir:
    return ConnectionDir(tmp_path / "sweep")


def received(letters: FileConnection) -> list[object]:
    found = []
    while letters.poll():
        found.append(letters.recv())
    return found


@given(st.lists(st.text() | st.binary() | st.integers(), max_size=8), st.data())
def test_what_is_sent_arrives_once_in_order_whatever_half_messages_lie_between(
    tmp_path_factory: pytest.TempPathFactory, messages: list[object], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("letters")
    ours = FileConnection(folder / "a", folder / "b", lambda: True)
    arrived: list[object] = []
    for message in messages:
        FileConnection(folder / "b", folder / "a", lambda: True).send(message)  # a process of its own each time
        half = base64.b64encode(pickle.dumps("half a message"))[: data.draw(st.integers(0, 12))]
        with (folder / "b").open("ab") as file:
            file.write(half)
        if data.draw(st.booleans()):
            arrived += received(ours)
    assert arrived + received(ours) == messages


def test_a_worker_that_starts_anew_knows_nothing_of_earlier_jobs_but_that_none_is_to_come(
    office: ConnectionDir,
) -> None:
    office.open()
    ours = office.to_worker("1")
    ours.send("a job")
    theirs = ConnectionDir.to_sweep(office.folder, "1")
    assert not theirs.poll()
    ours.send("another")
    assert theirs.recv() == "another"
    ours.close()
    with pytest.raises(EOFError):
        ConnectionDir.to_sweep(office.folder, "1").recv()
    office.close()


def test_the_end_of_the_sweep_ends_its_letters(office: ConnectionDir) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    sweep = context.Process(target=hold, args=(office.folder.parent, theirs))
    sweep.start()
    assert ours.recv() == "open"
    letters = ConnectionDir.to_sweep(office.folder, "1")
    ours.send("listening")
    assert letters.recv() == "the last words"
    os.kill(sweep.pid or 0, signal.SIGKILL)
    with pytest.raises(EOFError):
        letters.recv()
    sweep.join()


def hold(sweep: Path, connection: Connection) -> None:
    office = ConnectionDir(sweep)
    office.open()
    letters = office.to_worker("1")
    connection.send("open")
    connection.recv()  # it has begun to listen
    letters.send("the last words")
    connection.recv()  # never
