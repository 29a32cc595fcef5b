"""`data=table`: images whose labels are in a CSV or Parquet file."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crackdet.config.file_data import TableData
from crackdet.core.errors import UserError
from crackdet.core.files import expand_home
from crackdet.core.text import list_first, list_lines
from crackdet.data.records import ImageRecord
from crackdet.data.sources.base import MAX_PROBLEMS, check_splits, sort_records
from crackdet.data.sources.class_names import guess_labels, setting
from crackdet.data.sources.files import FileSource
from crackdet.data.sources.groups import column_of
from crackdet.data.sources.manifest import PathFinder, merge_spellings, no_group_warning
from crackdet.data.sources.names import normalized, split_of
from crackdet.data.sources.tables import Row, Table, read_table

COLUMNS = {  # usual names of the columns, in order of preference
    "path": ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path"),
    "label": ("label", "class", "target", "category", "y"),
    "split": ("split",),
    "weight": ("weight",),
}
REQUIRED = ("path", "label")
CORRECTED = "corrected_label"  # takes the place of the label if it is not empty
GROUP = "group"  # used if `data.groups` is null
NUMBERS = {"1": True, "1.0": True, "0": False, "0.0": False}
WORDS = {"true": True, "yes": True, "y": True, "false": False, "no": False, "n": False}
ONE_WITHOUT_SPLIT = "has a split for {inside} and none for {outside}; give all images a split, or none"


class TableSource(FileSource):
    """A row for each image: its path and label, and if the columns exist its split, group and weight."""

    def __init__(self, data: TableData, cache_dir: Path) -> None:
        super().__init__(data, cache_dir)
        self.data = data
        self.table_file = _find_table(self.root, data.table)
        self.setting = f"data.table={data.table}"
        self.class_names = {_comparable(name): False for name in data.no_crack_names}
        for name in data.crack_names:
            if self.class_names.setdefault(_comparable(name), True) is False:
                raise UserError(
                    f"data.crack_names, data.no_crack_names: {name} is in both; a label stands for one class"
                )
        self.labels = NUMBERS | WORDS | self.class_names

    @property
    def dependencies(self) -> Sequence[Path]:
        table = read_table(self.table_file, self.setting)
        column = self._column(table, "path")
        cells = [((column and row[column]) or "").strip() for row in table.rows]
        is_inside = self._inside(f"{self.table_file.parent.absolute()}/_") is not None
        elsewhere = [cell for cell in cells if not is_inside or ".." in cell or os.path.isabs(cell)]  # noqa: PTH117
        paths = [path for cell in elsewhere for path in self._paths(cell)]
        outside = [Path(path) for path in dict.fromkeys(paths) if self._inside(path) is None and os.path.isfile(path)]  # noqa: PTH113
        return [*super().dependencies, self.table_file, *outside]

    def list_records(self, both_classes: bool = True) -> list[ImageRecord]:
        self.left_out.clear()
        self.doubts = []
        table = read_table(self.table_file, self.setting)
        names = self._list_root()
        rows, records = self._read_rows(table, names)
        check_splits(records, self.setting, ONE_WITHOUT_SPLIT)
        groups = self._find_table_groups(table, rows, [record.name for record in records])
        records = [record._replace(group=groups[record.name]) for record in records]
        if others := sorted(set(names) - {record.name for record in records}):
            self.doubts.append(
                f"{len(others)} images are not in the table and are left out, such as {list_first(others, 2)}"
            )
        if (weights := {record.weight for record in records}) != {1.0}:
            self.doubts.append(
                f"the images have weights from {min(weights):g} to {max(weights):g} in the training loss"
            )
        return sort_records(self.add_digests(records), self.setting, both_classes)

    def mask(self, record: ImageRecord, image_size: int) -> NDArray[np.bool_] | None:
        if self.data.masks is None or os.path.isabs(record.name):  # noqa: PTH117
            return None
        return self.read_mask(self.root / expand_home(self.data.masks) / record.name, record, image_size)

    def _read_rows(self, table: Table, names: Sequence[str]) -> tuple[list[Row], list[ImageRecord]]:
        """Return the rows with an image, and their records without digests and groups.

        Raises:
            UserError: If a column is missing, or rows cannot be used; the message lists them all.
        """
        columns = {name: self._column(table, name) for name in COLUMNS} | {CORRECTED: table.find_column(CORRECTED)}
        find = PathFinder(self.root, self.table_file.parent, names)
        rows, corrected = [], 0
        records: dict[str, ImageRecord] = {}
        problems: list[str] = []
        labels: dict[str, bool | None] = {}  # as they are in the table
        for number, row in zip(table.numbers, table.rows, strict=True):
            if not any(row.values()):
                continue
            cells = {name: ((column and row[column]) or "").strip() for name, column in columns.items()}
            label = cells[CORRECTED] or cells["label"]
            crack = self.labels.get(_comparable(label))
            try:
                name = self._name(cells["path"], find)
                if label:
                    labels[label] = crack
                if crack is None:
                    raise ValueError(f"the label {label} is unknown" if label else "has no label")
                if name in records:
                    raise ValueError(
                        "has a row above" + ("" if records[name].crack is crack else ", with another label")
                    )
                records[name] = ImageRecord(name, crack, "", _split(cells["split"]), None, _weight(cells["weight"]))
            except ValueError as error:
                problems.append(": ".join(filter(None, (f"row {number}", cells["path"], str(error)))))
                continue
            rows.append(row)
            corrected += bool(cells[CORRECTED])
        if problems:
            self._report(problems, labels)
        if not records:
            raise UserError(f"{self.setting}: has no row with an image")
        if corrected:
            self.doubts.append(f"{corrected} labels are those of the column {CORRECTED}")
        return rows, list(records.values())

    def _column(self, table: Table, name: str) -> str | None:
        """Return the column of a table that holds paths, labels, splits or weights; None if there is none.

        Raises:
            UserError: If the column is required, or set, and missing.
        """
        key, names = f"data.{name}_column", COLUMNS[name]
        given: str | None = getattr(self.data, f"{name}_column")
        found = table.find_column(*(names if given is None else (given,)))
        if found is None and (given is not None or name in REQUIRED):
            columns = list_first(table.columns, 20) or "none"
            if given is not None:
                raise UserError(f"{key}={given}: {table.file} has no such column; it has {columns}")
            raise UserError(
                f"{self.setting}: has no column {name} (or {', '.join(names[1:])}); it has {columns}; name the column "
                f"with {key}"
            )
        return found

    def _find_table_groups(self, table: Table, rows: Sequence[Row], names: Sequence[str]) -> dict[str, str | None]:
        """Return the groups by a column of the table, else by `data.groups`."""
        groups = self.data.groups
        wanted = GROUP if groups is None else column_of(groups)
        column = None if wanted is None else table.find_column(wanted)
        if groups is None and not any((row[column] or "").strip() for row in rows if column):
            return dict.fromkeys(names)
        if column is not None:
            where = f"{self.setting}: the column {column}"
            merged, warnings = merge_spellings(
                {name: row[column] or "" for name, row in zip(names, rows, strict=True)}, where
            )
            self.doubts += warnings + no_group_warning(where, merged)
            return {name: group or None for name, group in merged.items()}
        if groups is not None and wanted is not None and not (self.root / expand_home(self.data.manifest)).exists():
            raise UserError(
                f"data.groups={groups}: {table.file} has no column {wanted}; it has {list_first(table.columns, 20)}"
            )
        return dict(zip(names, self.find_groups(names, self._is_known_folder), strict=True))

    def _name(self, text: str, find: PathFinder) -> str:
        """Return the path of an image relative to the root, or its absolute path outside; raise ValueError."""
        if not text:
            raise ValueError("has no path")
        if (name := find(text)) is not None:
            return name
        for path in self._paths(text):
            if os.path.isfile(path):  # noqa: PTH113  # strings: many rows
                return self._inside(path) or path
        is_folder = any(os.path.isdir(path) for path in self._paths(text))  # noqa: PTH112
        raise ValueError("is a folder" if is_folder else f"there is no such file in {self.root}")

    def _paths(self, text: str) -> list[str]:
        """Return the absolute paths that a path in the table may mean: relative to the root or to the table."""
        folders = dict.fromkeys((self.root.absolute(), self.table_file.parent.absolute()))
        spellings = dict.fromkeys((text, text.replace("\\", "/")))
        return [os.path.normpath(folder / path) for folder in folders for path in spellings]

    def _inside(self, path: str) -> str | None:
        """Return an absolute path relative to the root; None if it is outside."""
        root = f"{os.path.normpath(self.root.absolute())}/"
        return path[len(root) :] if path.startswith(root) else None

    def _report(self, problems: Sequence[str], labels: Mapping[str, bool | None]) -> None:
        """Raise a UserError with all problems, or keep a warning if they are skipped."""
        lines = list_lines(problems, MAX_PROBLEMS)
        found = f"{self.setting}: {len(problems)} rows cannot be used"
        hint = f"; name the classes, as in {self._class_settings(labels)}" if None in labels.values() else ""
        if self.data.on_bad_image == "error":
            raise UserError(f"{found}; repair them, or set data.on_bad_image=skip{hint}\n{lines}")
        self.doubts.append(f"{found} and are skipped{hint}:\n{lines}")

    def _class_settings(self, labels: Mapping[str, bool | None]) -> str:
        """Return settings that name the classes of unknown labels: a guess, and the labels that are known by name."""
        unknown = [label for label, crack in labels.items() if crack is None]
        guessed = guess_labels(unknown)
        is_crack = {label: guessed.get(label, False) for label in unknown}
        if len(guessed) < len(unknown) and True not in is_crack.values():
            is_crack[next(label for label in unknown if label not in guessed)] = True
        settings = []
        for crack in (True, False):
            if new := [label for label in unknown if is_crack[label] is crack]:
                known = [name for name in labels if labels[name] is crack and _comparable(name) in self.class_names]
                settings.append(setting(crack, [*known, *new]))
        return " ".join(settings)

    def _list_root(self) -> list[str]:
        """Return the images below the root, without masks; none if there are no images."""
        try:
            names = self.list_names(self.root)
        except UserError:
            return []
        finally:
            self.left_out.clear()  # the table says which files are meant
        masks = (
            None
            if self.data.masks is None
            else self._inside(os.path.normpath(self.root.absolute() / expand_home(self.data.masks)))
        )
        return names if masks is None else [name for name in names if not name.startswith(f"{masks}/")]

    def _is_known_folder(self, folder: str) -> bool:
        return _comparable(folder) in self.class_names or split_of(folder) is not None


def _find_table(root: Path, table: str) -> Path:
    """Return the table, which is relative to the root or to the current folder.

    Raises:
        UserError: If there is no such file.
    """
    file = expand_home(table)
    for path in (root / file, file):
        if path.exists():
            return path
    raise UserError(f"data.table={table}: there is no such file in {root}, nor in the current folder, {Path.cwd()}")


def _comparable(label: str) -> str:
    """Return a label without case, spaces, hyphens and underscores; a number keeps its sign."""
    text = label.strip().lower()
    return text if text.lstrip("+-").replace(".", "", 1).isdigit() else normalized(text)


def _split(text: str) -> str | None:
    if text and split_of(text) is None:
        raise ValueError(f"the split {text} is none of train, valid and test")
    return split_of(text)


def _weight(text: str) -> float:
    try:
        weight = float(text) if text else 1.0
    except ValueError:
        weight = math.nan
    if not 0 < weight < math.inf:
        raise ValueError(f"the weight {text} is no number above 0")
    return weight
