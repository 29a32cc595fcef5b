"""Which photographs a user means, and where what is found out about them is written."""

import csv
import glob
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

from crackdet.core.errors import UserError
from crackdet.core.files import atomic_write
from crackdet.data.decode import EXTENSIONS
from crackdet.data.sources.files import images_below, is_image

Write = Callable[[Mapping[str, Any]], None]


class RowFormat(StrEnum):
    CSV = "csv"
    JSONL = "jsonl"  # a JSON object in each line


def find_images(paths: Sequence[str]) -> list[Path]:
    """The images in files, folders (with all their folders) and glob patterns; each once, in the order given.

    A file that is named itself is taken for an image whatever its name ends with.

    Raises:
        UserError: where a path leads nowhere, or a folder or pattern to no image.
    """
    found: dict[Path, None] = {}
    for text in paths:
        path = Path(text).expanduser()
        if path.is_dir():
            images = _images(path)
        elif path.exists():
            images = [path]
        elif glob.has_magic(text):
            matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207  # Path.glob knows no absolute pattern
            images = [image for match in matches for image in _images(Path(match))]
        else:
            raise UserError(f"{text}: there is no such file or folder")
        if not images:
            raise UserError(f"{text}: holds no image ({', '.join(EXTENSIONS)})")
        found |= dict.fromkeys(images)
    return list(found)


def refuse_existing(path: Path, force: bool, option: str = "--output") -> None:
    """Raises UserError for a file that would be written over, or that cannot be made."""
    if path.is_dir():
        raise UserError(f"{option} {path}: is a folder; give a file")
    if path.exists() and not force:
        raise UserError(f"{option} {path}: exists; give another file, or --force to write over it")
    if not path.parent.is_dir():
        raise UserError(f"{option} {path}: there is no folder {path.parent}")


def row_format(output: Path | None, wished: str | None) -> RowFormat:
    """As wished, else as the file's name ends, else CSV.

    Raises:
        UserError: for a format that there is not, or a file whose name says nothing.
    """
    formats = ", ".join(RowFormat)
    if wished is not None and wished not in list(RowFormat):
        raise UserError(f"--format {wished}: must be one of {formats}")
    if wished is not None or output is None:
        return RowFormat(wished or RowFormat.CSV)
    ending = output.suffix.lower().removeprefix(".")
    if ending not in list(RowFormat):
        raise UserError(f"--output {output}: must end with one of {formats}; or say --format")
    return RowFormat(ending)


@contextmanager
def row_writer(output: Path | None, kind: RowFormat, columns: Sequence[str]) -> Iterator[Write]:
    """Writes rows to standard output, or to a file that appears when all are written."""
    if output is None:
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="surrogateescape")  # names of files are bytes, whatever they should be
        yield _writer(sys.stdout, kind, columns)
        sys.stdout.flush()
        return
    with (
        atomic_write(output) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        yield _writer(file, kind, columns)


def _writer(file: IO[str], kind: RowFormat, columns: Sequence[str]) -> Write:
    if kind is RowFormat.JSONL:
        return lambda row: print(json.dumps(row), file=file)
    table = csv.DictWriter(file, columns, lineterminator="\n")
    table.writeheader()
    return table.writerow


def _images(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path] if is_image(path.name) else []

    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror})")

    return sorted(Path(folder, name) for folder, names in images_below(path, refuse) for name in names)
