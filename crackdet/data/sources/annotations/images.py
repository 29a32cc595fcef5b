"""Finds the photograph that an annotation names: annotations were written on other machines, in other folders."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from unicodedata import normalize

from crackdet.core.text import list_first
from crackdet.data.sources.photographs import IMAGE_WORDS, MASK_WORDS, split_in_path

KINDS = IMAGE_WORDS | MASK_WORDS | {"xml", "xmls", "json", "txt"}  # folders named after what is in them


class ImageFinder:
    """The photographs below a root, by their names.

    Args:
        images: Paths of all photographs relative to the root.
    """

    def __init__(self, images: Iterable[str]) -> None:
        self.images = list(images)
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        self._folders: set[str] = set()
        for image in self.images:
            path = PurePosixPath(image)
            self._by_stem[_key(path.stem)].append(image)
            self._folders.update(map(_key, path.parts[:-1]))

    def has_stem(self, stem: str) -> bool:
        """Return whether a photograph has this name without its extension."""
        return bool(self._named(stem))

    def find(self, text: str, folder: PurePosixPath, split: str | None = None) -> str:
        """Return the path of the photograph that an annotation names.

        Folders that do not exist below the root are ignored: they are those of another machine.

        Args:
            text: A path or name, which may be of Windows, and may have another extension.
            folder: The folder of the annotation file, relative to the root.
            split: The split of the annotation file.

        Raises:
            ValueError: If there is no such photograph, or several.
        """
        *folders, name = [part for part in re.split(r"[/\\]", text.strip()) if part not in ("", ".", "..")] or [""]
        candidates = self._named(PurePosixPath(name).stem) or self._named(name)
        exact = [image for image in candidates if _name(image) == name]
        candidates = exact or [image for image in candidates if _key(_name(image)) == _key(name)] or candidates
        return self._choose(text.strip() or "without a name", candidates, folders, folder, split)

    def find_beside(self, file: PurePosixPath, split: str | None = None) -> str:
        """Return the photograph that an annotation file is named after, such as `images/7.jpg` of `labels/7.txt`.

        Raises:
            ValueError: As `find`.
        """
        candidates = self._named(file.stem) or self._named(PurePosixPath(file.stem).stem)  # 7.txt, or 7.jpg.json
        split = split or split_in_path(str(file))
        return self._choose(file.stem, candidates, _kindless(file.parts[:-1]), file.parent, split)

    def _named(self, stem: str) -> list[str]:
        return self._by_stem.get(_key(stem), [])

    def _choose(
        self, text: str, candidates: Sequence[str], folders: Sequence[str], beside: PurePosixPath, split: str | None
    ) -> str:
        """Return the candidate in the given folders that is nearest to the annotation file."""
        known = [part for part in map(_key, folders) if part in self._folders and part not in KINDS]
        fitting = [
            image
            for image in candidates
            if _are_in_order(known, _parts(image)) and (split is None or split_in_path(image) in (None, split))
        ]
        ranks = {
            image: _rank(_parts(image), list(map(_key, beside.parts)), list(map(_key, folders))) for image in fitting
        }
        best = [image for image in fitting if ranks[image] == max(ranks.values())]
        if len(best) == 1:
            return best[0]
        if best:
            raise ValueError(f"{text} may be each of {list_first(sorted(best), 3)}")
        elsewhere = f" there; another folder has {list_first(sorted(candidates), 2)}" if candidates else ""
        raise ValueError(f"{text}: there is no such photograph{elsewhere}")


def _rank(parts: Sequence[str], beside: Sequence[str], stated: Sequence[str]) -> tuple[int, int]:
    """Return how near a folder is: the end that it shares with the stated folders, the start with the annotation's."""
    shared_end = next((n for n in range(len(stated), 0, -1) if list(parts[-n:]) == list(stated[-n:])), 0)
    here, there = _kindless(parts), _kindless(beside)
    shared_start = next(
        (n for n, (a, b) in enumerate(zip(here, there, strict=False)) if a != b), min(len(here), len(there))
    )
    return shared_end, 2 * shared_start - len(here)


def _are_in_order(wanted: Sequence[str], parts: Sequence[str]) -> bool:
    """Return whether all wanted folders are in the path, in this order; others may be between them."""
    remaining = iter(parts)
    return all(any(part == other for other in remaining) for part in wanted)


def _kindless(parts: Iterable[str]) -> list[str]:
    return [part for part in parts if _key(part) not in KINDS]


def _parts(image: str) -> list[str]:
    return list(map(_key, PurePosixPath(image).parts[:-1]))


def _name(image: str) -> str:
    return image.rpartition("/")[2]


def _key(name: str) -> str:
    return normalize("NFC", name).casefold()  # macOS decomposes accents
