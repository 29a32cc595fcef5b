"""What the tests of several sources share."""

import csv
from dataclasses import replace
from pathlib import Path

from crackdet.config.schema import FolderData
from crackdet.data.records import ImageRecord


def folder_data(root: Path, **settings: object) -> FolderData:
    return replace(FolderData(root=str(root)), **settings)  # type: ignore[arg-type]


def write_manifest(root: Path, groups: dict[str, str], column: str = "wall") -> None:
    with (root / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", column), *groups.items()])


def names_in(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))


def labels_and_splits(records: list[ImageRecord]) -> dict[str, tuple[bool, str | None]]:
    return {record.name: (record.crack, record.split) for record in records}
