"""The parts of the page that `crackdet check-data` writes."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field

from PIL import Image

from crackdet.data.decode import BadImage
from crackdet.doctor.photographs import Photograph

SIDE = 224  # pixels of a thumbnail
QUALITY = 60  # of WebP

Cell = str | int | float


@dataclass(frozen=True)
class PageTable:
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Picture:
    """One image, or two side by side, with lines of text; the first line is bold."""

    uris: Sequence[str]
    alts: Sequence[str]
    lines: Sequence[str]


@dataclass(frozen=True)
class Section:
    id: str
    title: str
    paragraphs: Sequence[str] = ()
    notes: Sequence[str] = ()
    tables: Sequence[PageTable] = ()
    pictures: Sequence[Picture] = field(default_factory=list)
    command: str | None = None


def encode(image: Image.Image) -> str:
    """Return an image as a `data:` URI."""
    file = io.BytesIO()
    image.save(file, "WEBP", quality=QUALITY)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()


def thumbnail(photograph: Photograph) -> str:
    """Return a reduced photograph as a `data:` URI; a blank one if the photograph can no longer be read."""
    try:
        return encode(photograph.read_rgb(SIDE))
    except BadImage:
        return encode(Image.new("RGB", (SIDE, SIDE), "grey"))
