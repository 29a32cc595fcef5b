"""Facts about files that are found once and kept in the cache."""

from collections.abc import Callable
from pathlib import Path

import pytest

from crackdet.data.decode import BadImage
from crackdet.data.facts import find_facts

Find = Callable[[int], int]


class Counter:
    """Finds the length of each digest, and keeps which ones it was asked for."""

    def __init__(self, digests: list[str]) -> None:
        self.digests = digests
        self.asked: list[str] = []

    def __call__(self, index: int) -> int:
        self.asked.append(self.digests[index])
        if self.digests[index] == "bad":
            raise BadImage("truncated")
        if self.digests[index] == "interrupt":
            raise KeyboardInterrupt
        return len(self.digests[index])


def find(
    cache: Path, digests: list[str], kind: str = "sizes", folder: str = "walls"
) -> tuple[list[int | None], dict[int, str], list[str]]:
    """Return the facts, the reasons for missing ones, and the digests of files that were read."""
    counter = Counter(digests)
    facts, reasons = find_facts(kind, Path(folder), cache, digests, counter, lambda value: type(value) is int)
    return facts, reasons, sorted(counter.asked)


def cache_file(cache: Path) -> Path:
    (file,) = (cache / "facts").iterdir()
    return file


def test_only_unknown_facts_are_found(tmp_path: Path) -> None:
    assert find(tmp_path, ["a", "bb"]) == ([1, 2], {}, ["a", "bb"])
    assert find(tmp_path, ["bb", "ccc", "a"]) == ([2, 3, 1], {}, ["ccc"])


def test_the_fact_of_equal_files_is_found_once(tmp_path: Path) -> None:
    assert find(tmp_path, ["a", "a", "bad", "bad"]) == (
        [1, 1, None, None],
        {2: "truncated", 3: "truncated"},
        ["a", "bad"],
    )


def test_a_file_without_its_fact_is_read_again(tmp_path: Path) -> None:
    find(tmp_path, ["a", "bad"])
    assert find(tmp_path, ["a", "bad"]) == ([1, None], {1: "truncated"}, ["bad"])


@pytest.mark.parametrize("changed", [{"kind": "sizes of tiles"}, {"folder": "others"}])
def test_facts_of_another_kind_or_folder_are_others(changed: dict[str, str], tmp_path: Path) -> None:
    find(tmp_path, ["a"])
    assert find(tmp_path, ["a"], **changed)[2] == ["a"]
    assert find(tmp_path, ["a"])[2] == []


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"{", b"\xff", b'{"a": "long"}', b'{"a": null}', b"[" * 9999])
def test_a_damaged_cache_is_written_again(content: bytes, tmp_path: Path) -> None:
    find(tmp_path, ["a"])
    cache_file(tmp_path).write_bytes(content)
    assert find(tmp_path, ["a"]) == ([1], {}, ["a"])
    assert find(tmp_path, ["a"])[2] == []


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("no folder")
    for _ in range(2):
        assert find(tmp_path / "cache", ["a"]) == ([1], {}, ["a"])


def test_facts_found_before_an_interrupt_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crackdet.data.facts.num_cores", lambda: 1)
    with pytest.raises(KeyboardInterrupt):
        find(tmp_path, ["a", "bb", "interrupt"])
    assert find(tmp_path, ["a", "bb"])[2] == []
