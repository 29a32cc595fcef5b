"""Read files that anybody may have written: regular files only, with limits on size, depth, types and numbers.

Opening a named pipe would block forever, and a few bytes of YAML can expand to a billion values. This module returns
only plain values of JSON, of limited number, with finite numbers and with text that can be encoded.
"""

import csv
import errno
import hashlib
import io
import json
import math
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crackdet.core.files import CHECKSUM_KEY

MIB = 2**20
MAX_JSON, MAX_YAML, MAX_CSV = 16 * MIB, MIB, 256 * MIB  # bytes
MAX_DEPTH = 32
MAX_VALUES = 2**22  # values in one JSON or YAML file
MAX_INTEGER = 2**63 - 1  # the largest int64, which torch and NumPy use
MAX_LINE, MAX_COLUMNS, MAX_ROWS = 2**16, 100, 2_000_000  # of a CSV file

NO_WAIT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def describe_missing(path: Path) -> str:
    """Return why a path is no file, with the most similar name beside it."""
    if path.is_dir():
        return "is a folder; give a file"
    try:
        names = [file.name for file in path.parent.iterdir() if file.is_file()]
    except OSError:
        names = []
    from difflib import get_close_matches  # not for commands that find their files

    similar = get_close_matches(path.name, names, n=1)
    return f"there is no such file{f'; did you mean {path.with_name(similar[0])}?' if similar else ''}"


def open_regular(path: Path, max_bytes: float = math.inf, follow_links: bool = False) -> io.BufferedReader:
    """Open a regular file for reading.

    Args:
        max_bytes: The largest size to accept.
        follow_links: Whether the file may be a symbolic link. What is displayed must not be one: a link in a store of
            somebody else may lead to a private file.

    Raises:
        OSError: If the file is missing, is a directory, a named pipe, a device or a link, or is too large.
    """
    no_follow = 0 if follow_links else getattr(os, "O_NOFOLLOW", 0)
    try:
        descriptor = os.open(path, os.O_RDONLY | NO_WAIT | no_follow)
    except OSError as error:
        if error.errno == errno.ELOOP and not follow_links:
            raise OSError(errno.ELOOP, "is a symbolic link", str(path)) from None
        if error.errno == errno.ENXIO:  # a socket
            raise OSError(errno.EINVAL, "is not a regular file", str(path)) from None
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", str(path))
        if status.st_size > max_bytes:
            raise OSError(
                errno.EFBIG,
                f"has {status.st_size / MIB:.0f} MiB, more than the limit of {max_bytes / MIB:g} MiB",
                str(path),
            )
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_bytes(path: Path, max_bytes: int = MAX_JSON) -> bytes:
    """Return the content of a file; raise OSError as `open_regular`."""
    with open_regular(path, max_bytes) as file:
        return file.read(max_bytes)  # the file may grow


def file_digest(path: Path) -> str:
    """Return the SHA-256 of the content of a file, which may be a link; raise OSError as `open_regular`."""
    with open_regular(path, follow_links=True) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_json(path: Path, max_bytes: int = MAX_JSON) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
        OSError: As `open_regular`.
        ValueError: If the content is not such an object.
    """
    return parse_json(read_bytes(path, max_bytes))


def parse_json(text: bytes) -> dict[str, Any]:
    """Return the object that a JSON text describes; raise ValueError if it is no object, or beyond the limits."""
    try:
        return check_values(json.loads(text))
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; empty if the file is missing or damaged."""
    try:
        return load_json(path)
    except (OSError, ValueError):
        return {}


def load_checksummed_json(path: Path, max_bytes: int = MAX_JSON) -> dict[str, Any]:
    """Return what `write_checksummed_json` wrote, without the checksum.

    Raises:
        OSError, ValueError: As `load_json`, or if the content was changed.
    """
    raw = read_bytes(path, max_bytes)
    text, _, checksum = raw.rpartition(CHECKSUM_KEY.encode())
    if hashlib.sha256(text).hexdigest().encode() != checksum[:64]:
        raise ValueError("does not match its checksum")
    content = parse_json(raw)
    content.pop("checksum", None)
    return content


def read_checksummed_json(path: Path) -> dict[str, Any]:
    """Return what `write_checksummed_json` wrote, without the checksum; empty if the file is missing or was changed."""
    try:
        return load_checksummed_json(path)
    except (OSError, ValueError):
        return {}


def load_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file.

    Raises:
        OSError: As `open_regular`.
        ValueError: As `parse_yaml`, or if the content is not such a mapping.
    """
    return check_values(parse_yaml(read_bytes(path, MAX_YAML)))


def parse_yaml(text: bytes) -> Any:
    """Return the values in a YAML text.

    Raises:
        ValueError: If it is not YAML, is nested too deeply, or uses aliases, which could repeat a value without end.
    """
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster, if PyYAML was built with it
    depth = 0
    try:
        for event in yaml.parse(text, loader):
            if isinstance(event, yaml.AliasEvent):
                raise ValueError("uses YAML aliases")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise ValueError("is nested too deeply")
        return yaml.load(text, loader)
    except (yaml.YAMLError, RecursionError, OverflowError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(f"is not valid YAML ({reason})") from None


def check_values(content: Any) -> dict[str, Any]:
    """Return content that is an object of plain values within the limits; raise ValueError if it is not."""
    if not isinstance(content, dict):
        raise ValueError("does not hold an object")
    pending: list[Any] = [content]
    depth = count = 0
    while pending:  # level by level: recursion could exceed Python's limit
        count += len(pending)
        if depth > MAX_DEPTH or count > MAX_VALUES:
            raise ValueError("is nested too deeply" if depth > MAX_DEPTH else "holds too many values")
        following: list[Any] = []
        for value in pending:
            kind = type(value)
            if kind is str:
                if not value.isascii():
                    value.encode(errors="surrogateescape")  # UnicodeEncodeError is a ValueError
            elif kind is float:
                if not math.isfinite(value):
                    raise ValueError(f"holds a number that is not finite ({value})")
            elif kind is int:
                if not -MAX_INTEGER <= value <= MAX_INTEGER:
                    raise ValueError("holds an integer of more than 63 bits")
            elif kind is dict:
                if not all(type(key) is str for key in value):
                    raise ValueError("holds a key that is not text")
                following += value
                following += value.values()
            elif kind is list:
                following += value
            elif kind is not bool and value is not None:
                raise ValueError(f"holds a value of type {kind.__name__}")
        pending, depth = following, depth + 1
    return content


def read_csv(path: Path, max_bytes: int = MAX_CSV) -> list[dict[str, str]]:
    """Return the rows of a CSV file; none if the file is missing or damaged."""
    try:
        with open_regular(path, max_bytes) as raw:
            file = io.TextIOWrapper(raw, encoding="utf-8", errors="surrogateescape", newline="")
            reader = csv.reader(_lines(file), strict=True)
            names = next(reader, [])
            if not names or len(names) > MAX_COLUMNS or len(set(names)) < len(names):
                return []
            rows = []
            for number, cells in enumerate(reader):
                if len(cells) != len(names) or number >= MAX_ROWS:
                    return []
                rows.append(dict(zip(names, cells, strict=True)))
            return rows
    except (OSError, ValueError, csv.Error):
        return []


def _lines(file: io.TextIOWrapper) -> Iterator[str]:
    """Yield the lines of a text file; raise ValueError if one of them is too long."""
    while line := file.readline(MAX_LINE):
        if len(line) >= MAX_LINE:
            raise ValueError("a line is too long")
        yield line
