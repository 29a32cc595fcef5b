"""Tests that permute the labels of whole groups, and samples of whole groups."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

PERMUTATIONS = 99
ENOUGH_EXCEEDED = 20  # permutations after which the p-value is clearly not small (Besag and Clifford 1991)


def permute_labels(
    labels: NDArray[np.bool_], codes: NDArray[np.int64], generator: np.random.Generator
) -> NDArray[np.bool_]:
    """Return labels that are independent of everything but the groups.

    The labels are lined up group by group, and are given to the images group by group in another order; the order of
    the groups, and that within a group, are random. So groups of one class stay groups of one class, if they have the
    same size, and images without a common group are permuted freely.
    """
    permuted = np.empty_like(labels)
    permuted[_in_group_order(codes, generator)] = labels[_in_group_order(codes, generator)]
    return permuted


def permutation_p_value(
    statistic: Callable[[NDArray[np.bool_]], float], labels: NDArray[np.bool_], codes: NDArray[np.int64]
) -> float:
    """Return how probable it is that a statistic of permuted labels is as large as that of the labels."""
    generator = np.random.default_rng(0)
    observed, exceeded = statistic(labels), 0
    for number in range(1, PERMUTATIONS + 1):
        exceeded += statistic(permute_labels(labels, codes, generator)) >= observed
        if exceeded >= ENOUGH_EXCEEDED:
            return exceeded / number
    return (1 + exceeded) / (1 + PERMUTATIONS)


def sample_groups(codes: NDArray[np.int64], max_images: int) -> NDArray[np.int64]:
    """Return the positions of at most so many images, of whole random groups; of two groups at least."""
    sizes = np.bincount(codes)
    order = np.random.default_rng(0).permutation(len(sizes))
    number = max(int((np.cumsum(sizes[order]) <= max_images).sum()), 2)
    return np.flatnonzero(np.isin(codes, order[:number]))


def _in_group_order(codes: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.int64]:
    """Return the positions of the images group by group, otherwise in random order."""
    of_group, of_image = generator.permutation(codes.max() + 1), generator.random(len(codes))
    return np.lexsort((of_image, of_group[codes]))
