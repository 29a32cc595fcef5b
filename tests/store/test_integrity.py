"""A file that is not as it was published is noticed and not trusted."""

import errno
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crackdet.core.errors import StoreError
from crackdet.core.reading import file_digest
from crackdet.store.identity import Identity
from crackdet.store.integrity import find_corruption, read_result, verify_weights, weights_digest
from crackdet.store.run import Run
from crackdet.store.run_store import RunStore
from crackdet.store.snapshot import Status
from tests.store.conftest import IDENTITY, RESULT

PUBLISHED = ["config.yaml", "identity.json", "provenance.json", "history.csv", "predictions.csv", "model.safetensors"]
one_directory = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def corruption(run: Run, thorough: bool = False) -> str | None:
    return find_corruption(run, read_result(run), thorough)


# --- the result ---------------------------------------------------------------------------------------


@one_directory
@given(st.data())
def test_a_truncated_result_is_invalid(finished: Run, data: st.DataObject) -> None:
    finished.publish(RESULT)
    content = finished.result_file.read_bytes()
    finished.result_file.write_bytes(content[: data.draw(st.integers(0, len(content) - 3))])
    assert read_result(finished) is None
    assert finished.status() is Status.CORRUPT


@one_directory
@given(st.data())
def test_a_result_with_a_changed_byte_is_invalid_or_says_the_same(finished: Run, data: st.DataObject) -> None:
    finished.publish(RESULT)
    result, content = read_result(finished), bytearray(finished.result_file.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    finished.result_file.write_bytes(content)
    assert read_result(finished) in (None, result)


@pytest.mark.parametrize("name", list(RESULT))
@pytest.mark.parametrize("value", [None, "0.5", [], True])
def test_a_result_with_a_value_of_another_type_is_invalid(run: Run, name: str, value: object) -> None:
    run.publish({**RESULT, name: value})
    assert run.status() is Status.CORRUPT


def test_the_result_of_another_run_is_invalid(finished: Run) -> None:
    other = RunStore(finished.root).run("custom-ba9876543210")
    finished.directory.rename(other.directory)
    assert other.status() is Status.CORRUPT


# --- the published files ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PUBLISHED)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(content=st.binary(max_size=300))
def test_a_file_that_differs_from_the_published_one_is_named(finished: Run, name: str, content: bytes) -> None:
    path = finished.directory / name
    before = path.read_bytes()
    path.write_bytes(content)
    found = corruption(finished, thorough=True)
    assert (found is None) == (content == before)
    if found:
        assert found.startswith(name)
        assert not finished.is_finished(IDENTITY.digest)
    path.write_bytes(before)
    assert finished.is_finished(IDENTITY.digest)


@pytest.mark.parametrize("name", PUBLISHED[:-1])
def test_a_missing_file_makes_a_run_corrupt(finished: Run, name: str) -> None:
    (finished.directory / name).unlink()
    assert finished.status() is Status.CORRUPT
    assert corruption(finished) == finished.snapshot().corruption == f"{name} is missing"


def test_a_file_that_vanishes_during_the_check_is_corrupt(finished: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def digest(path: Path) -> str:
        path.unlink()  # as another process may do
        return file_digest(path)

    monkeypatch.setattr("crackdet.store.integrity.file_digest", digest)
    os.utime(finished.history_file, (0, 0))
    assert corruption(finished) == f"history.csv cannot be read ({os.strerror(errno.ENOENT)})"


def test_a_run_with_an_unreadable_file_is_not_trained_again(finished: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> str:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr("crackdet.store.integrity.file_digest", refuse)
    os.utime(finished.weights_file, (0, 0))
    with pytest.raises(StoreError, match=r"model\.safetensors: cannot be read .* make it readable"):
        finished.is_finished(IDENTITY.digest)


def test_a_copied_run_is_finished_too(finished: Run, tmp_path: Path) -> None:
    shutil.copytree(finished.directory, tmp_path / "copy" / finished.id, copy_function=shutil.copyfile)
    assert Run(tmp_path / "copy", finished.id).is_finished(IDENTITY.digest)


def test_another_identity_under_the_same_id_is_an_error(finished: Run) -> None:
    with pytest.raises(StoreError, match=r"identity\.json.*another configuration"):
        finished.is_finished(Identity({"seed": 1}).digest)


# --- weights ------------------------------------------------------------------------------------------


def test_a_finished_run_without_its_weights_stays_finished(finished: Run) -> None:
    digest = weights_digest(finished)
    finished.weights_file.unlink()
    assert finished.is_finished(IDENTITY.digest)
    with pytest.raises(StoreError, match="has been removed"):
        verify_weights(finished)
    assert weights_digest(finished) == digest is not None


def test_weights_are_verified_when_they_are_used(finished: Run) -> None:
    assert verify_weights(finished) == finished.weights_file
    status = finished.weights_file.stat()
    finished.weights_file.write_bytes(bytes(256))
    os.utime(finished.weights_file, ns=(status.st_atime_ns, status.st_mtime_ns))  # as a failing disk would
    with pytest.raises(StoreError, match="is corrupt"):
        verify_weights(finished)
