"""`data=boxes`: tiles of photographs, labelled by boxes around the cracks, in the formats of annotation tools."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crackdet.config.file_data import BoxesData
from crackdet.core.errors import UserError
from crackdet.core.files import expand_home
from crackdet.core.text import list_first
from crackdet.data.decode import upright_size
from crackdet.data.sources.annotations.base import Annotations, BoxAnnotation, Sizes
from crackdet.data.sources.annotations.finding import read_annotations
from crackdet.data.sources.class_names import guess_labels, setting
from crackdet.data.sources.files import LeftOut
from crackdet.data.sources.names import extension, normalized
from crackdet.data.sources.photographs import pair_masks, split_in_path
from crackdet.data.sources.tiled import Labels, Photograph, TiledSource, label_by_share
from crackdet.data.tiles import box_covers, touches


class BoxesSource(TiledSource):
    """A tile shows a crack if boxes cover `min_box_cover` of it, or it covers that share of a box."""

    def __init__(self, data: BoxesData, cache_dir: Path) -> None:
        super().__init__(data, cache_dir)
        self.settings = data
        self.crack_names = {normalized(name) for name in data.crack_names}
        self.ambiguity = f"each touches a box, but neither covers data.min_box_cover={data.min_box_cover} of the other"
        self._boxes: dict[str, list[BoxAnnotation]] = {}  # photograph -> boxes of cracks, of the last listing

    @property
    def dependencies(self) -> Sequence[Path]:
        annotations = self.settings.annotations
        return [*super().dependencies, *([] if annotations is None else [self.root / expand_home(annotations)])]

    def find_photographs(self) -> tuple[list[Photograph], list[str], list[str]]:
        names = pair_masks(self.list_names(self.root), None, None).photographs
        annotations = read_annotations(self.root, self.settings.annotations, names, self._sizes(names))
        self._check_classes(annotations)
        used = (path for path in annotations.files if path.is_relative_to(self.root))
        self.left_out = self.left_out - LeftOut(extension(path.name) for path in used)
        self._boxes = {
            photograph.path: [box for box in photograph.boxes if normalized(box.class_name) in self.crack_names]
            for photograph in annotations.photographs
        }
        found = [
            Photograph(one.path, one.split or split_in_path(one.path), tuple(self._boxes[one.path]))
            for one in annotations.photographs
        ]
        return (
            found,
            [name for name in names if name not in self._boxes.keys() | annotations.damaged],
            annotations.problems,
        )

    def label_tiles(self, photographs: Sequence[Photograph]) -> tuple[list[Labels], dict[int, str]]:
        labels = []
        for photograph in photographs:
            boxes = [box[:4] for box in photograph.annotation or ()]
            grid = self.grid(photograph)
            covers = np.where(touches(boxes, grid), box_covers(boxes, grid), 0.0)
            labels.append(label_by_share(covers, self.settings.min_box_cover))
        return labels, {}

    def crack_mask(self, photograph: str) -> NDArray[np.bool_] | None:
        """Return the pixels inside the boxes of a photograph, (height, width); None if it has no annotation."""
        if not self._boxes:
            self.find_photographs()
        size = upright_size(self.root / photograph)
        if photograph not in self._boxes or size is None:
            return None
        mask = np.zeros(size[::-1], np.bool_)
        for left, top, right, bottom, _ in self._boxes[photograph]:
            mask[math.floor(top) : math.ceil(bottom), math.floor(left) : math.ceil(right)] = True
        return mask

    def _sizes(self, names: Sequence[str]) -> Sizes:
        """Return a function that gives the upright size of a photograph; sizes are read once and cached."""
        sizes, _ = self.find_sizes(names, self.find_digests(names))
        return dict(zip(names, sizes, strict=True)).get

    def _check_classes(self, annotations: Annotations) -> None:
        """Keep a warning about classes that are no cracks.

        Raises:
            UserError: If no class is named in `data.crack_names`.
        """
        names = list(dict.fromkeys(annotations.class_names))
        others = [name for name in names if normalized(name) not in self.crack_names]
        if others and len(others) == len(names):
            guessed = [name for name in names if guess_labels([name]).get(name)] or names
            raise UserError(
                f"data.crack_names: none of the {annotations.format} classes {list_first(names, 12)} is in it; name "
                f"those whose boxes are cracks, as in {setting(True, guessed)}"
            )
        if others:
            counts = Counter(box.class_name for one in annotations.photographs for box in one.boxes)
            shown = list_first([f"{name} ({counts[name]})" for name in others], 12)
            self.doubts.append(f"boxes of classes that are not in data.crack_names count as no crack: {shown}")
