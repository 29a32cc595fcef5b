"""Where a run came from, told whatever git says."""

from pathlib import Path

import pytest

from crackdet.store import provenance


def commit(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> object:
    """With a program of this text as git."""
    program = folder / "git"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return provenance.describe("cpu", None, 1, [])["git"]


def test_names_of_files_may_be_any_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert commit(tmp_path, r"printf 'M caf\351.txt'", monkeypatch) == {"commit": "M caf\ufffd.txt", "modified": True}


def test_another_repository_in_the_environment_is_not_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/elsewhere")
    assert commit(tmp_path, 'echo "of $GIT_DIR"', monkeypatch) == {"commit": "of", "modified": True}


def test_without_git_it_is_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert commit(tmp_path, "exit 128", monkeypatch) is None
