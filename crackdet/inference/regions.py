"""Find connected regions above a threshold in a heatmap, and convert them to COCO boxes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from crackdet.inference.scanning import Heatmap


@dataclass(frozen=True)
class Region:
    """Heatmap cells that touch, at least at a corner; all lengths in pixels of the photograph."""

    left: int
    top: int
    right: int  # exclusive, as is bottom
    bottom: int
    area: int  # of the region's cells
    score: float  # highest probability


def find_regions(heatmap: Heatmap, threshold: float) -> list[Region]:
    """Return the regions above the threshold, highest score first."""
    from scipy import ndimage

    labels, _ = ndimage.label(heatmap.probability > threshold, structure=np.ones((3, 3)))
    cell_areas = np.outer(np.diff(heatmap.y_edges), np.diff(heatmap.x_edges))
    regions = []
    for label, (rows, columns) in enumerate(ndimage.find_objects(labels), 1):
        inside = labels[rows, columns] == label
        regions.append(
            Region(
                int(heatmap.x_edges[columns.start]),
                int(heatmap.y_edges[rows.start]),
                int(heatmap.x_edges[columns.stop]),
                int(heatmap.y_edges[rows.stop]),
                int(cell_areas[rows, columns][inside].sum()),
                float(heatmap.probability[rows, columns][inside].max()),
            )
        )
    return sorted(regions, key=lambda region: (-region.score, region.top, region.left))


def to_coco(
    regions: Sequence[Region], file_name: str, width: int, height: int, info: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the regions in COCO's detection format (https://cocodataset.org/#format-data), with a `score` each."""
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
