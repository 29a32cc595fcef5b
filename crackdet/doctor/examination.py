"""Everything that the doctor finds out besides copies, from the decoded images and the headers of their files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from crackdet.config.schema import Data
from crackdet.data.dataset import ImageDataset
from crackdet.data.tiles import parse_name
from crackdet.doctor.columns import appearance_columns, file_columns
from crackdet.doctor.confounds import Confound, find_confounds
from crackdet.doctor.descriptor import describe_batch
from crackdet.doctor.drift import Drift, find_drift
from crackdet.doctor.features import Descriptor, join_measured, measure
from crackdet.doctor.headers import read_headers
from crackdet.doctor.labels import SuspectLabels, find_suspects
from crackdet.doctor.sizes import Sizes, measure_sizes


@dataclass(frozen=True)
class Examination:
    """The findings about labels, confounds, drift and sizes."""

    sizes: Sizes
    labels: SuspectLabels | None  # None: fewer than two groups have an image of a class
    confounds: Sequence[Confound]
    drift: Sequence[Drift]


def examine(
    splits: Mapping[str, ImageDataset],
    data: Data,
    groups: Mapping[str, str] | None = None,
    descriptor: Descriptor = describe_batch,
    num_workers: int | None = None,
) -> Examination:
    """Examine all images of a data set.

    Args:
        data: The configuration of the data.
        groups: The group of each image by name, if it is not that of its record, such as one that copies form.
        descriptor: What the probe sees of the images.
        num_workers: `runtime.num_workers`.
    """
    records = [record for dataset in splits.values() for record in dataset.records]
    files = {
        parse_name(record.name)[0]: dataset.pixels.source.file(record.name)
        for dataset in splits.values()
        for record in dataset.records
    }
    headers = read_headers(files)
    measured = join_measured([measure(dataset, descriptor, num_workers) for dataset in splits.values()])
    class_names = [*getattr(data, "crack_names", ()), *getattr(data, "no_crack_names", ())]
    columns = file_columns(records, headers, class_names) + appearance_columns(measured.appearance)
    group_names = [(groups or {}).get(record.name) or record.group or record.digest for record in records]
    cracks = np.array([record.crack for record in records], np.bool_)
    split_names = [split for split, dataset in splits.items() for _ in dataset.records]
    return Examination(
        measure_sizes({split: dataset.records for split, dataset in splits.items()}, headers, data.image_size),
        find_suspects([record.name for record in records], cracks, measured.features, group_names),
        find_confounds(columns, cracks, group_names),
        find_drift(columns, measured.features, split_names, group_names),
    )
