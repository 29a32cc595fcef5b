"""How many observations (images, or groups) can show a difference between networks. Imports neither NumPy nor SciPy."""

import math

ALPHA = 0.05  # significance level of all tests


def min_observations(comparisons: int) -> int:
    """Return how many observations can make one of so many comparisons significant.

    If two networks differ on n observations, p is at least 2^(1 - n); the correction multiplies the smallest p-value by
    the number of comparisons.
    """
    return math.floor(math.log2(comparisons / ALPHA)) + 2


MIN_OBSERVATIONS = min_observations(1)  # 6; with fewer of each class, chance may not be excluded either
