"""Tables of images: CSV files as people and programs write them, and Parquet."""

import csv
import functools
import io
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crackdet.core.errors import UserError
from crackdet.core.files import SETTLE_SECONDS, change_stamp
from crackdet.core.reading import open_regular

SEPARATORS = ",;\t|"
PARQUET = (".parquet", ".pq")

Row = dict[str, str | None]


@dataclass(frozen=True)
class Table:
    """The rows of a table by column; a cell is None if its row is too short."""

    file: Path
    columns: Sequence[str]
    rows: Sequence[Row]
    numbers: Sequence[int]  # of the rows: the line in a CSV file, or the position in a Parquet file from 1

    def find_column(self, *names: str) -> str | None:
        """Return the column with one of these names, in any case; None if there is none."""
        for name in names:
            same = [column for column in self.columns if column.casefold() == name.strip().casefold()]
            if same:
                return name if name in same else same[0]
        return None


def read_table(file: Path, setting: str) -> Table:
    """Return the rows of a CSV or Parquet file.

    The separator of a CSV file may be a comma, a semicolon, a tab or `|`; the text is UTF-8 or UTF-16.

    Args:
        setting: The setting that names the file, for messages.

    Raises:
        UserError: If the file cannot be read, or two columns have the same name.
    """
    try:
        status = file.stat()
    except OSError as error:
        raise UserError(f"{setting}: {file} cannot be read ({error.strerror})") from None
    is_settled = time.time() - status.st_ctime > SETTLE_SECONDS  # else it may change again without another stamp
    read = _read_table if is_settled else _read_table.__wrapped__
    return read(file, setting, change_stamp(status))


@functools.lru_cache(maxsize=4)  # every run of a sweep asks for the same tables
def _read_table(file: Path, setting: str, _stamp: tuple[int, ...]) -> Table:
    if file.suffix.lower() in PARQUET:
        columns, rows = _read_parquet(file, setting)
        numbers = list(range(1, len(rows) + 1))
    else:
        columns, rows, numbers = _read_csv(file, setting)
    twice = [name for name in columns if [other.casefold() for other in columns].count(name.casefold()) > 1 and name]
    if twice:
        raise UserError(f"{setting}: {file} has several columns named {twice[0]}; rename all but one")
    return Table(file, columns, rows, numbers)


def _read_csv(file: Path, setting: str) -> tuple[list[str], list[Row], list[int]]:
    lines = _read_text(file, setting).splitlines(keepends=True)
    first, skipped = lines[0] if lines else "", 0
    if declared := re.fullmatch(r"sep=(.)\s*", first):  # as Excel writes it
        separator, lines, skipped = declared[1], lines[1:], 1
    else:
        separator = max(SEPARATORS, key=first.count)
    try:
        reader = csv.DictReader(io.StringIO("".join(lines), newline=""), delimiter=separator)
        columns = [name.strip() for name in reader.fieldnames or []]
        reader.fieldnames = columns
        rows, numbers = [], []
        for row in reader:
            rows.append(row)
            numbers.append(reader.line_num + skipped)
        return columns, rows, numbers
    except csv.Error as error:
        raise UserError(f"{setting}: {file} cannot be read ({error})") from None


def _read_parquet(file: Path, setting: str) -> tuple[list[str], list[Row]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UserError(f"{setting}: Parquet files need pyarrow: uv pip install -e '.[parquet]'") from None
    try:
        table = parquet.read_table(io.BytesIO(_read_bytes(file, setting)))
        columns = [str(name) for name in table.column_names]
        values = [["" if cell is None else _text(cell) for cell in column.to_pylist()] for column in table.columns]
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{setting}: {file} cannot be read as a Parquet file ({reason})") from None
    return columns, [dict(zip(columns, cells, strict=True)) for cells in zip(*values, strict=True)]


def _text(cell: object) -> str:
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def _read_bytes(file: Path, setting: str) -> bytes:
    try:
        with open_regular(file, follow_links=True) as opened:
            return opened.read()
    except OSError as error:
        raise UserError(f"{setting}: {file} cannot be read ({error.strerror})") from None


def _read_text(file: Path, setting: str) -> str:
    content = _read_bytes(file, setting)
    try:
        return content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{setting}: {file} cannot be read (byte {error.start} is not UTF-8; save the file as UTF-8, in Excel as "
            "`CSV UTF-8`)"
        ) from None
