"""The manifest of `data=folder`: a CSV file with the path and the group of each image."""

import csv
import io
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from unicodedata import normalize

from crackdet.config.schema import FolderData
from crackdet.core.errors import UserError
from crackdet.core.files import expand_home
from crackdet.core.reading import open_regular

SEPARATORS = ",;\t|"


def read_groups(data: FolderData, root: Path, names: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return the group of each image, and warnings about the groups.

    Paths are relative to the root, or to the folder of the manifest, or absolute. Case is ignored if the path is still
    unique. Groups that differ only in case and spaces are one group, so that no wall is in two splits.

    Args:
        names: The paths of the images, relative to the root.

    Raises:
        UserError: If the manifest cannot be read, or does not give each image one group.
    """
    column = str(data.groups)
    file = root / expand_home(data.manifest)
    where = f"data.groups={column}: {file}"
    find = _Finder(root, file.parent, names)
    groups: dict[str, str] = {}
    example = ""
    for path, group in _read_rows(file, data, column):
        example = example or path
        if (name := find(path)) is None:
            continue
        if group is None:
            raise UserError(f"{where} has no {column} for {name}: the row is too short")
        group = " ".join(normalize("NFC", group).split())
        if groups.setdefault(name, group).casefold() != group.casefold():
            raise UserError(f"{where} puts {name} into both {groups[name]} and {group}")
    if missing := next((name for name in names if name not in groups), None):
        hint = f"; its first path is {example}, and paths are relative to {root}" if example and not groups else ""
        raise UserError(
            f"data.manifest={data.manifest}: has no row for {missing}; "
            f"data.groups={column} needs a row for each image{hint}"
        )
    return _merge_spellings(groups, where)


def _merge_spellings(groups: Mapping[str, str], where: str) -> tuple[dict[str, str], list[str]]:
    """Give each group one spelling, and return warnings about other spellings and images without a group."""
    spellings: dict[str, set[str]] = defaultdict(set)
    for group in groups.values():
        spellings[group.casefold()].add(group)
    warnings = [
        f"{where} spells a group as {', '.join(sorted(variants))}: used as one group"
        for variants in spellings.values()
        if len(variants) > 1
    ]
    if blank := [name for name, group in groups.items() if not group]:
        warnings.append(
            f"{where} leaves {len(blank)} images without a group, such as {blank[0]}: "
            "these images may be in different splits"
        )
    return {name: min(spellings[group.casefold()]) for name, group in groups.items()}, warnings


class _Finder:
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


def _read_rows(file: Path, data: FolderData, column: str) -> Iterator[tuple[str, str | None]]:
    """Yield path and group of each row that has a path."""
    lines = _read_text(file, data.manifest).splitlines(keepends=True)
    first = lines[0] if lines else ""
    if declared := re.fullmatch(r"sep=(.)\s*", first):  # as Excel writes it
        separator, lines = declared[1], lines[1:]
    else:
        separator = max(SEPARATORS, key=first.count)
    try:
        reader = csv.DictReader(io.StringIO("".join(lines), newline=""), delimiter=separator)
        columns = [name.strip() for name in reader.fieldnames or []]
        reader.fieldnames = columns
        rows = list(reader)
    except csv.Error as error:
        raise UserError(f"data.manifest={data.manifest}: {file} cannot be read ({error})") from None
    keys = []
    for required in ("path", column):
        same = [name for name in columns if name.casefold() == required.strip().casefold()]
        if not same:
            raise UserError(
                f"data.groups={column}: {file} has no column {required}; it has {', '.join(columns) or 'none'}"
            )
        keys.append(required if required in same else same[0])
    for row in rows:
        if path := (row[keys[0]] or "").strip():
            yield path, row[keys[1]]


def _read_text(file: Path, setting: str) -> str:
    where = f"data.manifest={setting}: {file} cannot be read"
    try:
        with open_regular(file, follow_links=True) as opened:
            content = opened.read()
        return content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{where} (byte {error.start} is not UTF-8; save the file as UTF-8, in Excel as `CSV UTF-8`)"
        ) from None
    except OSError as error:
        raise UserError(f"{where} ({error.strerror})") from None
