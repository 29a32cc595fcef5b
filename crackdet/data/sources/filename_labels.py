"""`data=filename_labels`: `root/<split>/images/**/image`, labelled by file name."""

from collections.abc import Sequence
from pathlib import Path
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from crackdet.config.schema import FilenameLabelsData
from crackdet.core.errors import UserError
from crackdet.core.files import expand_home
from crackdet.data.records import ImageRecord
from crackdet.data.sources.base import sort_records
from crackdet.data.sources.files import FileSource, has_images, image_folders, subfolders
from crackdet.data.sources.names import normalized, split_of


class FilenameLabelsSource(FileSource):
    """An image shows no crack if its file name contains `negative_mark`, in lower or upper case."""

    def __init__(self, data: FilenameLabelsData, cache_dir: Path) -> None:
        super().__init__(data, cache_dir)
        self.data = data

    def list_records(self) -> list[ImageRecord]:
        self.left_out.clear()
        self.doubts = []
        folders = subfolders(self.root)
        splits = {path: split for path in folders if (split := split_of(path.name)) is not None}
        if "train" not in splits.values():
            raise self._no_train_error(folders)
        records = [record for path, split in splits.items() for record in self._list_split(path, split)]
        unused = [path for path in folders if path not in splits]
        unused += [path for split in splits for path in subfolders(split) if not self._is_known(path)]
        ignored = [path.relative_to(self.root).as_posix() for path in unused if image_folders(path)]
        ignored += [f"{path.name} itself" for path in splits if has_images(path)]
        if ignored:
            self.doubts.append(f"images in {', '.join(ignored)} are ignored: data=filename_labels reads <split>/images")
        self._doubt_labels(records)
        groups = self.find_groups([record.name for record in records], _is_known_folder)
        records = [record._replace(group=group) for record, group in zip(records, groups, strict=True)]
        return sort_records(self.add_digests(records), f"data.root={self.data.root}")

    def mask(self, record: ImageRecord, image_size: int) -> NDArray[np.bool_] | None:
        if self.data.masks is None:
            return None
        split, _images, *inside = Path(record.name).parts
        masks = self.root.joinpath(split, expand_home(self.data.masks), *inside)
        return self.read_mask(masks, record, image_size)

    def _list_split(self, folder: Path, split: str) -> list[ImageRecord]:
        images = [path for path in subfolders(folder) if path.name.lower() == "images"]
        if not images and (split == "train" or image_folders(folder)):
            raise UserError(
                f"data.root={self.data.root}: {folder / 'images'} is missing; data=filename_labels needs it"
            )
        mark = _comparable(self.data.negative_mark)
        names = [name for path in images for name in self.list_names(path)]
        return [ImageRecord(name, mark not in _comparable(name.rpartition("/")[2]), "", split) for name in names]

    def _doubt_labels(self, records: Sequence[ImageRecord]) -> None:
        """Doubt the label of images with a crack whose names contain the mark of the others in another spelling."""
        mark = normalized(self.data.negative_mark)
        doubted = [
            record.name for record in records if record.crack and mark in normalized(record.name.rpartition("/")[2])
        ]
        if doubted:
            self.doubts.append(
                f"{len(doubted)} images such as {doubted[0]} are labelled as cracks: their names do not contain "
                f"data.negative_mark={self.data.negative_mark} in this spelling"
            )

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
