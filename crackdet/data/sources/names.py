"""What the names of files and folders mean: one rule for all sources."""

import re
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


def normalized(name: str) -> str:
    """Return the name of a class without case, spaces, hyphens and underscores."""
    return re.sub(r"[\s_-]+", "", normalize("NFC", name)).lower()
