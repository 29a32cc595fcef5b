"""The pointing game: does the network look at the crack when it predicts one?

The strongest point of a saliency map is a hit if it lies on the object or within a tolerance of it (Zhang et al.,
"Top-down neural attention by excitation backprop", ECCV 2016: 15 pixels on images of about 500 a side). The overlap is
the relevance rank accuracy of Arras et al. ("CLEVR-XAI", Information Fusion 81, 2022): of the k strongest points, where
k is the number of mask pixels, the share on the mask.

Neither detects a network that relies on something absent, such as a mark that only images without a crack carry. So
each image is also classified as its mean colour alone, the baseline of integrated gradients: if that is already
classified as a crack, nothing in the image is the reason.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import max_pool2d

from crackdet.core.console import bar
from crackdet.core.errors import UserError, WriteFailed
from crackdet.data.dataset import ImageDataset
from crackdet.data.records import ImageRecord, image_digest
from crackdet.inspection.loaded_network import LoadedNetwork, Sample
from crackdet.inspection.saliency import METHODS, TITLES, mean_colour, strongest_point
from crackdet.inspection.samples import evenly_spaced, load_split, read_mask
from crackdet.store.pointing import read_pointing, write_pointing
from crackdet.training.device import deterministic

log = logging.getLogger(__name__)

TOLERANCE = 15 / 500  # of a side
MAX_CHANCE = 0.5  # hit rate of random points above which the masks are probably wrong
SIGNIFICANCE = 0.025
BATCH = 16  # images
MAX_BLANK = 0.5  # share of blank images classified as cracks above which the run is suspicious

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class PointingScores:
    """Means over images, from 0 to 1."""

    pointing: float  # images whose strongest point is a hit
    overlap: float  # relevance rank accuracy

    def __str__(self) -> str:
        return f"pointing {self.pointing:.3f}, overlap {self.overlap:.3f}"


@dataclass(frozen=True)
class PointingResult:
    cracks: int  # images that have a crack and a mask
    tolerance: int  # pixels
    by_method: dict[str, PointingScores]
    chance: PointingScores  # of a random point and a random order
    blank: float  # share of images that are classified as cracks from their mean colour alone
    chance_tail: Sequence[float]  # probability that random points hit in at least 0, 1, 2 ... images

    def above_chance(self, method: str) -> bool | None:
        """Return whether a method hits significantly more often than random points; None if no hit rate would."""
        if self.chance_tail[-1] > SIGNIFICANCE:
            return None
        return self.chance_tail[round(self.by_method[method].pointing * self.cracks)] <= SIGNIFICANCE


def run_pointing(network: LoadedNetwork, overrides: Sequence[str], split: str, max_images: int) -> list[str]:
    """Play the pointing game on cracks of a split, and return the lines to print.

    The result is recorded with the run if the images are its own validation images.

    Raises:
        UserError: If the data is not available; and as for `score_pointing`.
    """
    images = load_split(network, split, overrides)
    cracks = [record for record in images.records if record.crack]
    result = score_pointing(network, _samples_with_mask(images, cracks, max_images))
    lines = [
        f"{network.run.id}, {result.cracks} of {len(cracks)} images with a crack, {split} split, "
        f"tolerance {result.tolerance} pixels",
        *_describe(result),
    ]
    run_result = network.run.snapshot().result or {}
    if split == "valid" and image_digest(images.records) == run_result.get("valid_digest"):
        lines += _record(network, result, is_subset=result.cracks == max_images)
    return lines


def _describe(result: PointingResult) -> list[str]:
    lines = [
        *(f"{TITLES[name]}: {scores}" for name, scores in result.by_method.items()),
        f"by chance: {result.chance}",
        f"blank: {result.blank:.3f} of the images are classified as cracks from their mean colour alone",
    ]
    above = {TITLES[name]: result.above_chance(name) for name in result.by_method}
    at_chance = [title for title, is_above in above.items() if is_above is False]
    if result.chance.pointing > MAX_CHANCE:
        lines.append(
            "a random point hits in most images, so pointing tells little: check that the masks show the cracks alone; "
            "boxes around thin cracks are mostly background"
        )
    elif None in above.values():
        lines.append("too few images to distinguish from chance")
    elif at_chance:
        lines.append(f"{' and '.join(at_chance)}: no better than chance; the network may not rely on the crack")
    if result.blank > MAX_BLANK:
        lines.append("blank images are classified as cracks; the network may rely on features only other images have")
    return lines


def _samples_with_mask(images: ImageDataset, cracks: Sequence[ImageRecord], max_images: int) -> list[Sample]:
    """Return at most `max_images` samples that have a mask, evenly spaced if all have one."""
    first = evenly_spaced(cracks, max_images)
    others = sorted(set(cracks) - set(first), key=lambda record: record.digest)  # neighbours may be similar
    samples: list[Sample] = []
    for record in [*first, *others]:
        if (mask := read_mask(images, record)) is not None:
            samples.append(Sample(record.name, images.pixels.read(record), record.crack, mask))
            if len(samples) == max_images:
                break
    return samples


def _record(network: LoadedNetwork, result: PointingResult, is_subset: bool) -> list[str]:
    """Record the result with its run, unless a result of more images is there; return a line if it was not."""
    recorded = read_pointing(network.run).get("pointing_images", 0)
    if is_subset and recorded > result.cracks:
        return [f"not recorded: the run keeps its result on {recorded:.0f} images"]
    scores = {**result.by_method, "chance": result.chance}
    content = {"cracks": result.cracks, "blank": result.blank, "tolerance": result.tolerance}
    try:
        write_pointing(network.run, content | {name: asdict(means) for name, means in scores.items()})
    except WriteFailed as error:
        log.warning("%s", error)
    return []


@deterministic()
def score_pointing(network: LoadedNetwork, samples: Sequence[Sample]) -> PointingResult:
    """Play the pointing game on the samples that have a crack and its mask.

    Raises:
        UserError: If no sample has a mask, or the images are too small for the network.
    """
    masked = [(s, s.crack_mask) for s in samples if s.crack and s.crack_mask is not None]
    if not masked:
        raise UserError(
            "the pointing game needs masks of the cracks, and these images have none; name a folder of masks: "
            "crackdet pointing RUN data.masks=FOLDER (synthetic images have masks)"
        )
    samples, masks = zip(*masked, strict=True)
    tolerance = tolerance_pixels(masks[0].shape[0])
    targets = [dilate(mask, tolerance) for mask in masks]
    scores: dict[str, list[tuple[bool, float]]] = {name: [] for name in METHODS}
    blank = 0
    with bar("computing saliency", len(samples), log_progress=True) as progress:
        for start in range(0, len(samples), BATCH):
            images = network.tensor(samples[start : start + BATCH])
            with torch.no_grad():
                blank += int((network.model(mean_colour(images)) > 0).sum())
            for name, method in METHODS.items():
                for index, saliency in enumerate(method(network.model, images).cpu(), start):
                    scores[name].append((is_hit(saliency, targets[index]), overlap(saliency, masks[index])))
            progress.advance(len(images))
    chances = np.array([target.mean() for target in targets])
    return PointingResult(
        len(samples),
        tolerance,
        {name: PointingScores(*np.mean(pairs, axis=0).tolist()) for name, pairs in scores.items()},
        PointingScores(float(chances.mean()), float(np.mean([mask.mean() for mask in masks]))),
        blank / len(samples),
        poisson_binomial_tail(chances.tolist()),
    )


def poisson_binomial_tail(probabilities: Sequence[float]) -> list[float]:
    """Return the probabilities that at least 0, 1, 2 ... of the independent events occur."""
    exactly: NDArray[np.float64] = np.ones(1)
    for probability in probabilities:
        exactly = np.convolve(exactly, [1 - probability, probability])
    return list(map(float, exactly[::-1].cumsum()[::-1]))


def tolerance_pixels(image_size: int) -> int:
    """Return how far from the crack a hit may lie; at least one pixel."""
    return max(1, round(TOLERANCE * image_size))


def dilate(mask: Mask, radius: int) -> Mask:
    """Return the mask extended by `radius` pixels in all directions, diagonals included."""
    grown = max_pool2d(torch.from_numpy(mask).float()[None, None], 2 * radius + 1, stride=1, padding=radius)
    return np.asarray(grown[0, 0].numpy() > 0)


def is_hit(saliency: Tensor, target: Mask) -> bool:
    """Return whether the strongest point of a saliency map (S, S) lies on the target; False without any evidence."""
    point = strongest_point(saliency)
    return point is not None and bool(target[point])


def overlap(saliency: Tensor, mask: Mask) -> float:
    """Return the share of the k strongest points on the mask, where k is its size; ties count proportionally."""
    on_mask = torch.from_numpy(mask).flatten()
    values, size = saliency.flatten(), int(on_mask.sum())
    threshold = values.topk(size).values[-1]
    above, tied = values > threshold, values == threshold
    tied_share = (size - above.sum()) / tied.sum()
    return float(((above & on_mask).sum() + tied_share * (tied & on_mask).sum()) / size)
