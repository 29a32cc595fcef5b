"""`data=filename_labels`: `root/<split>/images/**/image`, labelled by file name."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crackdet.config.schema import FilenameLabelsData
from crackdet.core.errors import UserError
from crackdet.data.records import ImageRecord
from crackdet.data.sources.base import sort_records
from crackdet.data.sources.files import FileSource


class FilenameLabelsSource(FileSource):
    """An image shows no crack if its file name contains `negative_mark`."""

    ignored_folders = ()

    def __init__(self, data: FilenameLabelsData, cache_dir: Path) -> None:
        super().__init__(data.root, cache_dir, data.white_level)
        self.data = data

    def list_records(self) -> list[ImageRecord]:
        records: list[ImageRecord] = []
        for split in ("train", "valid", "test"):
            folder = self.root / split / "images"
            if folder.is_dir():
                for name in self.list_names(folder):
                    crack = self.data.negative_mark not in name.rpartition("/")[2]
                    records.append(ImageRecord(name, crack, "", split))
            elif split == "train":
                raise UserError(f"data.root={self.data.root}: {folder} is missing; data=filename_labels needs it")
        return sort_records(self.add_digests(records), f"data.root={self.data.root}")

    def mask(self, record: ImageRecord, image_size: int) -> NDArray[np.bool_] | None:
        if self.data.masks is None:
            return None
        split, _images, *inside = Path(record.name).parts
        return self.read_mask(self.root.joinpath(split, self.data.masks, *inside), record, image_size)
