"""The manifest: a table with the path and the group of each image."""

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from unicodedata import category, normalize

from crackdet.core.errors import UserError
from crackdet.core.text import list_first
from crackdet.data.sources.tables import read_table

SCALE_COLUMN = "pixels_per_mm"
LEADING_ZEROS = re.compile(r"(?<![0-9.])0+(?=[0-9])")


def read_groups(
    file: Path, column: str, settings: str, root: Path, names: Sequence[str]
) -> tuple[dict[str, str], list[str]]:
    """Return the group of each image, and warnings about the groups.

    Groups that differ only in case, spaces, or the width of characters are one group, so that no wall is in two splits.

    Args:
        file: The manifest.
        column: Its column of groups.
        settings: The setting that names the manifest, for messages.
        names: The paths of the images, relative to the root.

    Raises:
        UserError: If the manifest cannot be read, or does not give each image one group.
    """
    where = f"data.groups={column}: {file}"
    cells = read_column(file, column, settings, root, names)
    groups: dict[str, str] = {}
    for name, group in cells:
        group = " ".join(group.split())
        if _key(groups.setdefault(name, group)) != _key(group):
            raise UserError(f"{where} puts {name} into both {groups[name]} and {group}")
    groups, warnings = merge_spellings(groups, where)
    return groups, warnings + no_group_warning(where, groups)


def read_column(file: Path, column: str, settings: str, root: Path, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each image with its value in a column of the manifest; an image may have several rows.

    Paths are relative to the root, or to the folder of the manifest, or absolute. Case is ignored if the path is still
    unique.

    Raises:
        UserError: If the manifest cannot be read, or lacks the column, or has no row for an image.
    """
    table = read_table(file, settings)
    where = f"data.groups={column}: {file}" if column != SCALE_COLUMN else f"data.scale: {file}"
    keys = [table.find_column(required) for required in ("path", column)]
    for required, key in zip(("path", column), keys, strict=True):
        if key is None:
            raise UserError(f"{where} has no column {required}; it has {', '.join(table.columns) or 'none'}")
    path_key, value_key = map(str, keys)
    find = PathFinder(root, file.parent, names)
    found: set[str] = set()
    example = ""
    for row in table.rows:
        path = (row[path_key] or "").strip()
        example = example or path
        if not path or (name := find(path)) is None:
            continue
        if (value := row[value_key]) is None:
            raise UserError(f"{where} has no {column} for {name}: the row is too short")
        found.add(name)
        yield name, value
    if missing := next((name for name in names if name not in found), None):
        hint = f"; its first path is {example}, and paths are relative to {root}" if example and not found else ""
        raise UserError(
            f"{settings}: has no row for {missing}; {where.partition(':')[0]} needs a row for each image{hint}"
        )


def merge_spellings(groups: Mapping[str, str], where: str) -> tuple[dict[str, str], list[str]]:
    """Give each group one spelling, and return warnings about other spellings.

    Args:
        groups: The group of each image; empty if it has none.
        where: What gives the groups, for messages.
    """
    spellings: dict[str, set[str]] = defaultdict(set)
    for group in groups.values():
        spellings[_key(group)].add(" ".join(group.split()))
    warnings = [
        f"{where} spells a group as {', '.join(sorted(variants))}: used as one group"
        for key, variants in spellings.items()
        if len(variants) > 1 and key
    ]
    numbers: dict[str, set[str]] = defaultdict(set)
    for key in spellings:
        numbers[LEADING_ZEROS.sub("", key)].add(min(spellings[key]))
    if padded := [", ".join(sorted(same)) for same in numbers.values() if len(same) > 1]:
        warnings.append(
            f"{where} has groups that may be the same number: {list_first(sorted(padded), 3, '; ')}: used as "
            "different groups"
        )
    return {name: min(spellings[key]) if (key := _key(group)) else "" for name, group in groups.items()}, warnings


def no_group_warning(where: str, groups: Mapping[str, str | None], reason: str = "") -> list[str]:
    """Return a warning about the images without a group, and why they have none; nothing if there is none."""
    without = [name for name, group in groups.items() if not group]
    if not without:
        return []
    why = f" ({reason})" if reason else ""
    return [
        f"{where} leaves {len(without)} images without a group{why}, such as {list_first(without, 2)}: "
        "these images may be in different splits"
    ]


def _key(group: str) -> str:
    """Return what all spellings of a group have in common: case, spaces, and the width of characters do not count."""
    text = "".join(character for character in normalize("NFKC", group) if category(character) != "Cf")
    return " ".join(text.split()).casefold()


class PathFinder:
    """Finds the image that a path in the manifest refers to."""

    def __init__(self, root: Path, folder: Path, names: Sequence[str]) -> None:
        self.folders = ("", f"{folder.absolute()}/")  # that a path may be relative to
        self.roots = {f"{path}/" for path in (os.path.normpath(root.absolute()), root.resolve())}
        self.names = {normalize("NFC", name): name for name in names}
        folded: dict[str, set[str]] = defaultdict(set)
        for name in self.names:
            folded[name.casefold()].add(name)
        self.folded = {key: self.names[next(iter(same))] for key, same in folded.items() if len(same) == 1}

    def __call__(self, path: str) -> str | None:
        """Return the name of the image, or None if the path refers to none of the images."""
        path = normalize("NFC", path)
        if path in self.names:  # the usual case
            return self.names[path]
        candidates = [candidate for text in (path, path.replace("\\", "/")) for candidate in self._candidates(text)]
        for names, keys in ((self.names, candidates), (self.folded, [key.casefold() for key in candidates])):
            for key in keys:
                if key in names:
                    return names[key]
        return None

    def _candidates(self, path: str) -> Iterator[str]:
        """Yield the path relative to the root, for each folder that it may be relative to."""
        for folder in self.folders:
            full = os.path.normpath(os.path.join(folder, path))  # noqa: PTH118  # strings: many rows
            yield next((full[len(root) :] for root in self.roots if full.startswith(root)), full)
