"""A descriptor of images that needs no trained weights: dark and bright lines, edges, texture and grey levels.

Cracks are thin dark lines, so most features are statistics of ridge filters: the eigenvalues of the Hessian of the grey
levels, as in Frangi et al., "Multiscale vessel enhancement filtering" (1998). The texture features are the
rotation-invariant uniform local binary patterns of Ojala et al., "Multiresolution gray-scale and rotation invariant
texture classification with local binary patterns" (2002).
"""

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
from numpy.typing import NDArray

from crackdet.core.machine import num_cores

SIDE = 128  # pixels; every image is resized to this square
LEVELS = 4  # of the image pyramid: 128, 64, 32 and 16 pixels
SIGMA = 1.0  # pixels, of the smoothing before derivatives
NUM_BINS = 8  # of the histogram of orientations
NUM_PATTERNS = 10  # of local binary patterns: 0 to 8 bright neighbours of a uniform pattern, and all others
GREY_SHARES = np.array([0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999])
FILTER_SHARES = np.array([0.5, 0.9, 0.97, 0.99, 0.999])
SMALLEST = 1e-4  # before a logarithm

Floats = NDArray[np.float32]


def describe_batch(images: NDArray[np.uint8]) -> Floats:
    """Return the features, (N, 282), of RGB images (N, height, width, 3)."""
    with ThreadPoolExecutor(num_cores()) as pool:  # NumPy and OpenCV release the GIL
        return np.stack(list(pool.map(describe, images)))


def describe(image: NDArray[np.uint8]) -> Floats:
    """Return the features, (282,), of an RGB image (height, width, 3)."""
    is_larger = min(image.shape[:2]) > SIDE
    interpolation = cv2.INTER_AREA if is_larger else cv2.INTER_LINEAR
    small = cv2.resize(image, (SIDE, SIDE), interpolation=interpolation)
    colour = np.asarray(small, np.float32) / np.float32(255)
    grey = np.asarray(cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY), np.float32)
    features = [_colours(colour), _grey_levels(grey)]
    level = grey
    for number in range(LEVELS):
        if number:
            half = (level.shape[1] // 2, level.shape[0] // 2)
            level = np.asarray(cv2.resize(level, half, interpolation=cv2.INTER_AREA), np.float32)
        smooth = np.asarray(cv2.GaussianBlur(level, (0, 0), SIGMA), np.float32)
        features += [_ridges(smooth), _edges(smooth), _patterns(level)]
    return np.concatenate(features, dtype=np.float32)


def _colours(image: Floats) -> Floats:
    red, green, blue = (image[..., channel] for channel in range(3))
    means = image.mean(axis=(0, 1))
    spreads = [channel.std() for channel in (red, green, blue, red - green, green - blue)]
    return np.array([*means, *spreads], np.float32)


def _grey_levels(grey: Floats) -> Floats:
    levels = _quantiles(grey, GREY_SHARES)
    return np.concatenate([levels, levels - np.median(levels)])


def _ridges(smooth: Floats) -> Floats:
    """Return statistics of dark lines and of bright lines."""
    inner = smooth[1:-1, 1:-1]
    xx = smooth[1:-1, 2:] + smooth[1:-1, :-2] - 2 * inner
    yy = smooth[2:, 1:-1] + smooth[:-2, 1:-1] - 2 * inner
    xy = (smooth[2:, 2:] + smooth[:-2, :-2] - smooth[2:, :-2] - smooth[:-2, 2:]) / 4
    mean, radius = (xx + yy) / 2, np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    features = []
    for strength in (mean + radius, radius - mean):
        spread = strength.std() + SMALLEST
        levels = _quantiles(strength.astype(np.float32), FILTER_SHARES)
        features += [levels, _log(levels), levels[2:] / spread, [np.log(spread)]]
    return np.concatenate(features, dtype=np.float32)


def _edges(smooth: Floats) -> Floats:
    """Return a histogram of the directions of edges, also sorted and thus without the rotation, and their strength."""
    x, y = smooth[1:-1, 2:] - smooth[1:-1, :-2], smooth[2:, 1:-1] - smooth[:-2, 1:-1]
    strength = np.sqrt(x**2 + y**2)
    direction = np.arctan2(y, x) % np.pi  # an edge has no sign
    bins = np.minimum((direction * (NUM_BINS / np.pi)).astype(np.intp), NUM_BINS - 1)
    sums = np.bincount(bins.ravel(), strength.ravel(), NUM_BINS)
    histogram = sums / (sums.sum() + SMALLEST * strength.size)
    levels = _quantiles(strength, FILTER_SHARES)
    return np.concatenate([histogram, np.sort(histogram), levels, _log(levels)], dtype=np.float32)


def _patterns(grey: Floats) -> Floats:
    """Return the shares of local binary patterns of the eight neighbours."""
    height, width = grey.shape[0] - 2, grey.shape[1] - 2
    centre = grey[1:-1, 1:-1]
    circle = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))
    brighter = np.stack([grey[top : top + height, left : left + width] >= centre for top, left in circle])
    changes = (brighter != np.roll(brighter, 1, axis=0)).sum(axis=0)
    patterns = np.where(changes <= 2, brighter.sum(axis=0), NUM_PATTERNS - 1)
    return (np.bincount(patterns.ravel(), minlength=NUM_PATTERNS) / patterns.size).astype(np.float32)


def _quantiles(values: Floats, shares: NDArray[np.float64]) -> Floats:
    ordered = np.sort(values, axis=None)
    return ordered[(shares * ordered.size).astype(np.intp)]


def _log(values: Floats) -> Floats:
    return np.log(np.maximum(values, SMALLEST))
