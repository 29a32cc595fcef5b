import errno
import fcntl
import multiprocessing
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crackdet.core.errors import StoreError, UserError, WriteFailed
from crackdet.core.files import atomic_write, file_digest, read_csv, write_csv, write_json
from crackdet.core.locks import is_held
from crackdet.store.failures import Failure, num_attempts, read_failure, record_attempt, record_failure, record_progress
from crackdet.store.identity import Identity
from crackdet.store.integrity import find_corruption, read_result, verify_weights
from crackdet.store.run import AlreadyRunning, Run
from crackdet.store.run_store import RunStore
from crackdet.store.snapshot import Status

RESULT = {"accuracy": 0.9, "loss": 0.3, "epoch": 1, "parameters": 10, "seconds": 1.0}
IDENTITY = Identity({"seed": 0})


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = RunStore(tmp_path).run("custom-0123456789ab")
    run.directory.mkdir()
    return run


def corruption(run: Run, thorough: bool = False) -> str | None:
    return find_corruption(run, read_result(run), thorough)


def test_a_run_without_a_directory_is_to_do(tmp_path: Path) -> None:
    assert RunStore(tmp_path).run("custom-0123456789ab").status() is Status.TODO


@pytest.fixture
def finished(run: Run) -> Run:
    """A run with a little in each of its files."""
    run.config_file.write_text("seed: 0\n")
    write_json(run.identity_file, IDENTITY.content)
    write_json(run.provenance_file, {"overrides": []})
    write_csv(run.history_file, [{"epoch": 1, "valid_loss": 0.3}])
    write_csv(run.predictions_file, [{"image": "a.jpg", "crack": 1, "logit": 0.5}])
    run.weights_file.write_bytes(bytes(range(256)))
    run.publish(RESULT)
    return run


PUBLISHED = ["config.yaml", "identity.json", "provenance.json", "history.csv", "predictions.csv", "model.safetensors"]


def test_only_a_result_makes_a_run_finished(run: Run) -> None:
    run.weights_file.write_bytes(b"weights")
    run.state_file.write_bytes(b"state")
    assert run.status() is Status.INTERRUPTED
    run.publish(RESULT)
    assert run.status() is Status.FINISHED
    assert read_result(run) is not None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_result_cut_short_anywhere_is_not_believed(finished: Run, data: st.DataObject) -> None:
    finished.publish(RESULT)
    whole = finished.result_file.read_bytes()
    finished.result_file.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 3))])
    assert read_result(finished) is None
    assert finished.status() is Status.CORRUPT


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_result_with_a_changed_byte_is_not_believed_or_says_the_same(finished: Run, data: st.DataObject) -> None:
    finished.publish(RESULT)
    believed, whole = read_result(finished), bytearray(finished.result_file.read_bytes())
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    finished.result_file.write_bytes(whole)
    assert read_result(finished) in (None, believed)


@pytest.mark.parametrize("name", list(RESULT))
@pytest.mark.parametrize("value", [None, "0.5", [], True])
def test_a_result_with_a_value_of_another_type_is_not_believed(run: Run, name: str, value: object) -> None:
    run.publish({**RESULT, name: value})
    assert run.status() is Status.CORRUPT


def test_the_result_of_another_run_is_not_believed(finished: Run) -> None:
    other = RunStore(finished.root).run("custom-ba9876543210")
    finished.directory.rename(other.directory)
    assert other.status() is Status.CORRUPT


@pytest.mark.parametrize("name", PUBLISHED)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(content=st.binary(max_size=300))
def test_a_file_that_is_not_as_published_is_named(finished: Run, name: str, content: bytes) -> None:
    path = finished.directory / name
    before = path.read_bytes()
    path.write_bytes(content)
    damage = corruption(finished, thorough=True)
    assert (damage is None) == (content == before)
    if damage:
        assert damage.startswith(name)
        assert not finished.is_finished(IDENTITY.digest)
    path.write_bytes(before)
    assert finished.is_finished(IDENTITY.digest)


@pytest.mark.parametrize("name", PUBLISHED[:-1])
def test_a_missing_file_is_damage(finished: Run, name: str) -> None:
    (finished.directory / name).unlink()
    assert finished.status() is Status.CORRUPT
    assert corruption(finished) == f"{name} is missing"


def test_a_file_that_goes_while_it_is_looked_at_is_damage(finished: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def digest(path: Path) -> str:
        path.unlink()  # as another process may do
        return file_digest(path)

    monkeypatch.setattr("crackdet.store.integrity.file_digest", digest)
    os.utime(finished.history_file, (0, 0))
    assert corruption(finished) == f"history.csv cannot be read ({os.strerror(errno.ENOENT)})"


def test_what_is_out_of_reach_is_not_trained_again(finished: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> str:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr("crackdet.store.integrity.file_digest", refuse)
    os.utime(finished.weights_file, (0, 0))
    with pytest.raises(StoreError, match=r"model\.safetensors: cannot be read .* make it readable"):
        finished.is_finished(IDENTITY.digest)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may do everything")
def test_runs_of_somebody_who_lets_nobody_look_are_left_out(finished: Run, caplog: pytest.LogCaptureFixture) -> None:
    store = RunStore(finished.root)
    store.run("custom-999999999999").directory.mkdir(mode=0)
    assert [run.id for run in store.runs()] == [finished.id]
    assert "custom-999999999999: is not readable" in caplog.text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may do everything")
def test_a_run_that_may_not_be_written_cannot_be_claimed(finished: Run) -> None:
    finished.directory.chmod(0o500)
    with pytest.raises(StoreError, match="may not be written"), finished.claim():
        pass


def test_a_finished_run_without_its_weights_stays_finished(finished: Run) -> None:
    finished.weights_file.unlink()
    assert finished.is_finished(IDENTITY.digest)
    with pytest.raises(StoreError, match="has been removed"):
        verify_weights(finished)


def test_weights_are_compared_when_they_are_used(finished: Run) -> None:
    assert verify_weights(finished) == finished.weights_file
    status = finished.weights_file.stat()
    finished.weights_file.write_bytes(bytes(256))
    os.utime(finished.weights_file, ns=(status.st_atime_ns, status.st_mtime_ns))  # as a failing disk would
    with pytest.raises(StoreError, match="is corrupt"):
        verify_weights(finished)


def test_a_copied_run_is_as_good_as_the_original(finished: Run, tmp_path: Path) -> None:
    shutil.copytree(finished.directory, tmp_path / "copy" / finished.id, copy_function=shutil.copyfile)
    assert Run(tmp_path / "copy", finished.id).is_finished(IDENTITY.digest)


def test_another_identity_under_the_same_id_is_an_error_not_a_skip(finished: Run) -> None:
    with pytest.raises(StoreError, match=r"identity\.json.*another configuration"):
        finished.is_finished(Identity({"seed": 1}).digest)


def test_a_failure_makes_a_run_failed_until_it_finishes(run: Run) -> None:
    record_failure(run, Failure.ERROR, "no luck", attempts=1)
    assert run.status() is Status.FAILED
    run.publish(RESULT)
    assert run.status() is Status.FINISHED
    assert not run.failure_file.exists()


def test_a_run_whose_process_died_is_interrupted_and_its_attempts_are_counted(run: Run) -> None:
    for attempt in (1, 2, 3):
        record_attempt(run)
        assert run.status() is Status.INTERRUPTED
        assert num_attempts(read_failure(run)) == attempt
    record_progress(run)
    assert num_attempts(read_failure(run)) == 1


def test_a_claimed_run_is_running_for_others_and_cannot_be_claimed_again(run: Run) -> None:
    with run.claim():
        assert run.status() is Status.RUNNING
        with pytest.raises(AlreadyRunning), run.claim():
            pass
    assert run.status() is Status.TODO


def hold(run: Run, claimed: "multiprocessing.synchronize.Event") -> None:
    with run.claim():
        claimed.set()
        os.kill(os.getpid(), 9)


def test_a_claim_dies_with_its_process(run: Run) -> None:
    context = multiprocessing.get_context("spawn")
    claimed = context.Event()
    process = context.Process(target=hold, args=(run, claimed))
    process.start()
    process.join()
    assert claimed.is_set() and process.exitcode == -9
    with run.claim():
        pass


def test_a_look_at_the_status_does_not_hinder_a_claim(run: Run) -> None:
    run.lock_file.touch()
    for _ in range(20):
        assert run.status() is Status.TODO
        with run.claim():
            pass


def test_two_who_look_at_a_run_do_not_take_each_other_for_its_process(run: Run) -> None:
    run.lock_file.touch()
    with run.lock_file.open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)  # as one who looks, at that moment
        assert not is_held(run.lock_file)
        with pytest.raises(AlreadyRunning), run.claim():  # were it to last, a claim would give up
            pass


def test_a_file_that_fails_half_way_leaves_the_old_one_and_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_write(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_or_a_quota_that_is_full_is_told_with_what_is_needed(tmp_path: Path, code: int) -> None:
    message = r"file: cannot be written .*; 3\.0 MiB are needed and [\d.]+ MiB are free"
    with pytest.raises(WriteFailed, match=message), atomic_write(tmp_path / "file", 3 * 2**20) as temporary:
        temporary.touch()
        raise OSError(code, os.strerror(code))
    assert list(tmp_path.iterdir()) == []


def test_csv_round_trips(tmp_path: Path) -> None:
    rows = [{"image": 'a,"b"\nc.jpg', "logit": 0.1 + 0.2}, {"image": "d", "logit": -1e-300}]
    write_csv(tmp_path / "file.csv", rows)
    read = read_csv(tmp_path / "file.csv")
    assert [(row["image"], float(row["logit"])) for row in read] == [(row["image"], row["logit"]) for row in rows]


@pytest.mark.parametrize("text", ["../../etc", "custom-0123456789ab/..", "custom", "", "CUSTOM-0123456789ab", "a-xyz"])
def test_a_text_that_is_no_run_id_leads_nowhere(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match="not a run id"):
        RunStore(tmp_path).run(text)


def test_runs_are_found_by_the_beginning_of_id_or_hash(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    for name in ("custom-0123456789ab", "custom-0999999999ab", "resnext50-aaaaaaaaaaaa"):
        (tmp_path / name).mkdir()
    (tmp_path / "not a run").mkdir()
    assert [run.id for run in store.runs()] == ["custom-0123456789ab", "custom-0999999999ab", "resnext50-aaaaaaaaaaaa"]
    assert store.find("res").id == store.find("aaa").id == "resnext50-aaaaaaaaaaaa"
    with pytest.raises(UserError, match="could be"):
        store.find("custom-0")
    with pytest.raises(UserError, match="no such run"):
        store.find("mobilenet")
    with pytest.raises(UserError, match="no run is named"):
        store.find("")


def test_a_linked_directory_is_no_run(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "custom-0123456789ab").symlink_to(outside)
    assert list(RunStore(tmp_path / "runs").runs()) == []


def test_a_removed_run_is_gone_and_a_running_one_stays(run: Run) -> None:
    store = RunStore(run.root)
    with run.claim(), pytest.raises(UserError, match="is running"):
        store.remove(run)
    store.remove(run)
    assert not run.directory.exists()


def test_clearing_forgets_everything_but_the_lock(finished: Run) -> None:
    with finished.claim():
        assert read_result(finished) is not None
        finished.reset()
        assert read_result(finished) is None
        assert [path.name for path in finished.directory.iterdir()] == ["lock"]
