"""The pointing game: whether a network looks at the crack when it says that there is one.

The strongest point of a saliency map is a hit where it lies on the object or within a tolerance of it (Zhang et
al., "Top-down neural attention by excitation backprop", ECCV 2016: 15 pixels, on photographs of about 500 a side).
The overlap is what Arras et al. call relevance rank accuracy ("CLEVR-XAI", Information Fusion 81, 2022): of as many
of the strongest points as the mask has pixels, the share that lies on the mask.

Neither sees a network that goes by something absent, such as a mark that only images without a crack have: it calls
everything else a crack. So each image is also shown as nothing but its mean colour, from where integrated gradients
start: where that is called a crack already, nothing in the image is the reason.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import max_pool2d

from crackdet.core.console import bar
from crackdet.core.errors import UserError, WriteFailed
from crackdet.data.dataset import ImageDataset
from crackdet.data.records import ImageRecord, image_digest
from crackdet.inference.evaluation import check_overrides, other_data
from crackdet.inspection.loaded_network import LoadedNetwork, Picture, evenly, load_split, mask_of
from crackdet.inspection.saliency import METHODS, TITLES, mean_colour, strongest_point
from crackdet.store.pointing import read_pointing, write_pointing
from crackdet.training.device import deterministic

log = logging.getLogger(__name__)

TOLERANCE = 15 / 500  # of a side
COVERED = 0.5  # share of random points that hit, above which the masks are likely to be wrong
LEVEL = 0.025  # probability of so many hits by chance, below which they are taken for none
BATCH = 16  # images
MOST_BLANK = 0.5  # share of the images that may be called a crack when they are blank

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class PointingScores:
    """Means over images, each 0 to 1."""

    pointing: float  # images whose strongest point is a hit
    overlap: float  # of the strongest points, as many as the mask has pixels, those on the mask


@dataclass(frozen=True)
class PointingResult:
    """What the pointing game gave."""

    cracks: int  # images with a crack and a mask: the others take no part
    tolerance: int  # pixels
    by_method: dict[str, PointingScores]
    chance: PointingScores  # of a random point, and of a random order
    blank: float  # images whose mean colour alone is called a crack
    luck: Sequence[float]  # probability of at least 0, 1, 2 ... hits by a random point in each image

    def above_chance(self, method: str) -> bool | None:
        """Whether the strongest point hits more often than random ones would; None where no number of hits said so."""
        if self.luck[-1] > LEVEL:
            return None
        return self.luck[round(self.by_method[method].pointing * self.cracks)] <= LEVEL

    def as_json(self) -> dict[str, Any]:
        return {
            "cracks": self.cracks,
            "blank": self.blank,
            "tolerance": self.tolerance,
            **{method: vars(shares) for method, shares in self.by_method.items()},
            "chance": vars(self.chance),
        }


def point(subject: LoadedNetwork, overrides: Sequence[str], split: str, most: int) -> list[str]:
    """Plays the pointing game on at most so many cracks of a split, and says what came of it.

    On validation images of the run itself the numbers are left with the run, for summaries.

    Raises:
        UserError: as `play`, and where the data cannot be had.
    """
    check_overrides(overrides)
    images = load_split(subject, split, other_data(subject.run, overrides) if overrides else None)
    cracks = [photograph for photograph in images.photographs if photograph.crack]
    game = play(subject, _with_masks(images, cracks, most))
    lines = [
        f"{subject.run.id}, {game.cracks} of {len(cracks)} images with a crack, {split} split, "
        f"tolerance {game.tolerance} pixels",
        *(f"{TITLES[name]}: {_shares(shares)}" for name, shares in game.by_method.items()),
        f"by chance: {_shares(game.chance)}",
        f"blank: {game.blank:.3f} of the images are called a crack for their mean colour alone",
    ]
    above = {TITLES[name]: game.above_chance(name) for name in game.by_method}
    blind = [title for title, is_above in above.items() if is_above is False]
    if game.chance.pointing > COVERED:
        lines.append("the masks cover most of the images, so that any point hits: is the crack white in them?")
    elif None in above.values():
        lines.append("these are too few images to tell from chance")
    elif blind:
        lines.append(
            f"{' and '.join(blind)}: no better than chance, so the run may go by something else than the crack"
        )
    if game.blank > MOST_BLANK:
        lines.append("what is blank is called a crack; the run may go by something that only images without one have")
    result = subject.run.snapshot().result or {}
    if split == "valid" and image_digest(images.photographs) == result.get("valid_digest"):
        lines += _recorded(subject, game, game.cracks == most)
    return lines


def _with_masks(images: ImageDataset, cracks: Sequence[ImageRecord], most: int) -> list[Picture]:
    """At most so many that have a mask, evenly spaced where all have one."""
    first = evenly(cracks, most)
    others = sorted(set(cracks) - set(first), key=lambda photograph: photograph.digest)  # neighbours may be alike
    found: list[Picture] = []
    for photograph in [*first, *others]:
        if (mask := mask_of(images, photograph)) is not None:
            found.append(Picture(photograph.name, images.pixels.read(photograph), photograph.crack, mask))
            if len(found) == most:
                break
    return found


def _recorded(subject: LoadedNetwork, game: PointingResult, is_sample: bool) -> list[str]:
    """Leaves the game with its run, unless it is a sample and one of more images is there; what is to be said of it."""
    known = read_pointing(subject.run).get("pointing_images", 0)
    if is_sample and known > game.cracks:
        return [f"the run keeps what {known:.0f} images have given"]
    try:
        write_pointing(subject.run, game.as_json())
    except WriteFailed as error:
        log.warning("%s", error)
    return []


def _shares(shares: PointingScores) -> str:
    return f"pointing {shares.pointing:.3f}, overlap {shares.overlap:.3f}"


@deterministic()
def play(subject: LoadedNetwork, pictures: Sequence[Picture]) -> PointingResult:
    """The pointing game over the pictures that have a crack and its mask.

    Raises:
        UserError: where none has, or the images are too small for the network.
    """
    pictures = [p for p in pictures if p.crack and p.mask is not None and p.mask.any()]
    if not pictures:
        raise UserError(
            "the pointing game needs masks of the cracks, and the images have none; drawn ones do, and photographs "
            "where data.masks names a folder of them: crackdet pointing RUN data.masks=FOLDER"
        )
    masks = [p.mask for p in pictures if p.mask is not None]
    reach = tolerance(masks[0].shape[0])
    targets = [widened(mask, reach) for mask in masks]
    played: dict[str, list[tuple[bool, float]]] = {name: [] for name in METHODS}
    blank = 0
    with bar("looking where it looks", len(pictures), told=True) as progress:
        for start in range(0, len(pictures), BATCH):
            images = subject.tensor(pictures[start : start + BATCH])
            blank += blank_cracks(subject, images)
            for name, method in METHODS.items():
                for saliency in method(subject.model, images).cpu():
                    place = len(played[name])
                    played[name].append((hits(saliency, targets[place]), overlap(saliency, masks[place])))
            progress.advance(len(images))
    by_chance = np.array([target.mean() for target in targets])
    return PointingResult(
        len(pictures),
        reach,
        {
            name: PointingScores(
                float(np.mean([hit for hit, _ in pairs])), float(np.mean([share for _, share in pairs]))
            )
            for name, pairs in played.items()
        },
        PointingScores(float(by_chance.mean()), float(np.mean([mask.mean() for mask in masks]))),
        blank / len(pictures),
        luck(by_chance.tolist()),
    )


def luck(chances: Sequence[float]) -> list[float]:
    """The probabilities of at least 0, 1, 2 ... of independent events: the tails of a Poisson binomial distribution."""
    exactly = np.ones(1)
    for chance in chances:
        exactly = np.convolve(exactly, [1 - chance, chance])
    return [float(value) for value in exactly[::-1].cumsum()[::-1]]


@torch.no_grad()
def blank_cracks(subject: LoadedNetwork, images: Tensor) -> int:
    """How many of the images (N, 3, S, S) are called a crack when nothing is left of them but their mean colour."""
    return int((subject.model(mean_colour(images)) > 0).sum())


def tolerance(image_size: int) -> int:
    """Pixels by which a point may miss the crack; at least one."""
    return max(1, round(TOLERANCE * image_size))


def widened(mask: Mask, reach: int) -> Mask:
    """The mask with all that lies within so many pixels of it, up, down and aslant."""
    grown = max_pool2d(torch.from_numpy(mask).float()[None, None], 2 * reach + 1, stride=1, padding=reach)
    return np.asarray(grown[0, 0].numpy() > 0)


def hits(saliency: Tensor, target: Mask) -> bool:
    """Whether the strongest point of a saliency (S, S) lies on the target; without any evidence it does not."""
    point = strongest_point(saliency)
    return point is not None and bool(target[point])


def overlap(saliency: Tensor, mask: Mask) -> float:
    """Of the k strongest points, those on the mask, where k is the mask's size; ties count by their share."""
    on_mask = torch.from_numpy(mask).flatten()
    values, size = saliency.flatten(), int(on_mask.sum())
    least = values.topk(size).values[-1]
    above, level = values > least, values == least
    open_places = (size - above.sum()) / level.sum()
    return float(((above & on_mask).sum() + open_places * (level & on_mask).sum()) / size)
