"""Select the images that a network is inspected on."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crackdet.core.errors import UserError
from crackdet.data.dataset import ImageDataset, load_splits
from crackdet.data.decode import BadImage
from crackdet.data.records import ImageRecord
from crackdet.data.splits import missing_split_error
from crackdet.data.tile_context import read_context
from crackdet.inference.eval_data import check_data_overrides, config_with_data, data_settings
from crackdet.inference.images import to_pixels
from crackdet.inspection.loaded_network import LoadedNetwork, Sample
from crackdet.store.predictions import read_predictions
from crackdet.store.run import Run

log = logging.getLogger(__name__)

CONTEXT_SIDE = 512  # pixels of a photograph that shows a tile
MEASURED_PER_CLASS = 64  # validation images of each class that maps are measured on


def load_split(network: LoadedNetwork, split: str, overrides: Sequence[str] = ()) -> ImageDataset:
    """Load a split of the run's own data, or of the data that overrides choose, at the network's image size.

    Raises:
        UserError: If an override does not choose data, or the data is not available or has no such split.
    """
    check_data_overrides(overrides)
    config = config_with_data(network.run, overrides)
    images = load_splits(config.data, config.runtime)[split]
    if not len(images):
        raise missing_split_error(split)
    return images


def to_samples(images: ImageDataset, records: Sequence[ImageRecord]) -> list[Sample]:
    """Read records of a data set, with masks if the source has them."""
    return [Sample(r.name, images.pixels.read(r), r.crack, read_mask(images, r)) for r in records]


def read_mask(images: ImageDataset, record: ImageRecord) -> NDArray[np.bool_] | None:
    """Return a record's mask (S, S); None if there is none, or if the mask of an image with a crack is empty."""
    mask = images.pixels.source.mask(record, images.pixels.image_size)
    return None if mask is not None and record.crack and not mask.any() else mask


def choose_samples(network: LoadedNetwork, arguments: Sequence[str]) -> tuple[list[Sample], list[Sample]]:
    """Return the samples to show, and those to measure the maps on.

    Arguments are files, names of validation images, or settings of the run's data. Without images, representative
    validation images are shown. If the run's data is gone, files are shown and measured by themselves.

    Raises:
        UserError: If an argument is none of these, or a file is not an image.
    """
    settings = data_settings(arguments)
    names = [argument for argument in arguments if argument not in settings]
    images: ImageDataset | None = None
    try:
        images = load_split(network, "valid", settings)
    except UserError as error:
        if settings or not names or not all(Path(name).is_file() for name in names):
            raise
        log.warning("the run's data is not available, so maps are measured on the given images alone: %s", error)
    samples = [_find_sample(network, name, images) for name in names]
    if images is None:
        return samples, samples
    by_class = ([r for r in images.records if r.crack is crack] for crack in (True, False))
    measured = to_samples(images, [r for records in by_class for r in evenly_spaced(records, MEASURED_PER_CLASS)])
    return samples or _to_shown_samples(images, representative_records(network.run, images)), measured


def _to_shown_samples(images: ImageDataset, records: Sequence[ImageRecord]) -> list[Sample]:
    """Read records as `to_samples`, with the photograph of each tile."""
    return [
        replace(sample, context=_context(images, r))
        for sample, r in zip(to_samples(images, records), records, strict=True)
    ]


def _context(images: ImageDataset, record: ImageRecord) -> NDArray[np.uint8] | None:
    context = read_context(images.pixels.source, record, CONTEXT_SIDE)
    return None if context is None else np.asarray(context)


def _find_sample(network: LoadedNetwork, name: str, images: ImageDataset | None) -> Sample:
    records = {record.name: record for record in images.records} if images else {}
    if images is not None and name in records:
        return _to_shown_samples(images, [records[name]])[0]
    if not Path(name).is_file():
        raise UserError(f"{name}: is neither a file nor the name of one of the run's validation images")
    try:
        data = network.config.data
        return Sample(name, to_pixels(name, data.image_size, getattr(data, "white_level", None)))
    except BadImage as error:
        raise UserError(f"{name}: cannot be read ({error})") from None


def evenly_spaced(records: Sequence[ImageRecord], count: int) -> list[ImageRecord]:
    """Return at most `count` of the records, evenly spaced."""
    count = min(count, len(records))
    return [records[i * len(records) // count] for i in range(count)]


def representative_records(run: Run, images: ImageDataset) -> list[ImageRecord]:
    """Return, for each class, the validation image of median logit and the one that is most wrong."""
    predictions = read_predictions(run)
    logits = dict(zip(predictions.images, predictions.logits.tolist(), strict=True)) if predictions else {}
    known = [record for record in images.records if record.name in logits]
    cracks = sorted((r for r in known if r.crack), key=lambda r: logits[r.name])
    others = sorted((r for r in known if not r.crack), key=lambda r: -logits[r.name])
    chosen = [records[index] for records in (cracks, others) if records for index in (len(records) // 2, 0)]
    return list(dict.fromkeys(chosen)) or evenly_spaced(images.records, 4)
