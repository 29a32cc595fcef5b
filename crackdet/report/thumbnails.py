"""Thumbnails of validation images, from the files that a run was evaluated on."""

import base64
import io
import os
from functools import cached_property
from pathlib import Path

from PIL import Image

from crackdet.config.parsing import parse_group
from crackdet.config.schema import Data
from crackdet.core.errors import UserError
from crackdet.core.files import expand_home
from crackdet.data.decode import BadImage
from crackdet.data.records import ImageRecord
from crackdet.data.sources.base import CHANGED, Source
from crackdet.data.sources.factory import open_source
from crackdet.store.run import Run

SIDE = 256  # pixels
QUALITY = 60  # of WebP: about 8 KB a thumbnail


class NoThumbnail(Exception):
    """An image that cannot be shown; the message says why."""


class Thumbnails:
    """Thumbnails of a run's images, resized to a square as for the network."""

    def __init__(self, run: Run) -> None:
        self._config = run.snapshot().config
        self._uris: dict[tuple[str, str], str] = {}

    def uri(self, name: str, digest: str) -> str:
        """Return the thumbnail of an image as a `data:` URI.

        Raises:
            NoThumbnail: If the file is missing, or is not the one the run was evaluated on.
        """
        if (name, digest) not in self._uris:
            self._uris[name, digest] = self._encode(ImageRecord(name, False, digest))
        return self._uris[name, digest]

    @cached_property
    def _source(self) -> Source:
        cache = expand_home(str(self._config.get("runtime", {}).get("cache", ".")))
        try:
            data: Data = parse_group("data", self._config.get("data"))
            return open_source(data, cache)
        except UserError as error:
            raise NoThumbnail(str(error)) from None

    def _encode(self, record: ImageRecord) -> str:
        root = getattr(self._source, "root", None)
        if root is not None:
            _check_name(root, record.name)
        try:
            pixels = self._source.read(record, SIDE)
        except (BadImage, ValueError) as error:
            if str(error) == CHANGED:
                raise NoThumbnail(f"{record.name} has changed since the run was evaluated on it") from None
            raise NoThumbnail(f"{record.name} cannot be read ({error})") from None
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "WEBP", quality=QUALITY)
        return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()


def _check_name(root: Path, name: str) -> None:
    """Check that the file is inside the folder; the source checks that its content has not changed."""
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise NoThumbnail(f"{name} is not in {root}")
    if not os.path.isfile(root / name):  # noqa: PTH113  # False for a null character
        raise NoThumbnail(f"{name} is no longer in {root}")
