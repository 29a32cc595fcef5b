"""The interface of a data source.

Listing is cheap: it needs names, labels and digests, but neither torch nor a decoded pixel. The identity of a run
depends on the listing only.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from crackdet.core.errors import UserError
from crackdet.data.decode import BadImage
from crackdet.data.records import ImageRecord

MAX_PROBLEMS = 20  # of annotations or rows, named in a message
CHANGED = "has changed since the images were listed; run the command again"


class Source(Protocol):
    """A set of labelled images."""

    @property
    def name(self) -> str:
        """The root folder, or a word, for messages."""

    @property
    def warnings(self) -> Sequence[str]:
        """Messages about what the last `list_records()` left out or doubts."""

    @property
    def dependencies(self) -> Sequence[Path]:
        """The files and folders that a listing depends on: if none has changed, it gives the same records."""

    def list_records(self, both_classes: bool = True) -> list[ImageRecord]:
        """Return the records of all images in canonical order.

        Args:
            both_classes: Whether images of both classes are needed, as for training.

        Raises:
            UserError: If a class that is needed has no image, or the images cannot be listed.
        """

    def reread(self, records: Sequence[ImageRecord]) -> None:
        """Read the digests of these images anew, because those of the last `list_records()` are known to be wrong."""

    def read(self, record: ImageRecord, image_size: int) -> NDArray[np.uint8]:
        """Return the pixels of one image, (image_size, image_size, 3) RGB.

        Raises:
            BadImage: If the image cannot be read; `CHANGED` if its content is not that of its digest.
        """

    def read_many(self, records: Sequence[ImageRecord], image_size: int) -> Iterator[NDArray[np.uint8] | BadImage]:
        """Yield the pixels of each image, or why it cannot be read; neighbouring tiles share one decoded photograph."""

    def file(self, name: str) -> Path | None:
        """Return the file of an image, or of the photograph that it is a tile of; None if there is no file."""

    def mask(self, record: ImageRecord, image_size: int) -> NDArray[np.bool_] | None:
        """Return the crack pixels of one image, (image_size, image_size); None if the source has no mask of it.

        Raises:
            UserError: If the folder of masks is missing, or the mask cannot be read.
        """


def read_each(
    read: Callable[[ImageRecord, int], NDArray[np.uint8]], records: Sequence[ImageRecord], image_size: int
) -> Iterator[NDArray[np.uint8] | BadImage]:
    """Read images one by one, as `Source.read_many`."""
    for record in records:
        try:
            pixels: NDArray[np.uint8] | BadImage = read(record, image_size)
        except BadImage as error:
            pixels = error
        yield pixels


def sort_records(records: Sequence[ImageRecord], settings: str, both_classes: bool) -> list[ImageRecord]:
    """Return the records in canonical order.

    Raises:
        UserError: If one of the two classes is empty and `both_classes` are needed; the message names the `settings`.
    """
    for crack, which in ((True, "with a crack"), (False, "without a crack")):
        if (both_classes or not records) and not any(record.crack is crack for record in records):
            raise UserError(f"{settings}: holds no image {which}; both classes are needed")
    return sorted(records, key=lambda record: record.sort_key)


IN_FOLDERS = (
    "{inside} is in a folder named after a split and {outside} is not; put all images into split folders, or none"
)


def check_splits(records: Sequence[ImageRecord], settings: str, message: str = IN_FOLDERS) -> None:
    """Check that all images are in a split of the source, or none is.

    Raises:
        UserError: If some are not; it names the `settings`, and an image `inside` a split and one `outside`.
    """
    splits = [record.split for record in records]
    if None in splits and any(splits):
        inside = records[next(i for i, split in enumerate(splits) if split is not None)]
        outside = records[splits.index(None)]
        raise UserError(f"{settings}: {message.format(inside=inside.name, outside=outside.name)}")
