"""`data=folder`: `root/[<split>/]<class>/**/image`, or `root/<class>/<split>/**/image`; the root may be deeper."""

import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crackdet.config.file_data import FolderData
from crackdet.core.errors import UserError
from crackdet.core.files import expand_home
from crackdet.data.records import ImageRecord
from crackdet.data.sources.base import check_splits, sort_records
from crackdet.data.sources.class_names import guess_labels, list_folders, setting
from crackdet.data.sources.files import FileSource, has_images, image_folders, subfolders, system_folders, walk_images
from crackdet.data.sources.layout import MASK_NAMES, ClassFolder, Layout, LayoutFinder
from crackdet.data.sources.names import doubled_splits, normalized, split_of
from crackdet.data.sources.photographs import leave_out_masks


class FolderSource(FileSource):
    """Images labelled by the name of their folder, with an optional manifest of groups."""

    def __init__(self, data: FolderData, cache_dir: Path) -> None:
        super().__init__(data, cache_dir)
        self.data = data
        self.layout = Layout()  # of the last listing
        self.labels = {normalized(name): False for name in data.no_crack_names}
        for name in data.crack_names:
            if normalized(name) in self.labels:
                raise UserError(
                    f"data.crack_names, data.no_crack_names: {name} is in both; a folder name stands for one class"
                )
            self.labels[normalized(name)] = True

    def list_records(self, both_classes: bool = True) -> list[ImageRecord]:
        self.left_out.clear()
        self.doubts = []
        masks = self._masks_folder()
        real_masks = None if masks is None else masks.resolve()
        self.layout = LayoutFinder(self.labels, real_masks, both_classes).find(self.root)
        is_class = not (both_classes or self.layout.classes) and normalized(self.root.name) in self.labels
        if is_class and has_images(self.root):
            self.layout = Layout([ClassFolder(self.root, self.labels[normalized(self.root.name)], None)])
        for folder in self.layout.empty_splits or ([] if self.layout.classes else [self.root]):
            raise self._no_classes_error(folder, both_classes)
        if not self.layout.has_both_classes and (error := self._one_class_error(both_classes)):
            raise error
        for parent in self.layout.parents:
            self.left_out.update(f"folder {name}" for name in system_folders(parent))
        records = [record for folder in self.layout.classes for record in self._list_class(folder)]
        self._check_splits(records)
        groups = self.find_groups([record.name for record in records], self._is_class_or_split)
        records = [record._replace(group=group) for record, group in zip(records, groups, strict=True)]
        self.doubts += doubled_splits((record.name for record in records if record.split), split_of)
        return sort_records(self.add_digests(records), f"data.root={self.data.root}", both_classes)

    def mask(self, record: ImageRecord, image_size: int) -> NDArray[np.bool_] | None:
        folder = self.mask_folder
        return None if folder is None else self.read_mask(folder / record.name, record, image_size)

    @property
    def mask_folder(self) -> Path | None:
        """The folder `data.masks`; None if it is not set.

        Raises:
            UserError: If there is no such folder.
        """
        folder = self._masks_folder()
        if folder is not None and not folder.is_dir():
            raise UserError(f"data.masks={self.data.masks}: there is no such folder in {self.root}")
        return folder

    @property
    def warnings(self) -> Sequence[str]:
        loose = [f"{self._relative(path)} itself" for path in dict.fromkeys(self.layout.parents) if has_images(path)]
        if ignored := [*loose, *(self._relative(path) for path in self._unused_folders())]:
            message = (
                f"images in {', '.join(ignored)} are ignored: they are in no class folder, or outside the split folders"
            )
            return [message, *super().warnings]
        return super().warnings

    def _list_class(self, folder: ClassFolder) -> list[ImageRecord]:
        names, warnings = leave_out_masks(self.list_names(folder.path))
        self.doubts += warnings
        start = len(folder.path.relative_to(self.root).parts)
        inside = {path: path.split("/")[start:] for path in {name.rpartition("/")[0] for name in names}}
        for path, parts in inside.items():
            if any(self.labels.get(normalized(part), folder.crack) is not folder.crack for part in parts):
                raise UserError(
                    f"data.root={self.data.root}: {path} is a folder of one class in a folder of the other class; "
                    "move one of the two"
                )
        if masks := [path for path, parts in inside.items() if any(normalized(part) in MASK_NAMES for part in parts)]:
            self.doubts.append(
                f"images in {list_folders(sorted(masks))} are used as photographs; move masks out of the class folders"
            )
        splits = {path: folder.split or (split_of(parts[0]) if parts else None) for path, parts in inside.items()}
        return [ImageRecord(name, folder.crack, "", splits[name.rpartition("/")[0]]) for name in names]

    def _is_class_or_split(self, folder: str) -> bool:
        return normalized(folder) in self.labels or split_of(folder) is not None

    def _check_splits(self, records: Sequence[ImageRecord]) -> None:
        """Check that all images are in a folder named after a split, or none is; keep doubts about pooled folders."""
        check_splits(records, f"data.root={self.data.root}")
        if pooled := [self._relative(path) for path in self.layout.pooled]:
            alone = shlex.quote(f"data.root={self.layout.pooled[0]}")
            self.doubts.append(f"the classes in {list_folders(pooled)} are used together; set {alone} to use only one")

    def _unused_folders(self) -> list[Path]:
        """Return folders of the last listing that hold images that are neither masks nor listed by another path."""
        classes = [folder.path.resolve() for folder in self.layout.classes]
        masks = self._masks_folder()
        real_masks = None if masks is None else masks.resolve()

        def is_unused(folder: Path) -> bool:
            real_path = folder.resolve()
            return not any(path.is_relative_to(real_path) for path in classes) and any(
                names and (real_masks is None or not Path(path).resolve().is_relative_to(real_masks))
                for path, names in walk_images(folder, lambda error: None)
            )

        return [folder for folder in dict.fromkeys(self.layout.others) if is_unused(folder)]

    def _no_classes_error(self, folder: Path, both_classes: bool) -> UserError:
        where = f"data.root={self.data.root}: {folder}"
        folders = subfolders(folder)
        if not folders:
            what = "images, but no class folder" if has_images(folder) else "no class folder"
            hint = "each class needs a folder, such as cracked/ and uncracked/"
            if not both_classes:
                hint += f"; if all images show cracks, or none does, name this folder: {setting(False, [folder.name])}"
            return UserError(f"{where} contains {what}; {hint}")
        inner = [path.relative_to(folder).as_posix() for part in folders for path in image_folders(part)]
        names = inner or [path.name for path in folders]
        hint = (
            "name the classes: the folders with cracks in data.crack_names=[...], the others in "
            "data.no_crack_names=[...]"
        )
        labels = guess_labels(names)
        if LayoutFinder({normalized(name): crack for name, crack in labels.items()}).find(folder).has_both_classes:
            settings = [setting(crack, [name for name in labels if labels[name] is crack]) for crack in (True, False)]
            hint = f"name the classes, as in {' '.join(settings)}"
        return UserError(f"{where} contains no folder named after a class, but {list_folders(names)}; {hint}")

    def _one_class_error(self, both_classes: bool) -> UserError | None:
        """Return the error to raise if all class folders show cracks, or none does.

        None if one class is enough, and no folder is named after the other one.
        """
        missing = not self.layout.classes[0].crack
        which = "with" if missing else "without"
        message = f"data.root={self.data.root}: holds no image {which} a crack; both classes are needed"
        unknown = self._unused_folders()
        inner = [path for folder in unknown for path in (folder, *image_folders(folder))]
        if known := [path for path in inner if self.labels.get(normalized(path.name)) is missing]:
            message += f"; {self._relative(known[0])} is not beside {self._relative(self.layout.classes[0].path)}"
        elif not both_classes:
            return None
        elif unknown:
            verb = "show cracks" if missing else "show none"
            message += f"; images in {list_folders([self._relative(path) for path in unknown])} are in no class: "
            message += f"if these images {verb}, set {setting(missing, dict.fromkeys(path.name for path in unknown))}"
        return UserError(message)

    def _masks_folder(self) -> Path | None:
        masks = self.data.masks
        return None if masks is None else self.root / expand_home(masks)

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix() if path != self.root else str(self.root)
