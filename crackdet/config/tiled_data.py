"""The settings of photographs with masks or boxes, whose images are tiles."""

from dataclasses import dataclass

from crackdet.config.fields import field
from crackdet.config.schema import FileData


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
