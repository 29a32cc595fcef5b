"""Write the results of an inspection as one self-contained HTML page."""

import base64
import io
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from crackdet.core.files import write_text

QUALITY = 82


@dataclass(frozen=True)
class Tile:
    """An image with a caption."""

    image: Image.Image
    caption: str
    command: str = ""  # draws this tile alone

    @property
    def source(self) -> str:
        """The image as a data URI."""
        buffer = io.BytesIO()
        self.image.save(buffer, "WEBP", quality=QUALITY)
        return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


@dataclass(frozen=True)
class StageReport:
    """One stage over all images."""

    name: str
    channels: int
    cells: str  # "48x48"
    dead: list[int]
    best: str  # best score
    median: str


@dataclass(frozen=True)
class ImageReport:
    """One image: its prediction, its saliency, and the best maps of each stage."""

    name: str
    prediction: str
    saliency: list[Tile]
    maps: dict[str, list[Tile]] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    run: str
    settings: str
    basis: str
    notes: list[str]
    stages: list[StageReport]
    images: list[ImageReport]


def write_page(path: Path, report: Report) -> None:
    """Write a report as HTML."""
    environment = Environment(
        loader=PackageLoader("crackdet.inspection", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    write_text(path, environment.get_template("page.html").render(report=report))
