"""How often the decision is right if the truth is known: `python -m benchmarks.decisions`.

A probit model simulates networks: run `r` of combination `c` classifies image `i` correctly if
`quality_c + seed_r + ease_i + noise_ri > 0`, all but the quality normal with the given standard deviations. So the true
accuracy of a combination, over seeds and images, is known, and which one is best. Later combinations are cheaper.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from crackdet.analysis import replicates
from crackdet.metrics import statistics
from crackdet.metrics.sample_size import ALPHA

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class World:
    """Combinations of known accuracy, and what varies beside it."""

    accuracies: tuple[float, ...]
    runs: int = 3  # of each combination
    images: int = 300
    seed: float = 0.2  # standard deviation; that of the noise is 1
    ease: float = 1.0  # standard deviation
    group_size: int = 1  # images that share their ease

    @property
    def groups(self) -> NDArray[np.int64] | None:
        return None if self.group_size == 1 else np.arange(self.images) // self.group_size

    def sample(self, random: np.random.Generator) -> list[Floats]:
        """Return for each combination which images its runs classify correctly: (runs, images), 0 or 1."""
        ease = np.repeat(random.normal(0, self.ease, -(-self.images // self.group_size)), self.group_size)
        spread = np.sqrt(1 + self.seed**2 + self.ease**2)
        shape = (self.runs, self.images)
        return [
            (
                special.ndtri(accuracy) * spread
                + random.normal(0, self.seed, (self.runs, 1))
                + ease[: self.images]
                + random.normal(size=shape)
                > 0
            ).astype(float)
            for accuracy in self.accuracies
        ]


@dataclass(frozen=True)
class Score:
    """Shares of the repetitions."""

    kept_best: float  # the truly best combination is equivalent to the observed best
    distinguished: float  # some combination is not equivalent to the observed best
    covered: float  # share of the intervals that contain the true value
    kept: float  # share of the combinations that are equivalent to the best; smaller if the test is more powerful
    points_lost: float  # mean accuracy by which the cheapest combination near the best is worse than the truly best
    points_lost_equivalent: float  # the same for the cheapest equivalent combination


class _Result(NamedTuple):
    """The comparison of combinations with the first."""

    intervals: Sequence[statistics.Interval]
    equivalent: Sequence[bool]
    not_far: Sequence[bool]


def simulate(world: World, repetitions: int, seed: int = 0, bootstrap: int = 0) -> Score:
    """Simulate decisions; with `bootstrap`, by so many resamples instead of the computed variance."""
    random = np.random.default_rng(seed)
    best = int(np.argmax(world.accuracies))
    kept_best, distinguished, covered, kept, losses = 0, 0, [], [], []
    for _ in range(repetitions):
        sampled = world.sample(random)
        order = np.argsort([-scores.mean() for scores in sampled], kind="stable")
        ranked = [sampled[index] for index in order]
        if bootstrap:
            result = _compare_by_bootstrap(ranked, world, bootstrap, random)
        elif world.runs == 1 and world.groups is None:
            result = _compare_single([scores[0] for scores in ranked])
        else:
            result = _compare_replicates(ranked, world.groups)
        truth = [world.accuracies[index] for index in order]
        covered += [low <= value <= high for (low, high), value in zip(result.intervals, truth, strict=True)]
        kept_best += bool(result.equivalent[list(order).index(best)])
        distinguished += not all(result.equivalent)
        kept.append(np.mean(result.equivalent))
        near_best = np.logical_and(result.equivalent, result.not_far)
        losses.append([_points_lost(world, order[list(mask)]) for mask in (near_best, result.equivalent)])
    return Score(
        kept_best / repetitions,
        distinguished / repetitions,
        float(np.mean(covered)),
        float(np.mean(kept)),
        *np.mean(losses, axis=0).tolist(),
    )


def _points_lost(world: World, candidates: NDArray[np.int64]) -> float:
    return max(world.accuracies) - world.accuracies[int(candidates.max())]


def _compare_replicates(ranked: Sequence[Floats], groups: NDArray[np.int64] | None) -> _Result:
    samples = [replicates.make_sample(scores, scores > 0) for scores in ranked]
    first, *others = replicates.pool_run_variance(samples)
    compared = [replicates.compare(other, first, groups) for other in others]
    p_values = statistics.holm_correction([p_value for p_value, _ in compared])
    return _Result(
        [replicates.confidence_interval(sample, groups) for sample in samples],
        [True, *(p_values >= ALPHA)],
        [True, *(statistics.is_negligible(difference) for _, difference in compared)],
    )


def _compare_single(ranked: Sequence[Floats]) -> _Result:
    """Compare networks without replicates: Wilson or Clopper-Pearson, and McNemar."""
    low, high = statistics.proportion_interval([scores.mean() for scores in ranked], len(ranked[0]))
    first, others = ranked[0], ranked[1:]
    lost, won = [int((first > other).sum()) for other in others], [int((first < other).sum()) for other in others]
    return _Result(
        list(map(statistics.Interval, low, high)),
        [True, *(statistics.holm_correction(statistics.mcnemar(lost, won)) >= ALPHA)],
        [True, *map(statistics.is_negligible, statistics.paired_differences(lost, won, len(first)))],
    )


def _compare_by_bootstrap(ranked: Sequence[Floats], world: World, times: int, random: np.random.Generator) -> _Result:
    """Compare by the percentiles of a bootstrap over runs, and over groups of images."""
    number = -(-world.images // world.group_size)
    weights = random.multinomial(number, [1 / number] * number, size=times).repeat(world.group_size, axis=1)
    weights = weights[:, : world.images] / weights[:, : world.images].sum(axis=1, keepdims=True)
    means = []
    for scores in ranked:
        runs = random.multinomial(world.runs, [1 / world.runs] * world.runs, size=times) / world.runs
        means.append(((weights @ scores.T) * runs).sum(axis=1))
    sides = [np.mean(means[0] <= other) for other in means[1:]]
    differences = [means[0] - other for other in means[1:]]
    return _Result(
        [statistics.Interval(*np.quantile(one, (0.025, 0.975))) for one in means],
        [True, *(statistics.holm_correction([min(1.0, 2 * side) for side in sides]) >= ALPHA)],
        [True, *(one.mean() <= max(one.std(), statistics.ACCEPTABLE_LOSS) for one in differences)],
    )


LADDER = (0.97, 0.965, 0.96, 0.95, 0.9, 0.8)
WORLDS = {
    "two equal, one run": World((0.96, 0.96), runs=1, seed=0),
    "two equal, 2 runs": World((0.96, 0.96), runs=2),
    "two equal, 3 runs": World((0.96, 0.96)),
    "two equal, 3 runs, seeds matter": World((0.96, 0.96), seed=0.6),
    "two equal, 5 runs, above 99 %": World((0.995, 0.995), runs=5),
    "two equal, one run, groups of 10": World((0.92, 0.92), runs=1, seed=0, group_size=10),
    "two equal, 3 runs, groups of 10": World((0.92, 0.92), group_size=10),
    "two equal, one run, groups of 10 that matter": World(
        (0.97, 0.97), runs=1, seed=0, images=400, ease=3, group_size=10
    ),
    "eight equal, one run": World((0.96,) * 8, runs=1, seed=0),
    "eight equal, 3 runs": World((0.96,) * 8),
    "a ladder, one run": World(LADDER, runs=1, seed=0),
    "a ladder, 3 runs": World(LADDER),
    "a ladder, 3 runs, seeds matter": World(LADDER, seed=0.6),
    "a ladder, 3 runs, groups of 10": World(LADDER, group_size=10),
    "a ladder, one run, 60 images": World(LADDER, runs=1, seed=0, images=60),
    "a ladder, 3 runs, 1,700 images": World(LADDER, images=1700),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="How often the decision is right if the truth is known.")
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--bootstrap", type=int, default=0, help="resample so many times instead")
    arguments = parser.parse_args()
    print(
        "| combinations | the best is kept | a difference is found | intervals contain the true value | share kept "
        '| points lost | points lost without "near" |'
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, world in WORLDS.items():
        score = simulate(world, arguments.repetitions, bootstrap=arguments.bootstrap)
        figures = (score.kept_best, score.distinguished, score.covered, score.kept)
        shares = " | ".join(f"{100 * figure:.1f} %" for figure in figures)
        print(
            f"| {name} | {shares} | {100 * score.points_lost:.2f} | {100 * score.points_lost_equivalent:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
