"""A picture of a tile within its photograph."""

from PIL import Image, ImageDraw

from crackdet.data.records import ImageRecord
from crackdet.data.sources.base import Source
from crackdet.data.sources.tiled import TiledSource
from crackdet.data.tiles import Box, parse_name

OUTLINE, HALO = (255, 120, 0), (0, 0, 0)
WIDTH = 3  # pixels of the outline


def read_context(source: Source, record: ImageRecord, max_side: int) -> Image.Image | None:
    """Return the reduced photograph of a tile with its outline; None if the image is no tile.

    Raises:
        BadImage: If the photograph cannot be read.
    """
    box = parse_name(record.name)[1]
    if box is None or not isinstance(source, TiledSource):
        return None
    return draw_context(source.open_photograph(record), box, max_side)


def draw_context(photograph: Image.Image, box: Box, max_side: int) -> Image.Image:
    """Return a reduced photograph with the outline of a tile.

    Args:
        photograph: The upright RGB photograph.
        box: The tile in pixels of the photograph.
        max_side: The longer side of the result in pixels.
    """
    scale = max_side / max(photograph.size)
    size = max(1, round(photograph.width * scale)), max(1, round(photograph.height * scale))
    picture = photograph.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    left, top, right, bottom = (value * scale for value in box.corners)
    draw = ImageDraw.Draw(picture)
    corners = (left, top, max(left, right - 1), max(top, bottom - 1))
    draw.rectangle(corners, outline=HALO, width=WIDTH + 2)
    draw.rectangle(corners, outline=OUTLINE, width=WIDTH)
    return picture
