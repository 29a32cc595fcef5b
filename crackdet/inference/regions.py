"""Where a map of probabilities lies above a threshold: connected regions, as boxes, as COCO."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from crackdet.inference.scanning import Heatmap


@dataclass(frozen=True)
class Region:
    """Cells of a map that touch, at least at a corner."""

    left: int  # pixels of the photograph; right and bottom are the first ones outside
    top: int
    right: int
    bottom: int
    area: int  # pixels of the photograph in the cells
    score: float  # the highest probability in it


def find_regions(heat: Heatmap, threshold: float) -> list[Region]:
    """The regions above the threshold, the surest first."""
    from scipy import ndimage

    labels, _ = ndimage.label(heat.probability > threshold, structure=np.ones((3, 3)))
    cell_areas = np.outer(np.diff(heat.y_edges), np.diff(heat.x_edges))
    found = []
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), 1):
        inside = labels[rows, columns] == number
        found.append(
            Region(
                int(heat.x_edges[columns.start]),
                int(heat.y_edges[rows.start]),
                int(heat.x_edges[columns.stop]),
                int(heat.y_edges[rows.stop]),
                int(cell_areas[rows, columns][inside].sum()),
                float(heat.probability[rows, columns][inside].max()),
            )
        )
    return sorted(found, key=lambda region: (-region.score, region.top, region.left))


def to_coco(
    regions: Sequence[Region], file_name: str, width: int, height: int, info: Mapping[str, Any]
) -> dict[str, Any]:
    """Boxes in COCO's detection format (https://cocodataset.org/#format-data), with a `score` as its results have."""
    return {
        "info": dict(info),
        "images": [{"id": 1, "file_name": file_name, "width": width, "height": height}],
        "categories": [{"id": 1, "name": "crack", "supercategory": "crack"}],
        "annotations": [
            {
                "id": number,
                "image_id": 1,
                "category_id": 1,
                "bbox": [region.left, region.top, region.right - region.left, region.bottom - region.top],
                "area": region.area,
                "iscrowd": 0,
                "score": region.score,
            }
            for number, region in enumerate(regions, 1)
        ],
    }
