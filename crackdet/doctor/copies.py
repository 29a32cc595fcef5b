"""Near-duplicates: photographs that show the same place, mirrored, rotated, re-encoded, shifted or cropped.

Candidates are photographs that share several local features, found by an inverted file index (faiss; Jegou, Douze and
Schmid, "Product quantization for nearest neighbor search", TPAMI 2011). A candidate is a copy if one photograph, moved
over the other by the similarity transform of the features (RANSAC), has the same texture.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import faiss
import numpy as np
from numpy.typing import NDArray

from crackdet.core.machine import num_cores
from crackdet.core.threads import thread_map
from crackdet.data.decode import BadImage
from crackdet.doctor.local_features import MIRRORED, Features, find_features, texture
from crackdet.doctor.photographs import Photograph

MAX_SIDE = 320  # pixels at which photographs are compared
NEIGHBOURS = 6  # of a feature
MAX_DISTANCE = 0.35  # squared, between RootSIFT descriptors of one feature
MIN_SHARED = 3  # features of a candidate
MATCH_DISTANCE, MIN_MATCHES = 0.45, 4  # squared, and number of features that agree with one transform
RANSAC_PIXELS = 3.0
MIN_SCALE, MAX_SCALE = 0.5, 2.0  # between two photographs
MIN_OVERLAP = 0.2  # of the smaller photograph
MIN_CORRELATION = 0.6  # of the textures where two photographs overlap; other pairs of concrete are below 0.5
SAME_OVERLAP, SAME_SCALE = 0.97, 0.02  # from which two photographs show the same extent
CACHED_PHOTOGRAPHS = 4096
PROBES = 6  # lists of the index that are searched
TRAINED_PER_LIST = 40
BLOCK = 2**17  # descriptors that are in single precision at a time

Candidate = tuple[int, int, bool]  # positions of two photographs, and whether one is mirrored


@dataclass(frozen=True)
class CopyPair:
    """Two photographs, by position, that show the same place."""

    first: int
    second: int
    kind: str  # such as `mirrored, cropped`
    overlap: float  # share of the smaller photograph that both show
    correlation: float  # of the textures there, from -1 to 1


def find_copies(photographs: Sequence[Photograph]) -> list[CopyPair]:
    """Return all pairs of near-duplicates, identical files included; photographs that cannot be read are ignored.

    Identical files are not paired with each other but with one of them, a photograph of the training split if there is
    any. So each photograph that shows the place of a training photograph is in a pair with a training photograph.
    """
    identical = _identical_files(photographs)
    compared = [photographs[positions[0]] for positions in identical]
    features = _find_all_features(compared)
    candidates = sorted(_candidates(features))
    compare = _Comparison(compared, features)
    found = [CopyPair(positions[0], other, "identical", 1.0, 1.0) for positions in identical for other in positions[1:]]
    for pair in filter(None, thread_map("comparing", compare.pair, candidates, num_cores())):
        (first, *same), others = identical[pair.first], identical[pair.second]
        positions = [(first, other) for other in others] + [(one, others[0]) for one in same]
        found += [replace(pair, first=one, second=other) for one, other in positions]
    return sorted(_best(found), key=lambda pair: (pair.first, pair.second))


def _identical_files(photographs: Sequence[Photograph]) -> list[list[int]]:
    """Return sets of positions of identical files; those of training photographs come first in each set."""
    by_digest: dict[str, list[int]] = defaultdict(list)
    for index in sorted(range(len(photographs)), key=lambda index: photographs[index].split != "train"):
        by_digest[photographs[index].digest].append(index)
    return sorted(by_digest.values())


def _best(pairs: Sequence[CopyPair]) -> list[CopyPair]:
    """Return the pair of highest correlation of each two photographs, which may be found mirrored and not mirrored."""
    best: dict[tuple[int, int], CopyPair] = {}
    for pair in pairs:
        key = pair.first, pair.second
        if key not in best or pair.correlation > best[key].correlation:
            best[key] = pair
    return list(best.values())


def _find_all_features(photographs: Sequence[Photograph]) -> list[Features]:
    cv2.setNumThreads(1)  # the threads below use the cores

    def find(photograph: Photograph) -> Features:
        try:
            return find_features(photograph.read_grey(MAX_SIDE))
        except BadImage:
            return find_features(np.zeros((2, 2), np.uint8))

    return thread_map("finding features", find, photographs, num_cores())


def _candidates(features: Sequence[Features]) -> set[Candidate]:
    """Return the pairs of photographs that share several features."""
    descriptors = np.concatenate([found.descriptors for found in features]) if features else np.zeros((0, 128))
    owners = np.repeat(np.arange(len(features)), [len(found.points) for found in features])
    if len(descriptors) < 2:
        return set()
    faiss.omp_set_num_threads(num_cores())
    lists = min(int(4 * math.sqrt(len(descriptors))), max(1, len(descriptors) // TRAINED_PER_LIST))
    index = faiss.index_factory(128, f"IVF{lists},SQ8")
    order = np.random.default_rng(0).permutation(len(descriptors))
    index.train(descriptors[order[: lists * TRAINED_PER_LIST]].astype(np.float32))
    blocks = [slice(start, start + BLOCK) for start in range(0, len(descriptors), BLOCK)]
    for block in blocks:
        index.add(descriptors[block].astype(np.float32))
    faiss.ParameterSpace().set_index_parameter(index, "nprobe", PROBES)
    found: set[Candidate] = set()
    for mirrored in (False, True):
        shared: Counter[int] = Counter()
        for block in blocks:
            queries = descriptors[block][:, MIRRORED] if mirrored else descriptors[block]
            distances, nearest = index.search(queries.astype(np.float32), NEIGHBOURS)
            rows, columns = np.nonzero((nearest >= 0) & (distances < MAX_DISTANCE))
            first, second = owners[block][rows], owners[nearest[rows, columns]]
            low, high = np.minimum(first, second), np.maximum(first, second)
            pairs, counts = np.unique(low * len(features) + high, return_counts=True)
            for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
                shared[pair] += count
        for pair, count in shared.items():
            one, other = divmod(pair, len(features))
            if count >= MIN_SHARED and one != other:
                found.add((one, other, mirrored))
    return found


class _Comparison:
    """Compares two photographs pixel by pixel."""

    def __init__(self, photographs: Sequence[Photograph], features: Sequence[Features]) -> None:
        self.features = features

        @lru_cache(CACHED_PHOTOGRAPHS)
        def read(index: int) -> NDArray[np.float32]:
            return texture(photographs[index].read_grey(MAX_SIDE))

        self.read = read

    def pair(self, candidate: Candidate) -> CopyPair | None:
        """Return the pair if both photographs show the same place; None if they do not."""
        try:
            return self._compare(*candidate)
        except BadImage:
            return None

    def _compare(self, first: int, second: int, mirrored: bool) -> CopyPair | None:
        moved, target = self.features[first], self.features[second]
        moved = moved.mirrored() if mirrored else moved
        distances = 2 - 2 * moved.descriptors.astype(np.float32) @ target.descriptors.astype(np.float32).T
        nearest = distances.argmin(axis=1)
        rows = np.arange(len(nearest))
        mutual = (distances[rows, nearest] < MATCH_DISTANCE) & (distances.argmin(axis=0)[nearest] == rows)
        if mutual.sum() < MIN_MATCHES:
            return None
        transform, inliers = cv2.estimateAffinePartial2D(
            moved.points[mutual], target.points[nearest[mutual]], ransacReprojThreshold=RANSAC_PIXELS, maxIters=500
        )
        if transform is None or inliers.sum() < MIN_MATCHES:
            return None
        scale = math.hypot(transform[0, 0], transform[1, 0])
        if not MIN_SCALE < scale < MAX_SCALE:
            return None
        image, other = self.read(first), self.read(second)
        image = np.ascontiguousarray(image[:, ::-1]) if mirrored else image
        size = other.shape[::-1]
        warped = cv2.warpAffine(image, transform, size)
        inside = cv2.warpAffine(np.ones_like(image), transform, size) > 0.99
        overlap = inside.sum() / min(image.size * scale**2, other.size)
        if overlap < MIN_OVERLAP:
            return None
        correlation = float(np.corrcoef(warped[inside], other[inside])[0, 1])
        if not correlation >= MIN_CORRELATION:  # NaN in areas of one colour
            return None
        angle = math.degrees(math.atan2(transform[1, 0], transform[0, 0]))
        return CopyPair(first, second, _kind(mirrored, angle, overlap, scale), min(float(overlap), 1.0), correlation)


def _kind(mirrored: bool, angle: float, overlap: float, scale: float) -> str:
    """Return what was done to a photograph, in words."""
    turned = round(angle) % 360
    words = []
    if mirrored and abs(turned - 180) <= 2:
        words.append("mirrored top to bottom")
    elif mirrored:
        words.append("mirrored")
    if 2 < turned < 358 and not (mirrored and abs(turned - 180) <= 2):
        words.append(f"rotated by {turned} degrees")
    if overlap < SAME_OVERLAP or abs(scale - 1) > SAME_SCALE:
        words.append("shifted" if abs(scale - 1) <= SAME_SCALE else "cropped")
    return ", ".join(words) or "re-encoded"
