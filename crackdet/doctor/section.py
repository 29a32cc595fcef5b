"""The parts of the page that `crackdet check-data` writes."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from crackdet.core.templates import image_uri
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
    pictures: Sequence[Picture] = ()
    command: str | None = None


def thumbnail(photograph: Photograph) -> str:
    """Return a reduced photograph as a `data:` URI; a blank one if the photograph can no longer be read."""
    try:
        return image_uri(photograph.read_rgb(SIDE), QUALITY)
    except BadImage:
        return blank()


def blank() -> str:
    """Return the thumbnail of an image that can no longer be read."""
    return image_uri(Image.new("RGB", (SIDE, SIDE), "grey"), QUALITY)
