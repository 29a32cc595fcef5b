"""Thumbnails of validation images, from the photographs that a run was judged on."""

import base64
import io
from functools import cached_property
from pathlib import Path

from PIL import Image

from crackdet.config.parsing import parse_data
from crackdet.config.schema import Data
from crackdet.core.errors import UserError
from crackdet.core.files import file_digest
from crackdet.data.decode import BadImage
from crackdet.data.sources import ImageRecord, Source, open_source
from crackdet.store.run import Run

SIDE = 144  # pixels
QUALITY = 60  # of WebP: some 3 KB a thumbnail


class NoThumbnail(Exception):
    """A photograph that cannot be shown; the message says why."""


class Thumbnails:
    """The photographs of a run's data, small; squashed to a square, as the network sees them."""

    def __init__(self, run: Run) -> None:
        self._config = run.snapshot().config
        self._made: dict[tuple[str, str], str] = {}

    def uri(self, name: str, digest: str) -> str:
        """The photograph as a `data:` address.

        Raises:
            NoThumbnail: where it is not there any more, or is another than the run was judged on.
        """
        if (name, digest) not in self._made:
            self._made[name, digest] = self._draw(ImageRecord(name, False, digest))
        return self._made[name, digest]

    @cached_property
    def _source(self) -> Source:
        try:
            return open_source(self._data, Path(str(self._config.get("runtime", {}).get("cache", "."))).expanduser())
        except UserError as error:
            raise NoThumbnail(str(error)) from None

    @cached_property
    def _data(self) -> Data:
        try:
            return parse_data(self._config.get("data"))
        except UserError as error:
            raise NoThumbnail(str(error)) from None

    def _draw(self, photograph: ImageRecord) -> str:
        root = getattr(self._source, "root", None)
        if root is not None:
            _check(root, photograph)
        try:
            pixels = self._source.read(photograph, SIDE)
        except (BadImage, ValueError) as error:
            raise NoThumbnail(f"{photograph.name} cannot be read ({error})") from None
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "WEBP", quality=QUALITY)
        return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()


def _check(root: Path, photograph: ImageRecord) -> None:
    """That the file is inside the folder, and what the run was judged on."""
    path = root / photograph.name
    if Path(photograph.name).is_absolute() or ".." in Path(photograph.name).parts:
        raise NoThumbnail(f"{photograph.name} is not in {root}")
    try:
        same = file_digest(path) == photograph.digest
    except OSError:
        raise NoThumbnail(f"{photograph.name} is gone from {root}") from None
    if not same:
        raise NoThumbnail(f"{photograph.name} is not the file any more that the run was judged on")
