"""Files of strangers: nothing blocks, nothing is unbounded, and what is read can be calculated with and printed."""

import json
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crackdet.core.files import write_checksummed_json, write_json
from crackdet.core.reading import (
    file_digest,
    load_json,
    load_yaml,
    open_regular,
    read_checksummed_json,
    read_csv,
    read_json,
)

same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None)


def bind_socket(path: Path) -> None:
    folder = Path.cwd()
    os.chdir(path.parent)  # the names of sockets are short
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(folder)


NO_FILES: dict[str, Callable[[Path], object]] = {
    "a named pipe": os.mkfifo,
    "a folder": Path.mkdir,
    "a socket": bind_socket,
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to nowhere": lambda path: path.symlink_to("missing"),
}


@pytest.mark.parametrize("make", NO_FILES.values(), ids=NO_FILES)
def test_what_is_no_regular_file_is_refused_at_once(make: Callable[[Path], object], tmp_path: Path) -> None:
    make(tmp_path / "x")
    for follow in (False, True):
        with pytest.raises(OSError):
            open_regular(tmp_path / "x", follow_links=follow)
    with pytest.raises(OSError):
        file_digest(tmp_path / "x")
    assert (read_json(tmp_path / "x"), read_checksummed_json(tmp_path / "x"), read_csv(tmp_path / "x")) == ({}, {}, [])


def test_a_link_is_not_displayed_but_its_digest_is_taken(tmp_path: Path) -> None:
    (tmp_path / "file").write_text('{"password": 1}')
    (tmp_path / "link").symlink_to("file")
    assert read_json(tmp_path / "link") == {}
    assert file_digest(tmp_path / "link") == file_digest(tmp_path / "file")


@pytest.mark.parametrize("read", [load_json, load_yaml])
def test_a_file_of_gigabytes_is_not_read(read: Callable[[Path], object], tmp_path: Path) -> None:
    with (tmp_path / "x").open("wb") as file:
        file.truncate(2**33)  # sparse
    with pytest.raises(OSError, match=r"has 8192 MiB, more than the limit of \d+ MiB"):
        read(tmp_path / "x")
    assert read_csv(tmp_path / "x") == []


@pytest.mark.parametrize(
    "text",
    [
        "", "[1]", "3", '"x"', "null", '{"a": NaN}', '{"a": -Infinity}', '{"a": 1e999}', '{"a": ' + "9" * 4000 + "}",
        '{"a": ' + "9" * 5000 + "}", '{"a": 9223372036854775808}', '{"a": "\\ud800"}', "[" * 100_000,
        '{"a": ' * 40 + "1" + "}" * 40, '{"a": ' + "[" * 900 + "]" * 900 + "}",
    ],
    ids=lambda text: text[:16],
)  # fmt: skip
def test_json_beyond_the_limits_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_text(text)
    with pytest.raises(ValueError):
        load_json(tmp_path / "x")


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [1, *a]", "a: &a {b: *a}", "a: &a [1]\nb: *a", "- 1", "x", "a: .nan", "a: .inf", "a: " + "9" * 4000,
        "a: " + "9" * 5000, "a: 2024-01-01", "a: !!binary eA==", "a: !!set {x}", "1: 2", "[a, b]: 2",
        "a: !!python/name:os.x",
        "a: " + "[" * 200_000, "a: " + "[" * 50 + "]" * 50, "- " * 5000 + "x", "a: b: c", "\0",
        "a0: &a0 [1, 1]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)),
        "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i}\n  <<: [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)),
    ],
    ids=lambda text: text[:16],
)  # fmt: skip
def test_yaml_beyond_the_limits_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_text(text)
    with pytest.raises(ValueError):
        load_yaml(tmp_path / "x")


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)  # fmt: skip


@same_folder
@given(content=st.dictionaries(st.text(max_size=5).filter(lambda key: key != "checksum"), PLAIN, max_size=4))
def test_what_was_written_is_read(content: dict[str, Any], tmp_path: Path) -> None:
    write_json(tmp_path / "x", content)
    assert load_json(tmp_path / "x") == content
    write_checksummed_json(tmp_path / "y", content)
    assert read_checksummed_json(tmp_path / "y") == content


@same_folder
@given(content=st.binary(max_size=200) | st.text("{}[]:,-&*!<\"' \n0a", max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content)
    for read in (load_json, load_yaml):
        with suppress(ValueError):
            json.dumps(read(tmp_path / "x"), allow_nan=False)
    read_csv(tmp_path / "x")


@pytest.mark.parametrize(
    "content",
    [
        b"a,b\n1\n",
        b"a,b\n1,2,3\n", b"a,a\n1,2\n", b"a" + b",a" * 10**6 + b"\n", b"a\n" + b"x" * 10**6, b"a\n\0\n" * 9,
        b'a,b\n"1,2\n', b"\n\n",
    ],
    ids=lambda content: str(content[:12]),
)  # fmt: skip
def test_a_damaged_table_has_no_rows(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content)
    assert read_csv(tmp_path / "x") == [] or content.startswith(b"a\n\0")
