"""The groups of images: `data.groups`. Images of one group stay in one split."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import ExifTags

from crackdet.core.errors import UserError
from crackdet.core.files import expand_home
from crackdet.data.decode import BadImage, open_image
from crackdet.data.facts import find_facts
from crackdet.data.sources.manifest import merge_spellings, no_group_warning, read_groups

REGEX, TIME, COLUMN, FOLDER = "regex:", "time:", "column:", "folder"
EXIF_TIME = "%Y:%m:%d %H:%M:%S"

Groups = dict[str, str | None]


def assign_groups(
    groups: str | None,
    manifest: str,
    root: Path,
    cache_dir: Path,
    names: Sequence[str],
    digests: Callable[[], Sequence[str]],
    is_known_folder: Callable[[str], bool],
) -> tuple[Groups, list[str]]:
    """Return the group of each image, and warnings.

    Args:
        groups: `data.groups`: None, a column of the manifest, `column:NAME`, `folder`, `folder:LEVEL`, `regex:PATTERN`
            or `time:SECONDS`.
        manifest: `data.manifest`.
        names: The paths of the images, relative to the root.
        digests: Returns the digest of each image, if a fact about the files is needed.
        is_known_folder: Whether a folder of this name is that of a class, a split or a kind of files, and no group.

    Raises:
        UserError: If the groups cannot be found, or all images are in one.
    """
    if groups is None:
        return dict.fromkeys(names), []
    if (column := column_of(groups)) is not None:
        by_name, warnings = read_groups(root / expand_home(manifest), column, f"data.manifest={manifest}", root, names)
        return dict(by_name), warnings
    where = f"data.groups={groups}"
    if groups.startswith(REGEX):
        found, reason = _by_pattern(where, groups.removeprefix(REGEX), names), "the pattern does not match"
    elif groups.startswith(TIME):
        found, reason = _by_time(where, groups, root, cache_dir, names, digests()), "no EXIF time"
    else:
        found, reason = _by_folder(where, groups, names, is_known_folder), "in no folder of their own"
    merged, warnings = merge_spellings({name: group or "" for name, group in found.items()}, where)
    warnings += no_group_warning(where, merged, reason)
    sizes = Counter(filter(None, merged.values()))
    if len(sizes) == 1 and all(merged.values()) and len(merged) > 1:
        raise UserError(f"{where}: all images are in one group, {next(iter(sizes))}, which cannot be split")
    if len(sizes) == sum(sizes.values()) > 1:
        warnings.append(f"{where}: each image is a group of its own, such as {next(iter(sizes))}")
    return {name: group or None for name, group in merged.items()}, warnings


def column_of(groups: str | None) -> str | None:
    """Return the column of a table that gives the groups; None if `data.groups` is null or another rule."""
    is_rule = groups is None or groups == FOLDER or groups.startswith((REGEX, TIME, f"{FOLDER}:"))
    return None if groups is None or is_rule else groups.removeprefix(COLUMN)


def _by_folder(where: str, groups: str, names: Sequence[str], is_known_folder: Callable[[str], bool]) -> Groups:
    """Group images by their folder or, at level 2, its parent; folders of classes and splits do not count."""
    level = groups.removeprefix(FOLDER).removeprefix(":") or "1"
    if not re.fullmatch("[1-9]", level):
        raise UserError(
            f"{where}: must be folder, or folder:LEVEL with a level from 1 (the folder of the image) to 9; for a "
            f"column of this name, set data.groups=column:{groups}"
        )

    def group_of(name: str) -> str | None:
        parts = [part for part in PurePosixPath(name).parts[:-1] if not is_known_folder(part)]
        return "/".join(parts[: len(parts) - int(level) + 1] if len(parts) >= int(level) else ()) or None

    found = {name: group_of(name) for name in names}
    if not any(found.values()):
        others = "in no folder but those of classes and splits" if level == "1" else f"in fewer than {level} folders"
        raise UserError(f"{where}: the images are {others}, such as {names[0]}")
    return found


def _by_pattern(where: str, text: str, names: Sequence[str]) -> Groups:
    """Group images by the groups of a regular expression, or by the whole match.

    It is searched in the file name; if it has a slash, in the path.
    """
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise UserError(
            f"{where}: is no regular expression ({error}); an example is \"data.groups='regex:^(\\w+)_'\""
        ) from None
    searched = names if "/" in text else [PurePosixPath(name).name for name in names]
    matches = [pattern.search(name) for name in searched]
    if not any(matches):
        raise UserError(f"{where}: matches no {'path' if '/' in text else 'file name'}, such as {searched[0]}")
    return {
        name: (" ".join(filter(None, match.groups())) or match[0]) if match else None
        for name, match in zip(names, matches, strict=True)
    }


def _by_time(
    where: str, groups: str, root: Path, cache_dir: Path, names: Sequence[str], digests: Sequence[str]
) -> Groups:
    """Group the shots of each camera that follow one another within a number of seconds, by their EXIF time."""
    try:
        seconds = float(groups.removeprefix(TIME))
        if not 0 < seconds < float("inf"):
            raise ValueError
    except ValueError:
        raise UserError(f"{where}: must be time:SECONDS, as in time:10") from None

    facts, _ = find_facts(
        "EXIF cameras and times",
        root.absolute(),
        cache_dir,
        digests,
        lambda index: _shot(root / names[index]),
        _is_shot,
    )
    by_camera: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for name, fact in zip(names, facts, strict=True):
        if fact:
            by_camera[fact[0]].append((fact[1], name))
    if not by_camera:
        raise UserError(f"{where}: no image has an EXIF time, such as {names[0]}")
    found: Groups = dict.fromkeys(names)
    for camera, shots in by_camera.items():
        group, last = "", float("-inf")
        for time, name in sorted(shots):
            if time - last > seconds:
                group = f"{camera} {datetime.fromtimestamp(time, UTC).replace(tzinfo=None)}".strip()
            found[name], last = group, time
    return found


def _shot(path: Path) -> list[Any]:
    """Return the camera and the time of a photograph in seconds; nothing if it has no EXIF time."""
    try:
        with open_image(path) as image:
            exif = image.getexif()
            inner = exif.get_ifd(ExifTags.IFD.Exif)
        values = [
            exif.get(ExifTags.Base.Make),
            exif.get(ExifTags.Base.Model),
            inner.get(ExifTags.Base.BodySerialNumber),
        ]
        camera = " ".join(filter(None, map(_text, values)))
        # not DateTime, which programs set when they save the file
        for tag, fraction_tag in (
            (ExifTags.Base.DateTimeOriginal, ExifTags.Base.SubsecTimeOriginal),
            (ExifTags.Base.DateTimeDigitized, ExifTags.Base.SubsecTimeDigitized),
        ):
            if text := _text(inner.get(tag)):
                time = datetime.strptime(text, EXIF_TIME).replace(tzinfo=UTC).timestamp()
                fraction = _text(inner.get(fraction_tag))
                return [camera, time + (float(f"0.{fraction}") if fraction.isdecimal() else 0.0)]
    except BadImage:
        return []
    except Exception:  # a damaged header can raise anything in Pillow; a text that is no time raises ValueError
        return []
    return []


def _text(value: object) -> str:
    text = value.decode("ascii", "ignore") if isinstance(value, bytes) else str(value or "")
    return " ".join(text.replace("\0", " ").split())


def _is_shot(value: Any) -> bool:
    return isinstance(value, list) and (not value or list(map(type, value)) == [str, float])
