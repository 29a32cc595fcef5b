"""The class folders below a root: `[<split>/]<class>`, or deeper, as data sets are published and archives unpacked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crackdet.core.errors import UserError
from crackdet.data.sources.files import subfolders
from crackdet.data.sources.names import normalized, split_of

MAX_DEPTH = 3  # folders between the root and the class folders, besides those of splits
# Images in these folders mark the cracks of other images.
MASK_NAMES = {"mask", "masks", "groundtruth", "gt", "label", "labels", "annotation", "annotations", "segmentation"}


@dataclass(frozen=True)
class ClassFolder:
    """A folder whose images have one label, and belong to one split unless the split is None."""

    path: Path
    crack: bool
    split: str | None


@dataclass
class Layout:
    """The class folders below a folder, and the folders that are neither classes nor lead to one."""

    classes: list[ClassFolder] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    parents: list[Path] = field(default_factory=list)  # of the class folders, and the folders that lead to them
    empty_splits: list[Path] = field(default_factory=list)  # folders named after a split, without class folders
    pooled: list[Path] = field(default_factory=list)  # folders that each have both classes

    @property
    def has_both_classes(self) -> bool:
        return {folder.crack for folder in self.classes} == {True, False}

    def add(self, other: "Layout") -> None:
        self.classes += other.classes
        self.others += other.others
        self.parents += other.parents
        self.empty_splits += other.empty_splits
        self.pooled += other.pooled


@dataclass(frozen=True)
class LayoutFinder:
    """Finds the class folders below a folder.

    Args:
        labels: Whether a folder shows cracks, by its normalized name.
        masks: The real path of the folder of masks.
        both_classes: Whether both classes are needed; else several folders of the same class are used together.
    """

    labels: Mapping[str, bool]
    masks: Path | None = None
    both_classes: bool = True

    def find(self, folder: Path, split: str | None = None, depth: int = 0) -> Layout:
        """Return the layout of a folder: split folders go before class folders, and class folders before deeper ones.

        Args:
            folder: The folder.
            split: The split that it belongs to.
            depth: Its depth below the root, without split folders.

        Raises:
            UserError: If the root or a split folder cannot be read.
        """
        try:
            folders = subfolders(folder)
        except UserError:
            if depth == 0:
                raise
            return Layout()
        layout = Layout(parents=[folder])
        if split is None and (splits := [path for path in folders if split_of(path.name)]):
            layout.others = [path for path in folders if path not in splits]
            for path in splits:
                inner = self.find(path, split_of(path.name), depth)
                layout.add(inner)
                if not inner.classes:
                    layout.empty_splits.append(path)
            return layout
        named = {path: self.labels[normalized(path.name)] for path in folders if normalized(path.name) in self.labels}
        layout.classes = [ClassFolder(path, crack, split) for path, crack in named.items()]
        layout.others = [path for path in folders if path not in named]
        if layout.has_both_classes or depth == MAX_DEPTH:
            return layout
        deeper = self._find_deeper(folder, folders, split, depth)
        return deeper if deeper.has_both_classes or not layout.classes else layout

    def _find_deeper(self, folder: Path, folders: Sequence[Path], split: str | None, depth: int) -> Layout:
        """Return the class folders in the subfolders of a folder; of several subfolders, each has both classes."""
        real_paths = {path.resolve(): path for path in sorted(folders, key=Path.is_symlink, reverse=True)}
        above = {folder.resolve(), *folder.resolve().parents}
        inner = {
            path: self.find(path, split, depth + 1)
            for real_path, path in sorted(real_paths.items())
            if real_path not in above and real_path != self.masks and normalized(path.name) not in MASK_NAMES
        }
        complete = [path for path, layout in inner.items() if layout.has_both_classes]
        used = complete or [path for path, layout in inner.items() if layout.classes]
        if not complete and (self.both_classes or len({c.crack for path in used for c in inner[path].classes}) > 1):
            used = used[:1]
        result = Layout(parents=[folder], others=[path for path in folders if path not in used])
        for path in used:
            result.add(inner[path])
        result.pooled = result.pooled or (complete if len(complete) > 1 else [])
        return result
