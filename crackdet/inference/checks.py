"""Checks of a command's arguments, before torch is imported: each raises UserError."""

import re
from collections.abc import Sequence
from pathlib import Path

from crackdet.config.schema import Config
from crackdet.core.errors import UserError
from crackdet.core.files import expand_home
from crackdet.data.sources.factory import open_source
from crackdet.data.sources.folder import FolderSource
from crackdet.inference.eval_data import check_data_overrides, config_with_data
from crackdet.store.predictions import read_predictions
from crackdet.store.run import Run

DEVICE = re.compile(r"auto|cpu|mps|cuda(:[0-9]+)?")
TILE = re.compile(r"([1-9][0-9]*)(?:x([1-9][0-9]*))?")


def check_device(name: str) -> None:
    """Refuse what is no name of a device; whether this machine has the device is known once torch is imported."""
    if not DEVICE.fullmatch(name):
        raise UserError(f"device={name}: cannot be used here; must be auto, cpu, cuda, cuda:N or mps")


def check_tile(text: str) -> tuple[int, int]:
    """Return width and height of a tile given as `448` or `640x480`."""
    match = TILE.fullmatch(text)
    if not match:
        raise UserError(f"--tile {text}: must be a size in pixels, such as 448 or 640x480")
    return int(match[1]), int(match[2] or match[1])


def check_data(run: Run, overrides: Sequence[str]) -> Config:
    """Return the configuration of a run with data overrides, after looking for the folders of images and masks."""
    check_data_overrides(overrides)
    config = config_with_data(run, overrides)
    source = open_source(config.data, expand_home(config.runtime.cache))
    if isinstance(source, FolderSource):
        _ = source.mask_folder
    return config


def check_image_names(run: Run, names: Sequence[str]) -> None:
    """Refuse what is neither a file nor the name of a validation image of the run."""
    unknown = [name for name in names if not Path(name).is_file()]
    if unknown and (predictions := read_predictions(run)) is not None:
        known = set(predictions.images)
        for name in unknown:
            if name not in known:
                raise UserError(f"{name}: is neither a file nor the name of one of the run's validation images")
