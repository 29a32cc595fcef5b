"""The settings of data sources that read files: class folders, tables, file names, masks and boxes."""

from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from crackdet.config.fields import MISSING, field
from crackdet.config.schema import Data


@dataclass
class FileData(Data):
    """Image files below a folder."""

    root: str = field(MISSING, path=True)
    image_size: int = field(224, ge=1)
    # images of one group stay in one split: column of the manifest, folder[:LEVEL], regex:PATTERN or time:SECONDS
    groups: str | None = None
    manifest: str = field("manifest.csv", path=True)  # table with a column `path`, relative to root
    white_level: float | None = field(None, gt=0)  # sample value of white in images of more than 8 bits


@dataclass
class NamedClassesData(FileData):
    """Images whose classes have names; case, spaces, "-" and "_" are ignored."""

    crack_names: list[str] = field(["crack", "cracks", "cracked", "positive"], min_length=1)
    no_crack_names: list[str] = field(
        ["noncrack", "nocrack", "noncracked", "uncracked", "intact", "background", "negative"], min_length=1
    )
    masks: str | None = field(None, path=True)  # folder of masks, relative to root, named as the images


@dataclass
class FolderData(NamedClassesData):
    """Images in [train|valid|test/]<class>/**/*.jpg."""

    name: str = field("folder", choices=("folder",))


@dataclass
class TableData(NamedClassesData):
    """Images whose labels are in a table."""

    name: str = field("table", choices=("table",))
    root: str | None = field(None, path=True)  # type: ignore[assignment]  # null: the folder of the table
    table: str = field(MISSING, path=True)  # CSV or Parquet file, relative to root or to the current folder
    path_column: str | None = None  # null: path, or a usual name for it
    label_column: str | None = None
    split_column: str | None = None
    weight_column: str | None = None  # of the weights in the training loss

    def __post_init__(self) -> None:
        if self.root is None and self.table != MISSING:
            self.root = str(PurePath(self.table).parent)


@dataclass
class FilenameLabelsData(FileData):
    """Images in train/images and valid/images."""

    name: str = field("filename_labels", choices=("filename_labels",))
    # texts, or lists of them, in the file names of each class; if one is null, the other names are of that class
    negative_mark: Any = field("noncrack", texts=True)
    positive_mark: Any = field(None, texts=True)
    masks: str | None = field("masks", path=True)  # folder of masks beside each folder of images

    def __post_init__(self) -> None:
        self.negative_mark, self.positive_mark = _as_texts(self.negative_mark), _as_texts(self.positive_mark)


@dataclass
class TiledData(FileData):
    """Photographs that are cut into tiles when they are decoded; their group is the photograph by default."""

    tile: int = field(224, ge=8)  # side of a tile in pixels of the photograph
    stride: int | None = field(None, ge=1)  # pixels between tiles; null: the tile, so that tiles do not overlap
    scale: float | None = field(None, gt=0)  # pixels per mm of a tile before it is resized; null: as photographed
    unannotated: str = field("error", choices=("error", "skip", "clean"))  # for photographs without an annotation
    negatives_per_positive: float | None = field(3.0, gt=0)  # null: all tiles without a crack
    hard_negatives: str | None = None  # a run: half of the training negatives are those it finds most like a crack

    @property
    def step(self) -> int:
        """The stride in pixels of a tile."""
        return self.stride or self.tile


@dataclass
class MasksData(TiledData):
    name: str = field("masks", choices=("masks",))
    masks: str | None = field(None, path=True)  # folder of the masks; null: found beside the photographs
    mask_suffix: str | None = None  # of file names, such as _mask; null: the usual ones
    mask_value: str = "white"  # which values of a mask are crack, see `crackdet.data.masks.MaskRule`
    min_crack_share: float = field(0.005, ge=0, le=1)  # share of crack pixels from which a tile shows a crack


@dataclass
class BoxesData(TiledData):
    name: str = field("boxes", choices=("boxes",))
    annotations: str | None = field(None, path=True)  # file or folder of the annotations; null: found in root
    crack_names: list[str] = field(["crack", "cracks", "cracked", "positive"], min_length=1)  # classes of boxes
    min_box_cover: float = field(0.5, ge=0, le=1)  # share of the tile in boxes, or of a box in the tile: a crack


def _as_texts(value: Any) -> Any:
    """Return a setting with the constraint `texts` as OmegaConf converts texts; a list of one text as that text."""
    if isinstance(value, list):
        texts = [str(item) if isinstance(item, bool | int | float) else item for item in value]
        return texts[0] if len(texts) == 1 and isinstance(texts[0], str) else texts
    return str(value) if isinstance(value, bool | int | float) else value
