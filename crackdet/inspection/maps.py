"""How well each feature map tells cracks, measured over many images.

The measure is the area under the ROC curve: the probability that a pixel of a crack gets a stronger answer
than a pixel beside it (Hanley and McNeil, "The meaning and use of the area under a ROC curve", Radiology 143,
1982). Without masks it is taken over images, each by the strongest answer anywhere in it.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import adaptive_max_pool2d

from crackdet.inspection.layers import Layer, capture
from crackdet.inspection.loaded_network import LoadedNetwork, Picture
from crackdet.metrics.torch_metrics import roc_auc

CELLS = 50_000  # of each map, drawn from all images: more change the third decimal
BATCH = 8  # images: the maps of a first convolution are large
TAIL = 0.001  # the share of cells that may be brighter than the brightest colour

Values = NDArray[np.float32]


class Basis(StrEnum):
    """What the maps of a layer are ordered by."""

    PIXELS = "pixels"  # of cracks against those beside them
    IMAGES = "images"  # with a crack against those without
    SPREAD = "spread"  # of their values, where nothing is known of cracks


@dataclass(frozen=True)
class MapStatistics:
    """The maps of one layer over many images; arrays have one value for each map."""

    layer: Layer
    basis: Basis
    score: Values  # ROC-AUC, 0.5 to 1 by pixels; or the spread
    rises: NDArray[np.bool_]  # whether a crack makes it stronger; else weaker
    usual: Values  # its median
    extreme: Values  # how far it goes in the direction of a crack
    dead: NDArray[np.bool_]  # the same value everywhere in every image

    def strongest(self) -> list[int]:
        """The numbers of the maps that live, the best first."""
        return [int(n) for n in np.argsort(-self.score, kind="stable") if not self.dead[n]]

    def intensity(self, values: NDArray[np.float32], number: int) -> NDArray[np.float32]:
        """How crack-like map `number` finds each cell (H, W): 0 as usual or the other way, 1 as far as it goes."""
        reach = float(self.extreme[number] - self.usual[number])
        return np.asarray(np.clip((values - self.usual[number]) / (reach or 1.0), 0.0, 1.0), dtype=np.float32)


def measure_maps(subject: LoadedNetwork, layers: Sequence[Layer], pictures: Sequence[Picture]) -> list[MapStatistics]:
    """The statistics of each layer over the pictures."""
    masked = any(p.mask is not None and p.mask.any() for p in pictures)
    kinds = {p.crack for p in pictures} - {None}
    basis = Basis.PIXELS if masked else Basis.IMAGES if len(kinds) == 2 else Basis.SPREAD
    if basis is Basis.PIXELS:
        pictures = [p for p in pictures if p.mask is not None or p.crack is False]
    samples: dict[str, list[_Sample]] = {layer.name: [] for layer in layers}
    shares: dict[tuple[int, ...], float] = {}  # of the cells on cracks, the same in all batches
    for batch in _batches(pictures):
        for name, maps in capture(subject.model, layers, subject.tensor(batch)).items():
            grid = tuple(maps.shape[2:])
            if grid not in shares:
                shares[grid] = min(1.0, CELLS / max(1, int(_on_crack(pictures, grid).sum())))
            number = CELLS // len(pictures) * len(batch)
            samples[name].append(_sample(maps.float().cpu(), _on_crack(batch, grid), number, shares[grid]))
    return [_judge(layer, basis, samples[layer.name], pictures) for layer in layers if samples[layer.name]]


@dataclass(frozen=True)
class _Sample:
    """What is kept of a batch of maps."""

    cells: Tensor  # (n, C), some of the cells
    sound: Tensor  # (n, C), those of them that do not lie on a crack
    cracked: Tensor  # (n, C), all that do, or a share of them: cracks are thin, and would be missed
    highest: Tensor  # (N, C), of each image
    lowest: Tensor


def _batches(pictures: Sequence[Picture]) -> Iterator[Sequence[Picture]]:
    for start in range(0, len(pictures), BATCH):
        yield pictures[start : start + BATCH]


def _on_crack(pictures: Sequence[Picture], grid: Sequence[int]) -> Tensor:
    """Which cells of the pictures, one after the other, are cracked: where any of their pixels is."""
    size = pictures[0].pixels.shape[0]
    masks = np.stack([np.zeros((size, size), bool) if p.mask is None else p.mask for p in pictures])
    return adaptive_max_pool2d(torch.from_numpy(masks).float()[:, None], list(grid)).flatten() > 0


def _sample(maps: Tensor, on_crack: Tensor, number: int, share: float) -> _Sample:
    """So many cells of all maps at the same places, and a share of those that are cracked."""
    cells = maps.permute(0, 2, 3, 1).flatten(0, 2)
    order = torch.randperm(len(cells), generator=torch.Generator().manual_seed(0))
    some = order[:number]
    cracked = order[on_crack[order]][: math.ceil(share * int(on_crack.sum()))]
    return _Sample(cells[some], cells[some[~on_crack[some]]], cells[cracked], maps.amax((2, 3)), maps.amin((2, 3)))


def _judge(layer: Layer, basis: Basis, samples: Sequence[_Sample], pictures: Sequence[Picture]) -> MapStatistics:
    cells = torch.cat([sample.cells for sample in samples])
    highest = torch.cat([sample.highest for sample in samples])
    lowest = torch.cat([sample.lowest for sample in samples])
    if basis is Basis.PIXELS:
        cracked, sound = (torch.cat([getattr(one, kind) for one in samples]) for kind in ("cracked", "sound"))
        rising = _areas(torch.cat([cracked, sound]), torch.arange(len(cracked) + len(sound)) < len(cracked))
        falling = 1 - rising
    elif basis is Basis.IMAGES:
        labels = torch.tensor([p.crack is True for p in pictures])
        rising, falling = _areas(highest, labels), _areas(-lowest, labels)
    else:
        rising, falling = cells.std(0), torch.full((cells.shape[1],), -1.0)
    rises = rising >= falling
    array = cells.numpy()
    usual = np.median(array, axis=0)
    top, bottom = np.quantile(array, [1 - TAIL, TAIL], axis=0)
    top = np.where(top > usual, top, highest.amax(0).numpy())  # of a map that answers to next to nothing
    bottom = np.where(bottom < usual, bottom, lowest.amin(0).numpy())
    return MapStatistics(
        layer,
        basis,
        torch.maximum(rising, falling).numpy(),
        rises.numpy(),
        usual.astype(np.float32),
        np.where(rises.numpy(), top, bottom).astype(np.float32),
        (highest.amax(0) == lowest.amin(0)).numpy(),
    )


def _areas(values: Tensor, positive: Tensor) -> Tensor:
    """ROC-AUC of each column of values (n, C)."""
    return torch.tensor([roc_auc(column, positive) for column in values.T])
