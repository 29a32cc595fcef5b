"""What the sources of image files share: a root folder, its images, their digests and masks."""

import hashlib
import io
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crackdet.config.file_data import FileData
from crackdet.core.errors import UserError
from crackdet.core.files import expand_home
from crackdet.core.reading import open_regular
from crackdet.data.bit_depth import DEEP_MARK
from crackdet.data.decode import IMAGE_EXTENSIONS, BadImage, decode
from crackdet.data.digests import file_digests, is_unreadable
from crackdet.data.masks import decode_mask
from crackdet.data.records import ImageRecord
from crackdet.data.sources.base import CHANGED, read_each
from crackdet.data.sources.groups import assign_groups, column_of
from crackdet.data.sources.names import SYSTEM_NAMES, extension, is_hidden, is_image

MAX_KINDS = 12  # of files that were left out, named in a message
LeftOut = Counter[str]  # how many files and folders of each kind were left out


class FileSource:
    """Image files below a root folder."""

    def __init__(self, settings: FileData, cache_dir: Path) -> None:
        root = settings.root
        self.root = expand_home(root)
        self.name = str(self.root)
        self.cache_dir = cache_dir
        self.white_level = settings.white_level
        self._groups = settings.groups, settings.manifest
        self.left_out = LeftOut()  # of the last listing
        self.doubts: list[str] = []  # likewise
        if not self.root.is_dir():
            where = "" if self.root.is_absolute() else f"; relative paths start at the current folder, {Path.cwd()}"
            raise UserError(f"data.root={root}: there is no such folder{where}")

    @property
    def warnings(self) -> Sequence[str]:
        return [*self.doubts, *([f"{self.root}: left out {_describe(self.left_out)}"] if self.left_out else [])]

    @property
    def dependencies(self) -> Sequence[Path]:
        groups, manifest = self._groups
        return [self.root, *([self.root / expand_home(manifest)] if column_of(groups) is not None else [])]

    def list_names(self, folder: Path, relative_to: Path | None = None) -> list[str]:
        """Return the names, relative to the root or another folder, of all images in a folder and its subfolders.

        Raises:
            UserError: If the folder cannot be read, or there is none.
        """
        left_out = LeftOut()

        def on_error(error: OSError) -> None:
            if not isinstance(error, PermissionError):
                raise UserError(f"data.root={self.root}: {error.filename} cannot be read ({error.strerror})")
            left_out[f"folder without read permission: {error.filename}"] += 1

        found: list[str] = []
        for path, names in walk_images(folder, on_error, left_out):
            relative = Path(path).relative_to(relative_to or self.root).as_posix()
            prefix = "" if relative == "." else f"{relative}/"
            found += [prefix + name for name in names]
        if not found:
            others = f"; it holds {_describe(left_out)}" if left_out else ""
            raise UserError(f"data.root={self.root}: {folder} holds no image ({', '.join(IMAGE_EXTENSIONS)}){others}")
        self.left_out += left_out
        return sorted(found)

    def add_digests(self, records: Sequence[ImageRecord]) -> list[ImageRecord]:
        digests = self.find_digests([record.name for record in records])
        return [record._replace(digest=digest) for record, digest in zip(records, digests, strict=True)]

    def find_groups(self, names: Sequence[str], is_known_folder: Callable[[str], bool]) -> list[str | None]:
        """Return the group of each image by `data.groups`, and keep warnings; see `groups.assign_groups`."""
        groups, manifest = self._groups
        found, warnings = assign_groups(
            groups, manifest, self.root, self.cache_dir, names, lambda: self.find_digests(names), is_known_folder
        )
        self.doubts += warnings
        return [found[name] for name in names]

    def find_digests(self, names: Sequence[str]) -> list[str]:
        """Return the digest of each file."""
        paths = self._absolute(names)
        digests = file_digests(paths, self.root.absolute(), self.cache_dir)
        level = "" if self.white_level is None else f"{self.white_level:g}"  # part of what the pixels depend on
        return [digests[path] + (level if digests[path].endswith(DEEP_MARK) else "") for path in paths]

    def reread(self, records: Sequence[ImageRecord]) -> None:
        file_digests(
            self._absolute([record.name for record in records]), self.root.absolute(), self.cache_dir, reread=True
        )

    def file(self, name: str) -> Path:
        return self.root / name

    def read(self, record: ImageRecord, image_size: int) -> NDArray[np.uint8]:
        return decode(io.BytesIO(self.read_content(record.name, record.digest)), image_size, self.white_level)

    def read_many(self, records: Sequence[ImageRecord], image_size: int) -> Iterator[NDArray[np.uint8] | BadImage]:
        return read_each(self.read, records, image_size)

    def read_content(self, name: str, digest: str) -> bytes:
        """Return the content of a file with this digest.

        Raises:
            BadImage: If it cannot be read, or has another digest.
        """
        try:
            with open_regular(self.root / name, follow_links=True) as file:
                content = file.read()
        except OSError as error:
            raise BadImage(error.strerror or str(error)) from None
        if is_unreadable(digest):  # the digest does not identify the content
            raise BadImage("could not be opened when the images were listed; run the command again")
        if hashlib.sha256(content).hexdigest() != digest.partition(DEEP_MARK)[0]:
            raise BadImage(CHANGED)
        return content

    def read_mask(self, path: Path, record: ImageRecord, image_size: int) -> NDArray[np.bool_] | None:
        """Return the mask at `path`, with the extension of any image format; None if there is no such file."""
        file = next((f for extension in IMAGE_EXTENSIONS if (f := path.with_suffix(extension)).is_file()), None)
        if file is None:
            return None
        try:
            return decode_mask(file, image_size, self.root / record.name)
        except BadImage as error:
            raise UserError(f"{file}: cannot be used as a mask ({error})") from None

    def _absolute(self, names: Sequence[str]) -> list[str]:
        prefix = (self.root.absolute() / "_").as_posix()[:-1]  # strings: a Path per image is slow
        return [name if name.startswith("/") else prefix + name for name in names]


def subfolders(folder: Path) -> list[Path]:
    """Return the folders directly in a folder, sorted, without hidden ones.

    Raises:
        UserError: If the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:  # knows which entries are folders without a system call for each
            return sorted(folder / entry.name for entry in entries if not is_hidden(entry.name) and entry.is_dir())
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror})") from None


def system_folders(folder: Path) -> list[str]:
    """Return the names of folders directly in a folder that an operating system or a network storage has made."""
    return [path.name for path in folder.iterdir() if path.name.lower() in SYSTEM_NAMES and path.is_dir()]


def walk_images(
    folder: Path, on_error: Callable[[OSError], None], left_out: LeftOut | None = None
) -> Iterator[tuple[str, list[str]]]:
    """Yield the path of a folder and of each subfolder, with the names of the images in it.

    Links are followed, except links to a parent folder, and each real folder is visited once. Hidden files and folders
    are skipped, because programs make them. All other files that are not images are counted in `left_out`.
    """
    left_out = LeftOut() if left_out is None else left_out
    visited: set[str] = set()
    pending = deque([str(folder)])
    start = os.path.realpath(folder)
    while pending:
        for path, folders, names in os.walk(pending.popleft(), onerror=on_error):  # does not follow links itself
            real_path = os.path.realpath(path)
            is_above = f"{start}/".startswith(f"{real_path}/") and bool(visited)
            if is_above:
                left_out["link to a parent folder"] += 1
            if is_above or real_path in visited:
                folders.clear()
                continue
            visited.add(real_path)
            left_out.update(f"folder {name}" for name in folders if is_hidden(name))
            folders[:] = [name for name in sorted(folders) if not is_hidden(name)]
            pending += [link for name in folders if os.path.islink(link := f"{path}/{name}")]  # noqa: PTH114  # strings
            images = [name for name in names if is_image(name)]
            left_out.update(kind for name in names if (kind := _kind(name)))
            if is_image(path.rpartition("/")[2]) and not images:
                left_out["folder named like an image"] += 1
            yield path, images


def image_folders(folder: Path) -> list[Path]:
    """Return the folder and those of its subfolders that directly hold images, sorted."""
    return sorted(Path(path) for path, names in walk_images(folder, lambda error: None) if names)


def has_images(folder: Path) -> bool:
    """Return whether a folder directly holds images."""
    return any(is_image(entry.name) for entry in folder.iterdir())


def _kind(name: str) -> str:
    """Return what is counted for a file that is left out; nothing for an image, and for a file that no user makes."""
    if is_image(name):
        return ""
    if is_hidden(name):
        return "hidden image" if is_image(name.lstrip(".")) and not name.startswith("._") else ""
    return extension(name) or "file without extension"


def _describe(left_out: LeftOut) -> str:
    """Return for example `12 .cr2, 3 .txt, 1 folder @eaDir`."""
    kinds = [f"{number} {kind}" for kind, number in left_out.most_common(MAX_KINDS)]
    return ", ".join(kinds) + (f" and {len(left_out) - MAX_KINDS} more kinds" if len(left_out) > MAX_KINDS else "")
