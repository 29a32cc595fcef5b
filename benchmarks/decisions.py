"""How often the decision is right, where the truth is known: `python -m benchmarks.decisions`.

Networks are simulated by a probit model: network `r` of combination `c` gets image `i` right where
`merit_c + seed_r + ease_i + chance_ri > 0`, all but the merit normal with the given standard deviations. So the
true accuracy of a combination, over seeds and images, is known, and so is which of several is the best. The later a
combination stands in a world, the cheaper it is.
"""

import argparse
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from crackdet.analysis import replicates
from crackdet.metrics import statistics

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class World:
    """Combinations of known accuracy, and what varies besides."""

    accuracies: tuple[float, ...]
    runs: int = 3  # of each combination
    images: int = 300
    seed: float = 0.2  # standard deviations, beside 1 of what belongs to neither run nor image alone
    ease: float = 1.0
    group_size: int = 1  # images that share their ease

    @property
    def groups(self) -> NDArray[np.int64] | None:
        return None if self.group_size == 1 else np.arange(self.images) // self.group_size

    def draw(self, random: np.random.Generator) -> list[Floats]:
        """For each combination, which images its runs get right: (runs, images), 0 or 1."""
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

    kept_best: float  # the truly best combination was among those that cannot be told from the observed best
    told_apart: float  # some combination was told from the observed best
    covered: float  # intervals that held the truth
    kept: float  # mean share of the combinations that could not be told from the best: the smaller the stronger
    given_away: float  # mean accuracy by which the cheapest that is close is worse than the truly best
    given_away_untold: float  # the same of the cheapest that cannot be told from the best


def judge(world: World, repetitions: int, seed: int = 0, bootstrap: int = 0) -> Score:
    """`bootstrap` draws a paired bootstrap of runs and images so many times in place of the computed variance."""
    random = np.random.default_rng(seed)
    best = int(np.argmax(world.accuracies))
    kept_best, told, covered, kept, given = 0, 0, [], [], []
    for _ in range(repetitions):
        drawn = world.draw(random)
        order = np.argsort([-scores.mean() for scores in drawn], kind="stable")
        if bootstrap:
            inside, passed, close = _bootstrapped([drawn[at] for at in order], world, bootstrap, random)
        elif world.runs == 1 and world.groups is None:
            inside, passed, close = _single([drawn[at][0] for at in order])
        else:
            samples = [replicates.sample(drawn[at], drawn[at] > 0) for at in order]
            inside = [replicates.interval(one, world.groups) for one in samples]
            compared = replicates.against_first(samples, world.groups)
            passed = [True, *(p_value >= statistics.ALPHA for p_value, _ in compared)]
            close = [True, *(statistics.negligible(gap) for _, gap in compared)]
        truth = [world.accuracies[at] for at in order]
        covered += [low <= value <= high for (low, high), value in zip(inside, truth, strict=True)]
        kept_best += bool(passed[list(order).index(best)])
        told += not all(passed)
        kept.append(np.mean(passed))
        given.append([_given_away(world, order[list(mask)]) for mask in (np.logical_and(passed, close), passed)])
    return Score(
        kept_best / repetitions,
        told / repetitions,
        float(np.mean(covered)),
        float(np.mean(kept)),
        *np.mean(given, axis=0).tolist(),
    )


def _given_away(world: World, candidates: NDArray[np.int64]) -> float:
    return max(world.accuracies) - world.accuracies[int(candidates.max())]


def _single(drawn: list[Floats]) -> tuple[list[statistics.Interval], list[bool], list[bool]]:
    """Networks without replicates: Wilson or Clopper-Pearson, and McNemar."""
    low, high = statistics.proportion_interval([one.mean() for one in drawn], len(drawn[0]))
    first, others = drawn[0], drawn[1:]
    lost, won = [int((first > other).sum()) for other in others], [int((first < other).sum()) for other in others]
    passed = [True, *(statistics.holm(statistics.mcnemar(lost, won)) >= statistics.ALPHA)]
    close = [True, *map(statistics.negligible, statistics.paired_gaps(lost, won, len(first)))]
    return list(map(statistics.Interval, low, high)), passed, close


def _bootstrapped(
    drawn: list[Floats], world: World, times: int, random: np.random.Generator
) -> tuple[list[statistics.Interval], list[bool], list[bool]]:
    """Percentile intervals and p-values of a bootstrap that draws runs, and groups of images for all of them alike."""
    number = -(-world.images // world.group_size)
    weights = random.multinomial(number, [1 / number] * number, size=times).repeat(world.group_size, axis=1)
    weights = weights[:, : world.images] / weights[:, : world.images].sum(axis=1, keepdims=True)
    means = []
    for scores in drawn:
        runs = random.multinomial(world.runs, [1 / world.runs] * world.runs, size=times) / world.runs
        means.append(((weights @ scores.T) * runs).sum(axis=1))
    inside = [statistics.Interval(*np.quantile(one, (0.025, 0.975))) for one in means]
    sides = [np.mean(means[0] <= other) for other in means[1:]]
    passed = [True, *(statistics.holm([min(1.0, 2 * side) for side in sides]) >= statistics.ALPHA)]
    behind = [means[0] - other for other in means[1:]]
    return inside, passed, [True, *(gap.mean() <= max(gap.std(), statistics.SMALL) for gap in behind)]


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
    "a ladder, one run": World((0.97, 0.965, 0.96, 0.95, 0.9, 0.8), runs=1, seed=0),
    "a ladder, 3 runs": World((0.97, 0.965, 0.96, 0.95, 0.9, 0.8)),
    "a ladder, 3 runs, seeds matter": World((0.97, 0.965, 0.96, 0.95, 0.9, 0.8), seed=0.6),
    "a ladder, 3 runs, groups of 10": World((0.97, 0.965, 0.96, 0.95, 0.9, 0.8), group_size=10),
    "a ladder, one run, 60 images": World((0.97, 0.965, 0.96, 0.95, 0.9, 0.8), runs=1, seed=0, images=60),
    "a ladder, 3 runs, 1,700 images": World((0.97, 0.965, 0.96, 0.95, 0.9, 0.8), images=1700),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="How often the decision is right where the truth is known.")
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--bootstrap", type=int, default=0, help="draw a bootstrap so many times instead")
    given = parser.parse_args()
    print(
        "| combinations | the best is kept | some are told apart | intervals hold the truth | share kept "
        "| points given away | by the cheapest not told apart |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, world in WORLDS.items():
        score = judge(world, given.repetitions, bootstrap=given.bootstrap)
        figures = (score.kept_best, score.told_apart, score.covered, score.kept)
        shares = " | ".join(f"{100 * figure:.1f} %" for figure in figures)
        print(f"| {name} | {shares} | {100 * score.given_away:.2f} | {100 * score.given_away_untold:.2f} |", flush=True)


if __name__ == "__main__":
    main()
