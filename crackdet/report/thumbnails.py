"""Thumbnails of validation images, from the files that a run was evaluated on."""

import os
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from crackdet.config.parsing import parse_group
from crackdet.config.schema import Data
from crackdet.core.errors import UserError
from crackdet.core.files import expand_home
from crackdet.core.templates import image_uri
from crackdet.data.decode import BadImage
from crackdet.data.records import ImageRecord
from crackdet.data.sources.base import CHANGED, Source
from crackdet.data.sources.factory import open_source
from crackdet.data.tile_context import read_context
from crackdet.data.tiles import parse_name
from crackdet.store.run import Run

SIDE = 256  # pixels
QUALITY = 60  # of WebP: about 8 KB a thumbnail


class NoThumbnail(Exception):
    """An image that cannot be shown; the message says why."""


class Thumbnail(NamedTuple):
    """An image, and where it is if it is a tile of a photograph, as `data:` URIs."""

    uri: str
    context: str | None = None


class Thumbnails:
    """Thumbnails of a run's images, resized to a square as for the network."""

    def __init__(self, run: Run) -> None:
        self._config = run.snapshot().config
        self._found: dict[tuple[str, str], Thumbnail] = {}

    def get(self, name: str, digest: str) -> Thumbnail:
        """Return the thumbnail of an image.

        Raises:
            NoThumbnail: If the file is missing, or is not the one the run was evaluated on.
        """
        if (name, digest) not in self._found:
            self._found[name, digest] = self._read(ImageRecord(name, False, digest))
        return self._found[name, digest]

    @cached_property
    def _source(self) -> Source:
        cache = expand_home(str(self._config.get("runtime", {}).get("cache", ".")))
        try:
            data: Data = parse_group("data", self._config.get("data"))
            return open_source(data, cache)
        except UserError as error:
            raise NoThumbnail(str(error)) from None

    def _read(self, record: ImageRecord) -> Thumbnail:
        root = getattr(self._source, "root", None)
        if root is not None:
            _check_name(root, parse_name(record.name)[0])
        try:
            return read_thumbnail(self._source, record, SIDE, QUALITY)
        except (BadImage, ValueError) as error:
            if str(error) == CHANGED:
                raise NoThumbnail(f"{record.name} has changed since the run was evaluated on it") from None
            raise NoThumbnail(f"{record.name} cannot be read ({error})") from None


def read_thumbnail(source: Source, record: ImageRecord, side: int, quality: int) -> Thumbnail:
    """Return the thumbnail of an image of a source.

    Raises:
        BadImage: If it cannot be read.
    """
    context = read_context(source, record, side)
    return Thumbnail(
        image_uri(Image.fromarray(source.read(record, side)), quality),
        None if context is None else image_uri(context, quality),
    )


def _check_name(root: Path, name: str) -> None:
    """Check that the file is inside the folder; the source checks that its content has not changed."""
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise NoThumbnail(f"{name} is not in {root}")
    if not os.path.isfile(root / name):  # noqa: PTH113  # False for a null character
        raise NoThumbnail(f"{name} is no longer in {root}")
