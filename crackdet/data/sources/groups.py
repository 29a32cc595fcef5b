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
from crackdet.core.text import list_first
from crackdet.data.decode import BadImage, open_image
from crackdet.data.facts import find_facts
from crackdet.data.sources.manifest import read_groups

REGEX, TIME, COLUMN, FOLDER = "regex:", "time:", "column:", "folder"
EXIF_TIME = "%Y:%m:%d %H:%M:%S"

Groups = list[str | None]


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
        groups: `data.groups`: None, a column of the manifest, `column:NAME`, `folder`, `regex:PATTERN` or
            `time:SECONDS`.
        manifest: `data.manifest`.
        names: The paths of the images, relative to the root.
        digests: Returns the digest of each image, if a fact about the files is needed.
        is_known_folder: Whether a folder of this name is that of a class, a split or a kind of files, and no group.

    Raises:
        UserError: If the groups cannot be found, or all images are in one.
    """
    if groups is None:
        return [None] * len(names), []
    if groups == FOLDER:
        found = [_folder(name, is_known_folder) for name in names]
        if not any(found):
            raise UserError("data.groups=folder: the images are in no folder but those of classes and splits")
        warnings = _no_group_warning(names, found, "data.groups=folder", "in no folder of their own")
    elif groups.startswith(REGEX):
        found, warnings = _by_pattern(groups, names)
    elif groups.startswith(TIME):
        found, warnings = _by_time(groups, root, cache_dir, names, digests())
    else:
        column = groups.removeprefix(COLUMN)
        by_name, warnings = read_groups(root / expand_home(manifest), column, f"data.manifest={manifest}", root, names)
        return [by_name[name] for name in names], warnings
    sizes = Counter(group for group in found if group)
    if len(sizes) == 1 and all(found) and len(found) > 1:
        raise UserError(f"data.groups={groups}: all images are in one group, {found[0]}, which cannot be split")
    if len(sizes) == sum(sizes.values()) > 1:
        warnings.append(f"data.groups={groups}: each image is a group of its own, such as {next(iter(sizes))}")
    return found, warnings


def reads_manifest(groups: str | None) -> bool:
    """Return whether the groups are a column of the manifest."""
    return groups is not None and groups != FOLDER and not groups.startswith((REGEX, TIME))


def _folder(name: str, is_known_folder: Callable[[str], bool]) -> str | None:
    return "/".join(part for part in PurePosixPath(name).parts[:-1] if not is_known_folder(part)) or None


def _by_pattern(groups: str, names: Sequence[str]) -> tuple[Groups, list[str]]:
    """Group images by the first group of a regular expression in the file name, or by the whole match."""
    try:
        pattern = re.compile(groups.removeprefix(REGEX))
    except re.error as error:
        raise UserError(
            f"data.groups={groups}: is no regular expression ({error}); an example is 'regex:^(\\w+)_'"
        ) from None
    matches = [pattern.search(PurePosixPath(name).name) for name in names]
    found: Groups = [(match and (" ".join(filter(None, match.groups())) or match[0])) or None for match in matches]
    if not any(found):
        raise UserError(f"data.groups={groups}: matches no file name, such as {PurePosixPath(names[0]).name}")
    return found, _no_group_warning(names, found, f"data.groups={groups}", "not matched")


def _by_time(
    groups: str, root: Path, cache_dir: Path, names: Sequence[str], digests: Sequence[str]
) -> tuple[Groups, list[str]]:
    """Group the shots of each camera that follow one another within a number of seconds, by their EXIF time."""
    try:
        seconds = float(groups.removeprefix(TIME))
        if not 0 < seconds < float("inf"):
            raise ValueError
    except ValueError:
        raise UserError(f"data.groups={groups}: must be time:SECONDS, as in time:10") from None

    facts, _ = find_facts(
        "EXIF times", root.absolute(), cache_dir, digests, lambda index: _shot(root / names[index]), _is_shot
    )
    by_camera: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for index, fact in enumerate(facts):
        if fact:
            by_camera[fact[0]].append((fact[1], index))
    found: Groups = [None] * len(names)
    for camera, shots in by_camera.items():
        group, last = "", float("-inf")
        for time, index in sorted(shots):
            if time - last > seconds:
                group = f"{camera} {datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M:%S}".strip()
            found[index], last = group, time
    if not any(found):
        raise UserError(f"data.groups={groups}: no image has an EXIF time, such as {names[0]}")
    return found, _no_group_warning(names, found, f"data.groups={groups}", "without an EXIF time")


def _shot(path: Path) -> list[Any]:
    """Return the camera and the time of a photograph in seconds; nothing if it has no EXIF time."""
    try:
        with open_image(path) as image:
            exif = image.getexif()
            inner = exif.get_ifd(ExifTags.IFD.Exif)
            camera = " ".join(
                str(exif.get(tag) or "").strip("\0 ") for tag in (ExifTags.Base.Make, ExifTags.Base.Model)
            )
            text = str(inner.get(ExifTags.Base.DateTimeOriginal) or exif.get(ExifTags.Base.DateTime) or "")
            fraction = str(inner.get(ExifTags.Base.SubsecTimeOriginal) or "").strip("\0 ")
            time = datetime.strptime(text.strip("\0 "), EXIF_TIME).replace(tzinfo=UTC).timestamp()
            return [camera.strip(), time + (float(f"0.{fraction}") if fraction.isdigit() else 0.0)]
    except BadImage:
        return []
    except Exception:  # a damaged header can raise anything in Pillow; a text that is no time raises ValueError
        return []


def _is_shot(value: Any) -> bool:
    return isinstance(value, list) and (not value or list(map(type, value)) == [str, float])


def _no_group_warning(names: Sequence[str], found: Groups, setting: str, reason: str) -> list[str]:
    without = [name for name, group in zip(names, found, strict=True) if not group]
    if not without:
        return []
    return [
        f"{setting}: {len(without)} images are {reason}, such as {list_first(without, 2)}: "
        "these images may be in different splits"
    ]
