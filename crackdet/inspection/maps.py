"""Measure how well each feature map separates cracks, over many images.

The score is the area under the ROC curve: the probability that a crack pixel has a higher activation than another
pixel (Hanley and McNeil, "The meaning and use of the area under a ROC curve", Radiology 143, 1982). Without masks it
is computed over images, each represented by its highest activation.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import adaptive_max_pool2d

from crackdet.inspection.layers import Layer, capture
from crackdet.inspection.loaded_network import LoadedNetwork, Sample
from crackdet.metrics.torch_metrics import roc_auc

MAX_CELLS = 50_000  # per map, sampled from all images: more change the third decimal
BATCH = 8  # images: the maps of a first convolution are large
TAIL = 0.001  # share of cells beyond the brightest colour

Values = NDArray[np.float32]


class Basis(StrEnum):
    """What the maps of a layer are scored by."""

    PIXELS = "pixels"  # crack pixels against other pixels
    IMAGES = "images"  # images with a crack against images without
    SPREAD = "spread"  # standard deviation, if no labels are known


@dataclass(frozen=True)
class MapStatistics:
    """Statistics of the maps of one layer over many images; arrays have one value per map."""

    layer: Layer
    basis: Basis
    score: Values  # ROC-AUC (0.5 to 1 for pixels), or standard deviation
    increases: NDArray[np.bool_]  # whether a crack raises the activation, else lowers it
    median: Values
    extreme: Values  # the tail quantile in the direction of a crack
    dead: NDArray[np.bool_]  # constant over all cells of all images

    def ranked(self) -> list[int]:
        """Return the numbers of the maps that are not dead, best score first."""
        return [int(n) for n in np.argsort(-self.score, kind="stable") if not self.dead[n]]

    def intensity(self, values: NDArray[np.float32], number: int) -> NDArray[np.float32]:
        """Scale the cells (H, W) of map `number`: 0 at its median or beyond it, 1 at its extreme."""
        span = float(self.extreme[number] - self.median[number])
        return np.asarray(np.clip((values - self.median[number]) / (span or 1.0), 0.0, 1.0), dtype=np.float32)


def measure_maps(network: LoadedNetwork, layers: Sequence[Layer], samples: Sequence[Sample]) -> list[MapStatistics]:
    """Return the statistics of each layer over the samples."""
    has_masks = any(sample.crack_mask is not None for sample in samples)
    labels = {sample.crack for sample in samples} - {None}
    basis = Basis.PIXELS if has_masks else Basis.IMAGES if len(labels) == 2 else Basis.SPREAD
    if basis is Basis.PIXELS:
        samples = [sample for sample in samples if sample.mask is not None or sample.crack is False]
    activations: dict[str, list[_Activations]] = {layer.name: [] for layer in layers}
    crack_shares: dict[tuple[int, ...], float] = {}  # share of crack cells that is kept, the same in all batches
    for batch in (samples[start : start + BATCH] for start in range(0, len(samples), BATCH)):
        for name, maps in capture(network.model, layers, network.tensor(batch)).items():
            grid, count = tuple(maps.shape[2:]), MAX_CELLS // len(samples) * len(batch)
            if grid not in crack_shares:
                crack_shares[grid] = min(1.0, MAX_CELLS / max(1, int(_is_crack_cell(samples, grid).sum())))
            kept = _subsample(maps.float().cpu(), _is_crack_cell(batch, grid), count, crack_shares[grid])
            activations[name].append(kept)
    return [_statistics(layer, basis, activations[layer.name], samples) for layer in layers if activations[layer.name]]


class _Activations(NamedTuple):
    """The activations kept from a batch of maps."""

    cells: Tensor  # (n, C), a random subset of cells
    background: Tensor  # (n, C), those of the subset that are not on a crack
    crack: Tensor  # (n, C), all crack cells or a share of them: cracks are thin, and the subset would miss them
    highest: Tensor  # (N, C), per image
    lowest: Tensor


def _is_crack_cell(samples: Sequence[Sample], grid: Sequence[int]) -> Tensor:
    """Return which cells of all samples, flattened, contain a crack pixel."""
    size = samples[0].pixels.shape[0]
    masks = np.stack([np.zeros((size, size), bool) if s.mask is None else s.mask for s in samples])
    return adaptive_max_pool2d(torch.from_numpy(masks).float()[:, None], list(grid)).flatten() > 0


def _subsample(maps: Tensor, is_crack: Tensor, count: int, crack_share: float) -> _Activations:
    """Keep `count` cells of all maps at the same positions, and a share of the crack cells."""
    cells = maps.permute(0, 2, 3, 1).flatten(0, 2)
    order = torch.randperm(len(cells), generator=torch.Generator().manual_seed(0))
    subset = order[:count]
    crack = order[is_crack[order]][: math.ceil(crack_share * int(is_crack.sum()))]
    background = cells[subset[~is_crack[subset]]]
    return _Activations(cells[subset], background, cells[crack], maps.amax((2, 3)), maps.amin((2, 3)))


def _statistics(
    layer: Layer, basis: Basis, activations: Sequence[_Activations], samples: Sequence[Sample]
) -> MapStatistics:
    cells, background, crack, highest, lowest = map(torch.cat, zip(*activations, strict=True))
    if basis is Basis.PIXELS:
        rising = _roc_aucs(torch.cat([crack, background]), torch.arange(len(crack) + len(background)) < len(crack))
        falling = 1 - rising
    elif basis is Basis.IMAGES:
        labels = torch.tensor([sample.crack is True for sample in samples])
        rising, falling = _roc_aucs(highest, labels), _roc_aucs(-lowest, labels)
    else:
        rising, falling = cells.std(0), torch.full((cells.shape[1],), -1.0)
    increases = (rising >= falling).numpy()
    bottom, median, top = np.quantile(cells.numpy(), [TAIL, 0.5, 1 - TAIL], axis=0)
    top = np.where(top > median, top, highest.amax(0).numpy())  # for a map that is nearly constant
    bottom = np.where(bottom < median, bottom, lowest.amin(0).numpy())
    return MapStatistics(
        layer,
        basis,
        torch.maximum(rising, falling).numpy(),
        increases,
        median.astype(np.float32),
        np.where(increases, top, bottom).astype(np.float32),
        (highest.amax(0) == lowest.amin(0)).numpy(),
    )


def _roc_aucs(values: Tensor, positive: Tensor) -> Tensor:
    """Return the ROC-AUC of each column of values (n, C)."""
    return torch.tensor([roc_auc(column, positive) for column in values.T])
