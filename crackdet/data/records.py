"""The record of one image: its name, label, digest, split and group."""

import hashlib
import json
from collections.abc import Sequence
from typing import NamedTuple

IMAGES_CHANGED = "data: the images have changed since the command began; run the command again"


class ImageRecord(NamedTuple):
    """One image of a source. Records with the same digest have the same pixels."""

    name: str  # path relative to the root, or a generated name
    crack: bool
    digest: str
    split: str | None = None  # None: the source defines no splits
    group: str | None = None  # images of one group stay in one split
    weight: float = 1.0  # in the loss of the training images

    @property
    def sort_key(self) -> tuple[str, str, bool, str] | tuple[str, str, bool, str, float]:
        """The canonical order; it ignores the name, so renaming or moving a file changes nothing."""
        key = (self.split or "", self.group or "", self.crack, self.digest)
        return key if self.weight == 1 else (*key, self.weight)


def fingerprint(records: Sequence[ImageRecord], scores_digest: str = "") -> str:
    """Return one hash of the images, labels, splits and groups; names and the test split do not count.

    Args:
        scores_digest: The digest of the scores that choose hard negatives.
    """
    content = sorted(record.sort_key for record in records if record.split != "test")
    text = json.dumps(content) + scores_digest
    return hashlib.sha256(text.encode()).hexdigest()


def image_digest(records: Sequence[ImageRecord]) -> str:
    """Return one hash of the images and labels, in order: runs are compared only if it is the same."""
    return hashlib.sha256(json.dumps([(record.digest, record.crack) for record in records]).encode()).hexdigest()
