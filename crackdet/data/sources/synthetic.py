"""`data=synthetic`: images and masks rendered by `crackdet.data.synthetic`."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crackdet.config.schema import SyntheticData
from crackdet.data import synthetic
from crackdet.data.decode import BadImage
from crackdet.data.records import ImageRecord
from crackdet.data.sources.base import read_each, sort_records


class SyntheticSource:
    """Images that are rendered whenever they are read."""

    name = "data=synthetic"
    warnings = ()
    dependencies = ()

    def __init__(self, data: SyntheticData) -> None:
        self.data = data

    def list_records(self, both_classes: bool = True) -> list[ImageRecord]:
        data = self.data
        params = (synthetic.GENERATOR_VERSION, data.seed, data.crack_fraction, data.hard_negatives, data.difficulty)
        prefix = f"synthetic:{','.join(map(str, params))}"
        records = []
        for index in range(data.num_images):
            crack = synthetic.label(index, seed=data.seed, crack_fraction=data.crack_fraction)
            records.append(ImageRecord(f"synthetic-{index:06d}", crack, f"{prefix}:{index:06d}"))
        settings = f"data.num_images={data.num_images}, data.crack_fraction={data.crack_fraction}"
        return sort_records(records, settings, both_classes)

    def reread(self, records: Sequence[ImageRecord]) -> None:
        pass  # their digests are computed from the settings

    def read(self, record: ImageRecord, image_size: int) -> NDArray[np.uint8]:
        return self._render(record, image_size).image

    def read_many(self, records: Sequence[ImageRecord], image_size: int) -> Iterator[NDArray[np.uint8] | BadImage]:
        return read_each(self.read, records, image_size)

    def file(self, name: str) -> Path | None:
        return None

    def mask(self, record: ImageRecord, image_size: int) -> NDArray[np.bool_]:
        return self._render(record, image_size).mask

    def _render(self, record: ImageRecord, image_size: int) -> synthetic.SyntheticImage:
        return synthetic.render(
            int(record.name.rpartition("-")[2]),
            seed=self.data.seed,
            image_size=image_size,
            crack_fraction=self.data.crack_fraction,
            hard_negatives=self.data.hard_negatives,
            difficulty=self.data.difficulty,
        )
