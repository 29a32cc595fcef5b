"""`data=filename_labels`: `root/<split>/images/**/image`, labelled by file name."""

import re
from collections.abc import Sequence
from pathlib import Path
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from crackdet.config.fields import texts_of
from crackdet.config.file_data import FilenameLabelsData
from crackdet.config.messages import show_value
from crackdet.core.errors import UserError
from crackdet.core.files import expand_home
from crackdet.core.text import list_first
from crackdet.data.records import ImageRecord
from crackdet.data.sources.base import sort_records
from crackdet.data.sources.files import FileSource, has_images, image_folders, subfolders
from crackdet.data.sources.names import doubled_splits, normalized, split_of
from crackdet.data.sources.photographs import leave_out_masks

MAX_NAMED = 20  # file names in an error


class FilenameLabelsSource(FileSource):
    """The marks in file names are the labels: an image shows no crack if its name contains a `negative_mark`.

    It shows a crack if its name contains a `positive_mark`; if one of the two is null, all other names are of that
    class. Case does not count. Of marks that overlap, the first and longest one counts: `noncrack` is no `crack`.
    """

    def __init__(self, data: FilenameLabelsData, cache_dir: Path) -> None:
        super().__init__(data, cache_dir)
        self.data = data
        self.labels = {_comparable(mark): True for mark in texts_of(data.positive_mark)}
        for mark in texts_of(data.negative_mark):
            if self.labels.setdefault(_comparable(mark), False):
                raise UserError(
                    f"data.positive_mark, data.negative_mark: {mark} is in both; a mark stands for one class"
                )
        if not self.labels:
            raise UserError("data.positive_mark, data.negative_mark: both are null; the marks of one class are needed")
        self.marks = re.compile("|".join(re.escape(mark) for mark in sorted(self.labels, key=len, reverse=True)))

    def list_records(self, both_classes: bool = True) -> list[ImageRecord]:
        self.left_out.clear()
        self.doubts = []
        folders = subfolders(self.root)
        splits = {path: split for path in folders if (split := split_of(path.name)) is not None}
        if "train" not in splits.values() and (both_classes or not splits):
            raise self._no_train_error(folders)
        found = [(name, split) for path, split in splits.items() for name in self._list_split(path, split)]
        records = self._label(found)
        unused = [path for path in folders if path not in splits]
        unused += [path for split in splits for path in subfolders(split) if not self._is_known(path)]
        ignored = [path.relative_to(self.root).as_posix() for path in unused if image_folders(path)]
        ignored += [f"{path.name} itself" for path in splits if has_images(path)]
        if ignored:
            self.doubts.append(f"images in {', '.join(ignored)} are ignored: data=filename_labels reads <split>/images")
        self.doubts += doubled_splits((record.name for record in records), split_of)
        self._doubt_labels(records)
        groups = self.find_groups([record.name for record in records], _is_known_folder)
        records = [record._replace(group=group) for record, group in zip(records, groups, strict=True)]
        return sort_records(self.add_digests(records), f"data.root={self.data.root}", both_classes)

    def mask(self, record: ImageRecord, image_size: int) -> NDArray[np.bool_] | None:
        if self.data.masks is None:
            return None
        split, _images, *inside = Path(record.name).parts
        masks = self.root.joinpath(split, expand_home(self.data.masks), *inside)
        return self.read_mask(masks, record, image_size)

    def _list_split(self, folder: Path, split: str) -> list[str]:
        images = [path for path in subfolders(folder) if path.name.lower() == "images"]
        if not images and (split == "train" or image_folders(folder)):
            raise UserError(
                f"data.root={self.data.root}: {folder / 'images'} is missing; data=filename_labels needs it"
            )
        names, warnings = leave_out_masks([name for path in images for name in self.list_names(path)])
        self.doubts += warnings
        return names

    def _label(self, found: Sequence[tuple[str, str]]) -> list[ImageRecord]:
        """Return the records of images with these names and splits; keep a doubt about names without a mark.

        Raises:
            UserError: If a name has marks of both classes; the message lists these names.
        """
        records, unmarked, ambiguous = [], [], []
        others = next((crack for crack in (True, False) if crack not in self.labels.values()), None)
        for name, split in found:
            labels = {self.labels[mark] for mark in self.marks.findall(_comparable(name.rpartition("/")[2]))}
            if len(labels) > 1:
                ambiguous.append(name)
            elif labels or others is not None:
                records.append(ImageRecord(name, labels.pop() if labels else others is True, "", split))
            else:
                unmarked.append(name)
        marks = f"data.positive_mark={show_value(self.data.positive_mark)}, {self._negative_mark}"
        if ambiguous:
            raise UserError(f"{marks}: {len(ambiguous)} file names have both marks: {list_first(ambiguous, MAX_NAMED)}")
        if unmarked:
            self.doubts.append(f"{marks}: {len(unmarked)} images such as {unmarked[0]} have no mark and are left out")
        return records

    def _doubt_labels(self, records: Sequence[ImageRecord]) -> None:
        """Doubt the label of images with a crack whose names contain a mark of the others in another spelling."""
        marks = [normalized(mark) for mark in texts_of(self.data.negative_mark)]
        names = [(record.name, normalized(record.name.rpartition("/")[2])) for record in records if record.crack]
        doubted = [name for name, comparable in names if any(mark in comparable for mark in marks)]
        if doubted:
            self.doubts.append(
                f"{len(doubted)} images such as {doubted[0]} are labelled as cracks: their names do not contain "
                f"{self._negative_mark} in this spelling"
            )

    @property
    def _negative_mark(self) -> str:
        return f"data.negative_mark={show_value(self.data.negative_mark)}"

    def _is_known(self, folder: Path) -> bool:
        return folder.name.lower() == "images" or folder.name == self.data.masks

    def _no_train_error(self, folders: Sequence[Path]) -> UserError:
        message = (
            f"data.root={self.data.root}: {self.root / 'train' / 'images'} is missing; data=filename_labels needs it"
        )
        for path in folders:
            if any(split_of(inner.name) == "train" for inner in subfolders(path)):
                return UserError(f"{message}; did you mean data.root={path}?")
        return UserError(message)


def _comparable(text: str) -> str:
    return normalize("NFC", text).casefold()


def _is_known_folder(folder: str) -> bool:
    return folder.lower() == "images" or split_of(folder) is not None
