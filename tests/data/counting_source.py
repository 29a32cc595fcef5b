"""A source that records what is read from it."""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crackdet.data.cache import DecodedImages
from crackdet.data.decode import BadImage
from crackdet.data.records import ImageRecord
from crackdet.data.sources.base import read_each

SIZE = 6


@dataclass(frozen=True)
class CountingSource:
    """Eight images; each reading is logged to a file, which other processes share."""

    log: Path
    seconds: float = 0  # to read one image
    unreadable: tuple[str, ...] = ()

    def list_records(self, both_classes: bool = True) -> list[ImageRecord]:
        return [ImageRecord(f"{number}.png", number % 2 == 0, f"{number:04d}") for number in range(8)]

    def read(self, record: ImageRecord, image_size: int) -> NDArray[np.uint8]:
        with self.log.open("a") as file:
            file.write(f"{record.digest} {os.getpid()}\n")
        time.sleep(self.seconds)
        if record.digest in self.unreadable:
            raise BadImage("truncated")
        return pixels_of(record.digest, image_size)

    def read_many(self, records: Sequence[ImageRecord], image_size: int) -> Iterator[NDArray[np.uint8] | BadImage]:
        return read_each(self.read, records, image_size)

    def file(self, name: str) -> None:
        return None

    @property
    def name(self) -> str:
        return "images"

    @property
    def warnings(self) -> list[str]:
        return []

    @property
    def dependencies(self) -> list[Path]:
        return []

    def reread(self, records: Sequence[ImageRecord]) -> None:
        pass

    def mask(self, record: ImageRecord, image_size: int) -> None:
        return None

    def readings(self) -> list[str]:
        """The digests that have been read, in order."""
        return [line.split()[0] for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def processes(self) -> set[str]:
        return {line.split()[1] for line in self.log.read_text().splitlines()}


def pixels_of(digest: str, image_size: int) -> NDArray[np.uint8]:
    return np.random.default_rng(int(digest)).integers(0, 256, (image_size, image_size, 3), dtype=np.uint8)


def assert_pixels_are_correct(decoded: DecodedImages) -> None:
    for record in decoded.source.list_records():
        assert np.array_equal(decoded.read(record), pixels_of(record.digest, SIZE))
