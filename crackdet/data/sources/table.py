"""`data=table`: images whose labels are in a CSV or Parquet file."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crackdet.config.schema import TableData
from crackdet.core.errors import UserError
from crackdet.core.files import expand_home
from crackdet.core.text import list_first
from crackdet.data.records import ImageRecord
from crackdet.data.sources.base import check_splits, sort_records
from crackdet.data.sources.class_names import guess_labels, setting
from crackdet.data.sources.files import FileSource
from crackdet.data.sources.names import normalized, split_of
from crackdet.data.sources.tables import Table, read_table

PATHS = ("path", "file", "filename", "file_name", "image", "image_path", "filepath")
LABELS = ("label", "class", "target", "category", "y")
CORRECTED = "corrected_label"  # takes the place of the label if it is not empty
GROUPS = ("group",)
YES, NO = ("1", "true", "yes", "y"), ("0", "false", "no", "n")
MAX_PROBLEMS = 20


class TableSource(FileSource):
    """A row for each image: its path and label, and if the columns exist its split, group and weight."""

    def __init__(self, data: TableData, cache_dir: Path) -> None:
        super().__init__(data, cache_dir)
        self.data = data
        self.setting = f"data.table={data.table}"
        self.labels = dict.fromkeys(YES, True) | dict.fromkeys(NO, False)
        self.labels |= {normalized(name): False for name in data.no_crack_names}
        for name in data.crack_names:
            if self.labels.setdefault(normalized(name), True) is False:
                raise UserError(
                    f"data.crack_names, data.no_crack_names: {name} is in both; a label stands for one class"
                )

    def list_records(self) -> list[ImageRecord]:
        self.left_out.clear()
        self.doubts = []
        table = read_table(self.root / expand_home(self.data.table), self.setting)
        records = self._read_rows(table)
        check_splits(records, self.setting)
        if self.data.groups is not None:
            groups = self.find_groups([record.name for record in records], self._is_known_folder)
            records = [record._replace(group=group) for record, group in zip(records, groups, strict=True)]
        self._count_others(records)
        return sort_records(self.add_digests(records), self.setting)

    def mask(self, record: ImageRecord, image_size: int) -> NDArray[np.bool_] | None:
        if self.data.masks is None:
            return None
        return self.read_mask(self.root / expand_home(self.data.masks) / record.name, record, image_size)

    def _read_rows(self, table: Table) -> list[ImageRecord]:
        """Return the records of all rows, without digests.

        Raises:
            UserError: If a column is missing, or rows cannot be used; the message lists them all.
        """
        path_column, label_column = self._column(table, PATHS), self._column(table, LABELS)
        corrected = table.find_column(CORRECTED)
        split_column, group_column, weight_column = (table.find_column(name) for name in ("split", "group", "weight"))
        if self.data.groups is not None:
            group_column = None
        records: dict[str, ImageRecord] = {}
        problems: list[str] = []
        unknown: dict[str, None] = {}
        for number, row in enumerate(table.rows, 2):
            text = (row[path_column] or "").strip()
            label = ((corrected and row[corrected]) or row[label_column] or "").strip()
            where = f"row {number}: {text}"
            if not any(row.values()):
                continue
            try:
                name = self._name(text)
                crack = self.labels.get(normalized(label))
                split = self._split((split_column and row[split_column]) or "")
                weight = self._weight((weight_column and row[weight_column]) or "")
            except ValueError as error:
                problems.append(f"{where}: {error}")
                continue
            if crack is None:
                problems.append(f"{where}: {'the label ' + label + ' is unknown' if label else 'has no label'}")
                unknown |= {label: None} if label else {}
            elif name in records:
                other = "" if records[name].crack is crack else ", with the other label"
                problems.append(f"{where}: has a row above{other}")
            else:
                group = ((group_column and row[group_column]) or "").strip() or None
                records[name] = ImageRecord(name, crack, "", split, group, weight)
        if problems:
            self._report(problems, list(unknown))
        if not records:
            raise UserError(f"{self.setting}: has no row with an image")
        return list(records.values())

    def _column(self, table: Table, names: Sequence[str]) -> str:
        if (found := table.find_column(*names)) is None:
            columns = ", ".join(table.columns) or "none"
            raise UserError(f"{self.setting}: has no column {names[0]} (or {', '.join(names[1:])}); it has {columns}")
        return found

    def _name(self, text: str) -> str:
        """Return the path of an image relative to the root, or its absolute path outside; raise ValueError."""
        if not text:
            raise ValueError("has no path")
        for path in dict.fromkeys((text, text.replace("\\", "/"))):
            full = os.path.normpath(self.root.absolute() / path)
            if os.path.isfile(full):  # noqa: PTH113  # strings: many rows
                root = f"{self.root.absolute()}/"
                return full[len(root) :] if full.startswith(root) else full
        raise ValueError("is a folder" if (self.root / text).is_dir() else f"there is no such file in {self.root}")

    @staticmethod
    def _split(text: str) -> str | None:
        if text.strip() and split_of(text) is None:
            raise ValueError(f"the split {text.strip()} is none of train, valid and test")
        return split_of(text)

    @staticmethod
    def _weight(text: str) -> float:
        try:
            weight = float(text) if text.strip() else 1.0
        except ValueError:
            weight = math.nan
        if not 0 < weight < math.inf:
            raise ValueError(f"the weight {text.strip()} is no number above 0")
        return weight

    def _report(self, problems: Sequence[str], unknown: Sequence[str]) -> None:
        lines = "\n".join(f"  {problem}" for problem in problems[:MAX_PROBLEMS])
        if len(problems) > MAX_PROBLEMS:
            lines += f"\n  and {len(problems) - MAX_PROBLEMS} more"
        found = f"{self.setting}: {len(problems)} rows cannot be used"
        hint = ""
        if unknown:
            guessed = guess_labels(unknown)
            cracks = [name for name in unknown if guessed.get(name, False)] or list(unknown[:1])
            others = [name for name in unknown if name not in cracks]
            settings = [setting(True, cracks), *([setting(False, others)] if others else [])]
            hint = f"; name the classes, as in {' '.join(settings)}"
        if self.data.on_bad_image == "error":
            raise UserError(f"{found}; repair them, or set data.on_bad_image=skip{hint}\n{lines}")
        self.doubts.append(f"{found} and are skipped{hint}:\n{lines}")

    def _count_others(self, records: Sequence[ImageRecord]) -> None:
        """Count the images below the root that are not in the table."""
        try:
            names = set(self.list_names(self.root))
        except UserError:
            return
        if others := names - {record.name for record in records}:
            self.doubts.append(
                f"{len(others)} images are not in the table and are left out, such as {list_first(sorted(others), 2)}"
            )

    def _is_known_folder(self, folder: str) -> bool:
        return normalized(folder) in self.labels or split_of(folder) is not None
