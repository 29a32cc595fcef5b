"""A finished run, its network, and pictures to look at with it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crackdet.config.schema import Config
from crackdet.core.errors import UserError
from crackdet.data.dataset import ImageDataset, load_splits
from crackdet.data.decode import BadImage
from crackdet.data.records import ImageRecord
from crackdet.data.splits import no_split
from crackdet.inference.evaluation import check_overrides, other_data
from crackdet.inference.images import to_pixels
from crackdet.inference.loaded_run import LoadedRun
from crackdet.models.classifier import Classifier
from crackdet.store.predictions import read_predictions
from crackdet.store.run import Run

log = logging.getLogger(__name__)

EACH = 64  # validation images of each class that maps are measured on


@dataclass(frozen=True)
class Picture:
    """One image as the network sees it, and what is known of it."""

    name: str
    pixels: NDArray[np.uint8]  # (S, S, 3) RGB
    crack: bool | None = None  # None: nobody has said
    mask: NDArray[np.bool_] | None = None  # (S, S), True on the crack


@dataclass(frozen=True)
class LoadedNetwork:
    """A run's network, on its device and in evaluation mode."""

    run: Run
    config: Config
    model: Classifier

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def tensor(self, pictures: Sequence[Picture]) -> Tensor:
        """The pictures as the network takes them: (N, 3, S, S), float32 in [0, 1]."""
        pixels = torch.from_numpy(np.stack([picture.pixels for picture in pictures]))
        return pixels.permute(0, 3, 1, 2).float().div_(255).to(self.device)

    @torch.no_grad()
    def probabilities(self, pictures: Sequence[Picture]) -> list[float]:
        """Of a crack, for each picture."""
        batch = self.config.trainer.batch_size
        parts = [self.model(self.tensor(pictures[i : i + batch])).sigmoid() for i in range(0, len(pictures), batch)]
        return [float(p) for p in torch.cat(parts)] if parts else []


def open_subject(loaded: LoadedRun, device: str = "auto") -> LoadedNetwork:
    """The network of a finished run with its published weights, on a device of this machine.

    Raises:
        UserError: where the run is not finished, its weights are gone, its class was not vouched for, or there is no
            such device.
    """
    return LoadedNetwork(loaded.run, loaded.config, loaded.model(device))


def load_split(subject: LoadedNetwork, split: str, elsewhere: Config | None = None) -> ImageDataset:
    """A split of the run's own data, or of that of another configuration, at the size the network takes.

    Raises:
        UserError: where the data cannot be had, or has no such split.
    """
    config = elsewhere or subject.config
    images = load_splits(replace(config.data, image_size=subject.config.data.image_size), config.runtime)[split]
    if not len(images):
        raise no_split(split)
    return images


def pictures_of(images: ImageDataset, photographs: Sequence[ImageRecord]) -> list[Picture]:
    """Photographs of a set, with their masks where the source has them."""
    return [Picture(p.name, images.pixels.read(p), p.crack, mask_of(images, p)) for p in photographs]


def mask_of(images: ImageDataset, photograph: ImageRecord) -> NDArray[np.bool_] | None:
    """Where the crack is, (S, S), if the source knows.

    A mask without any crack pixel says nothing of where a crack is, so a cracked photograph has none then.
    """
    mask = images.pixels.source.mask(photograph, images.pixels.image_size)
    return None if mask is not None and photograph.crack and not mask.any() else mask


def settings_among(words: Sequence[str]) -> list[str]:
    """Those of the words of a command that are settings, and not names of files."""
    return [word for word in words if "=" in word and not Path(word).is_file()]


def choose_pictures(subject: LoadedNetwork, words: Sequence[str]) -> tuple[list[Picture], list[Picture]]:
    """The pictures that a user asks for, and those to measure the maps on.

    Words are files, names of validation images, or settings of the run's data; without an image those that say
    most are taken.  Files can be looked at also where the run's data are gone: then they are what is measured.

    Raises:
        UserError: for a word that is none of these, or a file that is no image.
    """
    settings = settings_among(words)
    names = [word for word in words if word not in settings]
    files = [name for name in names if Path(name).is_file()]
    check_overrides(settings)
    images: ImageDataset | None = None
    try:
        images = load_split(subject, "valid", other_data(subject.run, settings) if settings else None)
    except UserError as error:
        if settings or not files or files != names:
            raise
        log.warning("maps are measured on the given photographs alone, since the run's data cannot be had: %s", error)
    pictures = [_picture(subject, name, images) for name in names]
    if images is None:
        return pictures, pictures
    classes = ([p for p in images.photographs if p.crack is crack] for crack in (True, False))
    measured_on = pictures_of(images, [p for members in classes for p in evenly(members, EACH)])
    return pictures or pictures_of(images, telling(subject.run, images)), measured_on


def _picture(subject: LoadedNetwork, name: str, images: ImageDataset | None) -> Picture:
    photographs = {photograph.name: photograph for photograph in images.photographs} if images else {}
    if images is not None and name in photographs:
        return pictures_of(images, [photographs[name]])[0]
    if not Path(name).is_file():
        raise UserError(f"{name}: is neither a file nor the name of one of the run's validation images")
    try:
        return Picture(name, to_pixels(name, subject.config.data.image_size))
    except BadImage as error:
        raise UserError(f"{name}: cannot be read ({error})") from None


def evenly(items: Sequence[ImageRecord], number: int) -> list[ImageRecord]:
    """So many of the items, evenly spaced."""
    if len(items) <= number:
        return list(items)
    return [items[i * len(items) // number] for i in range(number)]


def telling(run: Run, images: ImageDataset) -> list[ImageRecord]:
    """Validation images that say most about a run: a crack and a surface it is sure of, and its worst mistakes.

    Where it makes none, those it is least sure of.
    """
    predictions = read_predictions(run)
    logits = dict(zip(predictions.images, predictions.logits.tolist(), strict=True)) if predictions else {}
    known = [photograph for photograph in images.photographs if photograph.name in logits]
    cracks = sorted((p for p in known if p.crack), key=lambda p: logits[p.name])
    others = sorted((p for p in known if not p.crack), key=lambda p: -logits[p.name])
    chosen = [members[place] for members in (cracks, others) if members for place in (len(members) // 2, 0)]
    return list(dict.fromkeys(chosen)) or evenly(images.photographs, 4)
