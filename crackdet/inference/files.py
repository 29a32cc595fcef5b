"""Find the images that a user names, and write results as CSV or JSON lines."""

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
from crackdet.core.files import atomic_write, expand_home
from crackdet.core.output import KEEP_BYTES, READER_GONE_STATUS, reader_is_gone
from crackdet.data.decode import IMAGE_EXTENSIONS
from crackdet.data.sources.files import walk_images
from crackdet.data.sources.names import is_image

WriteRow = Callable[[Mapping[str, Any]], None]


class RowFormat(StrEnum):
    CSV = "csv"
    JSONL = "jsonl"  # one JSON object per line


def find_images(paths: Sequence[str]) -> list[Path]:
    """Return the images in files, folders (recursively) and glob patterns, without duplicates, in the given order.

    A file named explicitly is accepted whatever its extension.

    Raises:
        UserError: If a path does not exist, or a folder or pattern contains no images.
    """
    found: dict[Path, None] = {}
    for text in paths:
        path = expand_home(text)
        if path.is_dir():
            images = _images_in(path)
        elif path.exists():
            images = [path]
        elif glob.has_magic(text):
            matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207  # Path.glob rejects absolute patterns
            images = [image for match in matches for image in _images_in(Path(match))]
        else:
            raise UserError(f"{text}: no such file or folder")
        if not images:
            raise UserError(f"{text}: contains no images ({', '.join(IMAGE_EXTENSIONS)})")
        found |= dict.fromkeys(images)
    return list(found)


def choose_row_format(output: Path | None, requested: str | None) -> RowFormat:
    """Return the requested format, else that of the file's extension, else CSV; raise UserError if it is unknown."""
    formats = ", ".join(RowFormat)
    if requested is not None and requested not in list(RowFormat):
        raise UserError(f"--format {requested}: must be one of {formats}")
    if requested is None and output is not None:
        requested = output.suffix.lower().removeprefix(".")
        if requested not in list(RowFormat):
            raise UserError(f"--output {output}: must end with one of {formats}; or give --format")
    return RowFormat(requested or RowFormat.CSV)


@contextmanager
def row_writer(output: Path | None, row_format: RowFormat, columns: Sequence[str]) -> Iterator[WriteRow]:
    """Write rows to standard output, or to a file that appears once all rows are written."""
    if output is None:
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors=KEEP_BYTES)  # file names may not be valid UTF-8
        write_row = _writer(sys.stdout, row_format, columns)

        def write_if_read(row: Mapping[str, Any]) -> None:
            write_row(row)
            if reader_is_gone():
                raise SystemExit(READER_GONE_STATUS)

        yield write_if_read
        sys.stdout.flush()
        return
    with (
        atomic_write(output) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        yield _writer(file, row_format, columns)


def _writer(file: IO[str], row_format: RowFormat, columns: Sequence[str]) -> WriteRow:
    if row_format is RowFormat.JSONL:
        return lambda row: print(json.dumps(row), file=file)
    table = csv.DictWriter(file, columns, lineterminator="\n")
    table.writeheader()
    return table.writerow


def _images_in(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path] if is_image(path.name) else []

    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror})")

    return sorted(Path(folder, name) for folder, names in walk_images(path, refuse) for name in names)
