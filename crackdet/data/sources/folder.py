"""`data=folder`: `root/[<split>/]<class>/**/image`, or `root/<class>/<split>/**/image`."""

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from crackdet.config.schema import FolderData
from crackdet.core.errors import UserError
from crackdet.data.decode import EXTENSIONS
from crackdet.data.records import ImageRecord
from crackdet.data.sources.base import sort_records
from crackdet.data.sources.files import FileSource, is_image, subfolders, walk_images

SPLIT_FOLDERS = {"train": "train", "valid": "valid", "test": "test"} | {
    "training": "train", "val": "valid", "validation": "valid", "testing": "test"
}  # fmt: skip


class FolderSource(FileSource):
    """Images labelled by the name of their folder, with an optional manifest of groups."""

    def __init__(self, data: FolderData, cache_dir: Path) -> None:
        super().__init__(data.root, cache_dir)
        self.data = data
        self.class_folders: list[Path] = []  # of the last listing
        self.other_folders: list[Path] = []  # neither a class nor a split
        self.labels = {_normalized(name): False for name in data.no_crack_names}
        for name in data.crack_names:
            if _normalized(name) in self.labels:
                raise UserError(
                    f"data.crack_names, data.no_crack_names: {name} is in both; a folder name stands for one class"
                )
            self.labels[_normalized(name)] = True

    def list_records(self) -> list[ImageRecord]:
        folders = subfolders(self.root)
        splits = {path: SPLIT_FOLDERS[path.name.lower()] for path in folders if path.name.lower() in SPLIT_FOLDERS}
        self.class_folders, self.other_folders = [], [path for path in folders if path not in splits] if splits else []
        records: list[ImageRecord] = []
        for folder, split in splits.items() if splits else {self.root: None}.items():
            records += self._list_classes(folder, split)
        if not splits:
            records = self._add_inner_splits(records)
        if self.data.groups is not None:
            records = self._add_groups(records, self.data.groups)
        return sort_records(self.add_digests(records), f"data.root={self.data.root}")

    def mask(self, record: ImageRecord, image_size: int) -> NDArray[np.bool_] | None:
        folder = self.mask_folder
        return None if folder is None else self.read_mask(folder / record.name, record, image_size)

    @property
    def mask_folder(self) -> Path | None:
        """The folder `data.masks`; None if it is not set.

        Raises:
            UserError: If there is no such folder.
        """
        if self.data.masks is None:
            return None
        folder = self.root / Path(self.data.masks).expanduser()
        if not folder.is_dir():
            raise UserError(f"data.masks={self.data.masks}: there is no such folder in {self.root}")
        return folder

    @property
    def ignored_folders(self) -> Sequence[str]:
        parents = dict.fromkeys([self.root, *(path.parent for path in self.class_folders)])
        with_images = [path for path in parents if any(is_image(entry.name) for entry in path.iterdir())]
        names = [path if path == self.root else path.relative_to(self.root).as_posix() for path in with_images]
        folders = [path for path in self.other_folders if self._has_unused_images(path)]
        return [*(f"{name} itself" for name in names), *(path.relative_to(self.root).as_posix() for path in folders)]

    def _list_classes(self, folder: Path, split: str | None) -> Iterator[ImageRecord]:
        folders = subfolders(folder)
        classes = [path for path in folders if _normalized(path.name) in self.labels]
        self.class_folders += classes
        self.other_folders += [path for path in folders if path not in classes]
        if not folders:
            raise UserError(
                f"data.root={self.data.root}: {folder} holds no folder; each class has one, such as cracked/ and "
                "uncracked/"
            )
        if not classes:
            raise UserError(
                f"data.root={self.data.root}: {folder} holds no folder named after a class, but "
                f"{', '.join(path.name for path in folders)}; name the classes, as in data.crack_names=[broken] "
                "data.no_crack_names=[intact]"
            )
        for path in classes:
            names = self.list_names(path)
            if not names:
                raise UserError(f"data.root={self.data.root}: {path} holds no image ({', '.join(EXTENSIONS)})")
            crack = self.labels[_normalized(path.name)]
            yield from (ImageRecord(name, crack, "", split) for name in names)

    def _add_inner_splits(self, records: list[ImageRecord]) -> list[ImageRecord]:
        """Add the splits of `<class>/<split>/...`; either all images are in such a folder, or none."""
        splits = [SPLIT_FOLDERS.get(record.name.split("/")[1].lower()) for record in records]
        if None in splits and any(splits):
            inside = records[next(i for i, split in enumerate(splits) if split is not None)]
            outside = records[splits.index(None)]
            raise UserError(
                f"data.root={self.data.root}: {inside.name} is in a folder named after a split and {outside.name} is "
                "not; put all images into split folders, or none"
            )
        return [record._replace(split=split) for record, split in zip(records, splits, strict=True)]

    def _has_unused_images(self, folder: Path) -> bool:
        """Return whether a folder holds images that are neither masks nor listed through another path."""
        real_path = folder.resolve()
        if any(path.resolve().is_relative_to(real_path) for path in self.class_folders):
            return False
        masks = (self.root / Path(self.data.masks).expanduser()).resolve() if self.data.masks is not None else None
        return any(
            names and (masks is None or not Path(path).resolve().is_relative_to(masks))
            for path, names in walk_images(folder, lambda error: None)
        )

    def _add_groups(self, records: list[ImageRecord], column: str) -> list[ImageRecord]:
        groups = self._read_groups(column)
        for record in records:
            if normalize("NFC", record.name) not in groups:
                raise UserError(
                    f"data.manifest={self.data.manifest}: has no row for {record.name}; "
                    f"data.groups={column} needs one for each image"
                )
        return [record._replace(group=groups[normalize("NFC", record.name)]) for record in records]

    def _read_groups(self, column: str) -> dict[str, str]:
        """Return the group of each image in the manifest, by name."""
        path = self.root / self.data.manifest
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                reader = csv.DictReader(file)
                rows = list(reader)
                columns = list(reader.fieldnames or [])
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise UserError(f"data.manifest={self.data.manifest}: {path} cannot be read ({error})") from None
        for required in ("path", column):
            if required not in columns:
                raise UserError(
                    f"data.groups={column}: {path} has no column {required}; it has {', '.join(columns) or 'none'}"
                )
        groups: dict[str, str] = {}
        for row in rows:
            name, group = normalize("NFC", row["path"] or ""), row[column]
            if group is None:
                raise UserError(f"data.groups={column}: {path} has no {column} for {name}: the row is too short")
            if groups.setdefault(name, group) != group:
                raise UserError(f"data.groups={column}: {path} puts {name} into both {groups[name]} and {group}")
        return groups


def _normalized(name: str) -> str:
    """A class name without case, spaces, hyphens and underscores."""
    return re.sub(r"[\s_-]+", "", normalize("NFC", name)).lower()
