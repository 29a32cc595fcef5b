"""Ways in which a file can be damaged."""

from pathlib import Path


def empty(file: Path) -> None:
    file.write_bytes(b"")


def truncate_by_one_byte(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def overwrite_the_header(file: Path) -> None:
    file.write_bytes(b"\xff" * 128 + file.read_bytes()[128:])


DAMAGES = [Path.unlink, empty, truncate_by_one_byte, overwrite_the_header]
