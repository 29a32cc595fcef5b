"""The photographs of a data set as the checks see them: each file once, also if its images are tiles."""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from crackdet.core.reading import open_regular
from crackdet.data.dataset import ImageDataset
from crackdet.data.decode import BadImage, open_image, open_rgb
from crackdet.data.tiles import parse_digest, parse_name

JPEG_START = b"\xff\xd8"


@dataclass(frozen=True)
class Photograph:
    """A file, or a synthetic image, with what its images have in common."""

    name: str  # path relative to the root, or a generated name
    digest: str
    split: str
    group: str | None
    crack: bool | None  # whether any of its images shows a crack
    file: Path | None
    white_level: float | None = None  # `data.white_level`
    render: Callable[[int], NDArray[np.uint8]] | None = None  # returns the image at a size, if there is no file

    @property
    def label(self) -> str:
        """The class in words; empty if it is unknown."""
        return "" if self.crack is None else "crack" if self.crack else "no crack"

    def read_rgb(self, max_side: int) -> Image.Image:
        """Return the upright photograph as RGB, reduced so that its longer side has at most `max_side` pixels.

        Raises:
            BadImage: If it cannot be read.
        """
        if self.file is None:
            assert self.render is not None, "a photograph has a file, or is rendered"
            return Image.fromarray(self.render(max_side))
        try:
            with open_regular(self.file, follow_links=True) as opened:
                content = opened.read()
        except OSError as error:
            raise BadImage(error.strerror or str(error)) from None
        if content.startswith(JPEG_START):
            with open_image(io.BytesIO(content)) as image:
                image.draft("RGB", (max_side, max_side))  # decoded at half its size or less, if that is enough
                rgb = open_rgb(image, self.white_level)
        else:
            rgb = open_rgb(io.BytesIO(content), self.white_level)
        rgb.thumbnail((max_side, max_side), Image.Resampling.BOX)
        return rgb

    def read_grey(self, max_side: int) -> NDArray[np.uint8]:
        """Return the photograph as grey values (height, width); see `read_rgb`."""
        return np.asarray(self.read_rgb(max_side).convert("L"))


def photographs_of(splits: Mapping[str, ImageDataset]) -> list[Photograph]:
    """Return the photographs of all splits in the order of their names; tiles give their photograph once."""
    found: dict[str, Photograph] = {}
    for split, dataset in splits.items():
        source = dataset.pixels.source
        for record in dataset.records:
            name, box = parse_name(record.name)
            if name not in found:
                digest, group, file = parse_digest(record.digest)[0], record.group or None, source.file(record.name)
                white_level = getattr(source, "white_level", None)
                render = partial(source.read, record) if file is None else None
                found[name] = Photograph(name, digest, split, group, record.crack, file, white_level, render)
            elif box is not None and record.crack and not found[name].crack:
                found[name] = replace(found[name], crack=True)
    return sorted(found.values(), key=lambda photograph: photograph.name)
