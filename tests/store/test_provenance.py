"""Provenance, whatever git says."""

from pathlib import Path

import pytest

from crackdet.store import provenance


def recorded_commit(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> object:
    """Return what is recorded if git is a program with this script."""
    program = folder / "git"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return provenance.collect("cpu", None, 1, [])["git"]


def test_file_names_may_be_any_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert recorded_commit(tmp_path, r"printf 'M caf\351.txt'", monkeypatch) == {
        "commit": "M caf\ufffd.txt",
        "modified": True,
    }


def test_git_variables_in_the_environment_are_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/elsewhere")
    assert recorded_commit(tmp_path, 'echo "of $GIT_DIR"', monkeypatch) == {"commit": "of", "modified": True}


def test_without_git_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert recorded_commit(tmp_path, "exit 128", monkeypatch) is None


@pytest.mark.parametrize("earlier", [None, 3, "text"])
def test_damaged_earlier_processes_are_dropped(earlier: object) -> None:
    before = {"host": "a", "earlier": earlier}
    assert provenance.add_earlier(before, {"host": "b"}) == {"host": "b", "earlier": [{"host": "a"}]}
