"""Where photographs come from: a source lists them with their labels, and reads one of them.

Listing is cheap (names, labels, digests) and needs neither torch nor a decoded pixel: it is all that a
run's identity asks for.
"""

import csv
import hashlib
import io
import json
import os
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from crackdet.config.schema import Data, FilenameLabelsData, FolderData, SyntheticData
from crackdet.core.errors import UserError
from crackdet.data import synthetic
from crackdet.data.decode import EXTENSIONS, BadImage, decode, decode_mask
from crackdet.data.digests import file_digests, is_unreadable

SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "test": "test",
    "testing": "test",
}


class ImageRecord(NamedTuple):
    """One image of a source, of which there are many. Those with the same digest have the same pixels."""

    name: str  # path relative to the root, or what stands for it
    crack: bool
    digest: str
    split: str | None = None  # where the source itself says it
    group: str | None = None  # images of one group stay in one split

    @property
    def order(self) -> tuple[str, str, bool, str]:
        """Canonical order: no file name in it, so that renaming or moving files changes nothing."""
        return (self.split or "", self.group or "", self.crack, self.digest)


class Source(Protocol):
    """Photographs with labels."""

    @property
    def name(self) -> str:
        """What it is, in a word or a path."""

    @property
    def left_out(self) -> Sequence[str]:
        """Places whose images `photographs` has passed over."""

    def photographs(self) -> list[ImageRecord]:
        """All of them, in canonical order.

        Raises:
            UserError: where there are none, or not of both classes.
        """

    def read(self, photograph: ImageRecord, image_size: int) -> NDArray[np.uint8]:
        """The pixels, (image_size, image_size, 3) RGB.

        Raises:
            BadImage: where they cannot be read.
        """

    def mask(self, photograph: ImageRecord, image_size: int) -> NDArray[np.bool_] | None:
        """Where its crack is, (image_size, image_size); None where the source does not know.

        Raises:
            UserError: where there should be a mask that can be read.
        """


def open_source(data: Data, cache: Path) -> Source:
    """The source that a configuration names; `cache` is where digests of files are remembered."""
    match data:
        case SyntheticData():
            return SyntheticSource(data)
        case FolderData():
            return FolderSource(data, cache)
        case FilenameLabelsData():
            return ArticleSource(data, cache)
    raise TypeError(f"no source for {type(data).__name__}")


def fingerprint(photographs: list[ImageRecord]) -> str:
    """SHA-256 of what the photographs are, whatever they are called; the test split stays outside."""
    content = [photograph.order for photograph in photographs if photograph.split != "test"]
    return hashlib.sha256(json.dumps(sorted(content)).encode()).hexdigest()


class SyntheticSource:
    """Drawn concrete: see `crackdet.data.synthetic`."""

    name = "drawn"
    left_out = ()

    def __init__(self, data: SyntheticData) -> None:
        self.data = data

    def photographs(self) -> list[ImageRecord]:
        data = self.data
        what = (
            f"{synthetic.GENERATOR_VERSION},{data.seed},{data.crack_fraction},{data.hard_negatives},{data.difficulty}"
        )
        drawn = [
            ImageRecord(
                name=f"synthetic-{index:06d}",
                crack=synthetic.label(index, seed=data.seed, crack_fraction=data.crack_fraction),
                digest=f"synthetic:{what}:{index:06d}",
            )
            for index in range(data.num_images)
        ]
        return checked(drawn, f"data.num_images={data.num_images}, data.crack_fraction={data.crack_fraction}")

    def read(self, photograph: ImageRecord, image_size: int) -> NDArray[np.uint8]:
        return self.draw(photograph, image_size).image

    def mask(self, photograph: ImageRecord, image_size: int) -> NDArray[np.bool_]:
        return self.draw(photograph, image_size).mask

    def draw(self, photograph: ImageRecord, image_size: int) -> synthetic.Drawing:
        """The drawing with the mask of its crack."""
        return synthetic.draw(
            int(photograph.name.rpartition("-")[2]),
            seed=self.data.seed,
            image_size=image_size,
            crack_fraction=self.data.crack_fraction,
            hard_negatives=self.data.hard_negatives,
            difficulty=self.data.difficulty,
        )


class _Files:
    """What the two sources of files share: a root, its images, and their digests."""

    def __init__(self, root: str, cache: Path) -> None:
        self.root = Path(root).expanduser()
        self.name = str(self.root)
        self.cache = cache
        if not self.root.is_dir():
            raise UserError(f"data.root={root}: there is no such folder")

    def images(self, folder: Path) -> list[str]:
        """Names below the root, of all images in a folder and the folders in it; plain text, since there are many."""

        def refuse(error: OSError) -> None:
            if not isinstance(error, PermissionError):  # what nobody may see is passed over
                raise UserError(f"data.root={self.root}: {error.filename} cannot be read ({error.strerror})")

        found = []
        for place, names in images_below(folder, refuse):
            inside = Path(place).relative_to(self.root).as_posix()
            start = "" if inside == "." else f"{inside}/"
            found += [start + name for name in names]
        return sorted(found)

    def with_digests(self, found: Sequence[ImageRecord]) -> list[ImageRecord]:
        start = (self.root.absolute() / "_").as_posix()[:-1]
        digests = file_digests([start + photograph.name for photograph in found], self.cache)
        return [photograph._replace(digest=digests[start + photograph.name]) for photograph in found]

    def read(self, photograph: ImageRecord, image_size: int) -> NDArray[np.uint8]:
        try:
            content = (self.root / photograph.name).read_bytes()
        except OSError as error:
            raise BadImage(error.strerror or str(error)) from None
        if is_unreadable(photograph.digest):  # which says nothing of what is in it
            raise BadImage("could not be opened when the images were listed; give the same command again")
        if hashlib.sha256(content).hexdigest() != photograph.digest:
            raise BadImage("has been changed since the images were listed; give the same command again")
        return decode(io.BytesIO(content), image_size)

    def mask_at(self, place: Path, photograph: ImageRecord, image_size: int) -> NDArray[np.bool_] | None:
        """The photograph's mask, called `place` with the ending of any image format; None where there is none."""
        path = next((p for ending in EXTENSIONS if (p := place.with_suffix(ending)).is_file()), None)
        if path is None:
            return None
        try:
            return decode_mask(path, image_size, self.root / photograph.name)
        except BadImage as error:
            raise UserError(f"{path}: is no mask that can be used ({error})") from None


class FolderSource(_Files):
    """`root/[split/]<class>/**/image`, or `root/<class>/<split>/**/image`."""

    def __init__(self, data: FolderData, cache: Path) -> None:
        super().__init__(data.root, cache)
        self.data = data
        self.read_from: list[Path] = []  # folders of classes
        self.passed: list[Path] = []  # folders that are of none
        self.meaning = {_plain(name): False for name in data.no_crack_names}
        for name in data.crack_names:
            if _plain(name) in self.meaning:
                raise UserError(
                    f"data.crack_names, data.no_crack_names: {name} is in both; the images of a folder are of one class"
                )
            self.meaning[_plain(name)] = True

    def photographs(self) -> list[ImageRecord]:
        folders = _folders(self.root)
        splits = {path: SPLIT_FOLDERS[path.name.lower()] for path in folders if path.name.lower() in SPLIT_FOLDERS}
        self.read_from, self.passed = [], [path for path in folders if path not in splits] if splits else []
        found: list[ImageRecord] = []
        for folder, split in splits.items() if splits else {self.root: None}.items():
            found += self._read_classes(folder, split)
        if not splits:
            found = self._with_inner_splits(found)
        if self.data.groups is not None:
            groups = self._read_groups(self.data.groups)
            for photograph in found:
                if normalize("NFC", photograph.name) not in groups:
                    raise UserError(
                        f"data.manifest={self.data.manifest}: has no row for {photograph.name}; "
                        f"data.groups={self.data.groups} needs one for each image"
                    )
            found = [photograph._replace(group=groups[normalize("NFC", photograph.name)]) for photograph in found]
        return checked(self.with_digests(found), f"data.root={self.data.root}")

    def mask(self, photograph: ImageRecord, image_size: int) -> NDArray[np.bool_] | None:
        if self.data.masks is None:
            return None
        folder = self.root / Path(self.data.masks).expanduser()
        if not folder.is_dir():
            raise UserError(f"data.masks={self.data.masks}: there is no such folder in {self.root}")
        return self.mask_at(folder / photograph.name, photograph, image_size)

    def _read_classes(self, folder: Path, split: str | None) -> Iterator[ImageRecord]:
        folders = _folders(folder)
        classes = [path for path in folders if _plain(path.name) in self.meaning]
        self.read_from += classes
        self.passed += [path for path in folders if path not in classes]
        if not classes:
            if not folders:
                raise UserError(
                    f"data.root={self.data.root}: {folder} holds no folder; each class has one, such as cracked/ and "
                    "uncracked/"
                )
            raise UserError(
                f"data.root={self.data.root}: {folder} holds no folder named after a class, but "
                f"{', '.join(path.name for path in folders)}; say what they mean, as in data.crack_names=[broken] "
                "data.no_crack_names=[whole]"
            )
        for path in classes:
            images = self.images(path)
            if not images:
                raise UserError(f"data.root={self.data.root}: {path} holds no image ({', '.join(EXTENSIONS)})")
            crack = self.meaning[_plain(path.name)]
            yield from (ImageRecord(name, crack, "", split) for name in images)

    @property
    def left_out(self) -> Sequence[str]:
        parents = dict.fromkeys([self.root, *(path.parent for path in self.read_from)])
        loose = [path for path in parents if any(is_image(entry.name) for entry in path.iterdir())]
        folders = [path for path in self.passed if self._holds_photographs(path)]
        itself = [f"{path if path == self.root else path.relative_to(self.root).as_posix()} itself" for path in loose]
        return [*itself, *(path.relative_to(self.root).as_posix() for path in folders)]

    def _with_inner_splits(self, found: list[ImageRecord]) -> list[ImageRecord]:
        """The photographs with the splits that folders in the class folders say: all of them do, or none."""
        said = [SPLIT_FOLDERS.get(one.name.split("/")[1].lower()) for one in found]
        if None in said and any(said):
            with_one, without = (
                next(one.name for one, split in zip(found, said, strict=True) if bool(split) is wanted)
                for wanted in (True, False)
            )
            raise UserError(
                f"data.root={self.data.root}: {with_one} is in a folder named after a split and {without} is not; "
                "name one for every image, or for none"
            )
        return [one._replace(split=split) for one, split in zip(found, said, strict=True)]

    def _holds_photographs(self, folder: Path) -> bool:
        """Whether an image is in a folder that is no mask, nor read by another way."""
        real = folder.resolve()
        if any(path.resolve().is_relative_to(real) for path in self.read_from):
            return False
        masks = (self.root / Path(self.data.masks).expanduser()).resolve() if self.data.masks is not None else None
        return any(
            names and (masks is None or not Path(place).resolve().is_relative_to(masks))
            for place, names in images_below(folder, lambda error: None)
        )

    def _read_groups(self, column: str) -> dict[str, str]:
        path = self.root / self.data.manifest
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                reader = csv.DictReader(file)
                rows = list(reader)
                columns = list(reader.fieldnames or [])
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise UserError(f"data.manifest={self.data.manifest}: {path} cannot be read ({error})") from None
        for needed in ("path", column):
            if needed not in columns:
                raise UserError(
                    f"data.groups={column}: {path} has no column {needed}; it has {', '.join(columns) or 'none'}"
                )
        groups: dict[str, str] = {}
        for row in rows:
            name, group = normalize("NFC", row["path"] or ""), row[column]
            if group is None:
                raise UserError(f"data.groups={column}: {path} says no {column} of {name}; it has fewer fields")
            if groups.setdefault(name, group) != group:
                raise UserError(f"data.groups={column}: {path} says that {name} is of {groups[name]} and of {group}")
        return groups


class ArticleSource(_Files):
    """`root/<split>/images/image`, labelled by file name."""

    left_out = ()

    def __init__(self, data: FilenameLabelsData, cache: Path) -> None:
        super().__init__(data.root, cache)
        self.data = data

    def photographs(self) -> list[ImageRecord]:
        found: list[ImageRecord] = []
        for split in ("train", "valid", "test"):
            folder = self.root / split / "images"
            if not folder.is_dir():
                if split == "train":
                    raise UserError(f"data.root={self.data.root}: {folder} is missing; data=filename_labels needs it")
                continue
            for name in self.images(folder):
                crack = self.data.negative_mark not in name.rpartition("/")[2]
                found.append(ImageRecord(name, crack, "", split))
        return checked(self.with_digests(found), f"data.root={self.data.root}")

    def mask(self, photograph: ImageRecord, image_size: int) -> NDArray[np.bool_] | None:
        if self.data.masks is None:
            return None
        split, _images, *inside = Path(photograph.name).parts
        return self.mask_at(self.root.joinpath(split, self.data.masks, *inside), photograph, image_size)


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def images_below(folder: Path, refuse: Callable[[OSError], None]) -> Iterator[tuple[str, list[str]]]:
    """Each folder in a folder, itself too, with the names of the images in it; `refuse` hears what cannot be read.

    Links are followed, to what is not in the folder anyway. What begins with a dot is no image of the user's, but of a
    program.
    """
    seen: set[str] = set()
    left = deque([str(folder)])
    while left:
        for place, folders, names in os.walk(left.popleft(), onerror=refuse):  # which does not follow them
            if (real := os.path.realpath(place)) in seen:
                folders.clear()
                continue
            seen.add(real)
            folders[:] = [name for name in sorted(folders) if name[0] != "."]
            left += [path for name in folders if os.path.islink(path := f"{place}/{name}")]  # noqa: PTH114  # text
            yield place, [name for name in names if is_image(name)]


def is_image(name: str) -> bool:
    stem, dot, ending = name.rpartition(".")
    return bool(stem) and stem[0] != "." and f"{dot}{ending}".lower() in EXTENSIONS


def checked(photographs: list[ImageRecord], where: str) -> list[ImageRecord]:
    """The photographs in canonical order.

    Raises:
        UserError: where one of the two classes has none.
    """
    for crack, what in ((True, "with a crack"), (False, "without a crack")):
        if not any(photograph.crack is crack for photograph in photographs):
            raise UserError(f"{where}: holds no image {what}; both classes are needed")
    return sorted(photographs, key=lambda photograph: photograph.order)


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", normalize("NFC", name)).lower()
