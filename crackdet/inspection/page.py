"""What was found, as one page that needs no other file."""

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
    """A picture with the words under it."""

    image: Image.Image
    caption: str
    command: str = ""  # what draws it alone

    @property
    def source(self) -> str:
        """As a data URI."""
        buffer = io.BytesIO()
        self.image.save(buffer, "WEBP", quality=QUALITY)
        return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


@dataclass(frozen=True)
class StageReport:
    """One stage, over all photographs."""

    name: str
    channels: int
    cells: str  # "48x48"
    dead: list[int]
    best: str  # score of the best map
    median: str


@dataclass(frozen=True)
class PictureReport:
    """One photograph: where the network looks, and the maps of each stage."""

    name: str
    verdict: str
    saliency: list[Tile]
    maps: dict[str, list[Tile]] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    run: str
    settings: str
    basis: str
    notes: list[str]
    stages: list[StageReport]
    pictures: list[PictureReport]


def write_page(path: Path, report: Report) -> None:
    """Writes the page of a report."""
    environment = Environment(
        loader=PackageLoader("crackdet.inspection", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    write_text(path, environment.get_template("page.html").render(report=report))
