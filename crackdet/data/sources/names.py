"""What the names of files and folders mean: one rule for all sources."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from unicodedata import normalize

from crackdet.data.decode import IMAGE_EXTENSIONS

SPLIT_FOLDERS = {
    "train": "train", "training": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test",
    "testing": "test",
}  # fmt: skip
# Folders and files of operating systems and network storage: thumbnails, deleted files, metadata.
SYSTEM_NAMES = {
    "@eadir", "@tmp", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "$recycle.bin", "recycler", "__macosx",
    "system volume information", "lost+found", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r",
}  # fmt: skip


def is_image(name: str) -> bool:
    """Return whether a file name has the extension of an image and is not hidden."""
    return not is_hidden(name) and extension(name) in IMAGE_EXTENSIONS


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is made by a program, such as thumbnails, and is never taken for a photograph."""
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


def extension(name: str) -> str:
    """Return the extension of a file name in lower case, such as `.jpg`; empty if it has none."""
    stem, dot, end = name.rpartition(".")
    return f"{dot}{end}".lower() if stem else ""


def split_of(name: str) -> str | None:
    """Return the split that a folder is named after: train, valid or test; None if it is none."""
    return SPLIT_FOLDERS.get(name.strip().lower())


def doubled_splits(names: Iterable[str], split_of_folder: Callable[[str], str | None]) -> list[str]:
    """Return a warning if folders of two names, such as `val` and `valid`, belong to one split."""
    folders: dict[tuple[str, str], set[str]] = defaultdict(set)
    for folder in {name.rpartition("/")[0] for name in names}:
        parts = folder.split("/")
        for depth, part in enumerate(parts):
            if split := split_of_folder(part):
                folders["/".join(parts[:depth]), split].add(part)
                break
    return [
        f"the folders {', '.join(sorted(f'{parent}/{part}'.lstrip('/') for part in parts))} are used together as the "
        f"{split} split"
        for (parent, split), parts in sorted(folders.items())
        if len(parts) > 1
    ]


def normalized(name: str) -> str:
    """Return the name of a class without case, spaces, hyphens and underscores."""
    return re.sub(r"[\s_-]+", "", normalize("NFC", name)).lower()
