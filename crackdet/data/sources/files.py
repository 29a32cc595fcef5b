"""What the sources of image files share: a root folder, its images, their digests and masks."""

import hashlib
import io
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crackdet.core.errors import UserError
from crackdet.data.bit_depth import DEEP_MARK
from crackdet.data.decode import IMAGE_EXTENSIONS, BadImage, decode, decode_mask
from crackdet.data.digests import file_digests, is_unreadable
from crackdet.data.records import ImageRecord


class FileSource:
    """Image files below a root folder."""

    def __init__(self, root: str, cache_dir: Path, white_level: float | None = None) -> None:
        self.root = Path(root).expanduser()
        self.name = str(self.root)
        self.cache_dir = cache_dir
        self.white_level = white_level
        if not self.root.is_dir():
            raise UserError(f"data.root={root}: there is no such folder")

    def list_names(self, folder: Path) -> list[str]:
        """Return the names, relative to the root, of all images in a folder and its subfolders."""

        def on_error(error: OSError) -> None:
            if not isinstance(error, PermissionError):  # a folder without read permission is skipped
                raise UserError(f"data.root={self.root}: {error.filename} cannot be read ({error.strerror})")

        found: list[str] = []
        for path, names in walk_images(folder, on_error):
            relative = Path(path).relative_to(self.root).as_posix()
            prefix = "" if relative == "." else f"{relative}/"
            found += [prefix + name for name in names]
        return sorted(found)

    def add_digests(self, records: Sequence[ImageRecord]) -> list[ImageRecord]:
        prefix = (self.root.absolute() / "_").as_posix()[:-1]  # strings: a Path per image is slow
        digests = file_digests([prefix + record.name for record in records], self.cache_dir)
        level = "" if self.white_level is None else f"{self.white_level:g}"  # part of what the pixels depend on
        found = {name: digest + level if digest.endswith(DEEP_MARK) else digest for name, digest in digests.items()}
        return [record._replace(digest=found[prefix + record.name]) for record in records]

    def read(self, record: ImageRecord, image_size: int) -> NDArray[np.uint8]:
        try:
            content = (self.root / record.name).read_bytes()
        except OSError as error:
            raise BadImage(error.strerror or str(error)) from None
        if is_unreadable(record.digest):  # the digest does not identify the content
            raise BadImage("could not be opened when the images were listed; run the command again")
        if hashlib.sha256(content).hexdigest() != record.digest.partition(DEEP_MARK)[0]:
            raise BadImage("has changed since the images were listed; run the command again")
        return decode(io.BytesIO(content), image_size, self.white_level)

    def read_mask(self, path: Path, record: ImageRecord, image_size: int) -> NDArray[np.bool_] | None:
        """Return the mask at `path`, with the extension of any image format; None if there is no such file."""
        file = next((f for extension in IMAGE_EXTENSIONS if (f := path.with_suffix(extension)).is_file()), None)
        if file is None:
            return None
        try:
            return decode_mask(file, image_size, self.root / record.name)
        except BadImage as error:
            raise UserError(f"{file}: cannot be used as a mask ({error})") from None


def subfolders(folder: Path) -> list[Path]:
    """Return the visible folders directly in a folder, sorted."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def walk_images(folder: Path, on_error: Callable[[OSError], None]) -> Iterator[tuple[str, list[str]]]:
    """Yield the path of a folder and of each subfolder, with the names of the images in it.

    Links are followed, but each real folder is visited once. Hidden files and folders are skipped: programs make them.
    """
    visited: set[str] = set()
    pending = deque([str(folder)])
    while pending:
        for path, folders, names in os.walk(pending.popleft(), onerror=on_error):  # does not follow links itself
            if (real_path := os.path.realpath(path)) in visited:
                folders.clear()
                continue
            visited.add(real_path)
            folders[:] = [name for name in sorted(folders) if name[0] != "."]
            pending += [link for name in folders if os.path.islink(link := f"{path}/{name}")]  # noqa: PTH114  # strings
            yield path, [name for name in names if is_image(name)]


def is_image(name: str) -> bool:
    """Return whether a file name has the extension of an image and is not hidden."""
    stem, dot, extension = name.rpartition(".")
    return bool(stem) and stem[0] != "." and f"{dot}{extension}".lower() in IMAGE_EXTENSIONS
