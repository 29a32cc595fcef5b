"""Intervals and comparisons of combinations: equal to references, and correct as often as they claim."""

import numpy as np
import pytest
from scipy import stats

from benchmarks.decisions import World, simulate
from crackdet.analysis import replicates
from crackdet.metrics import statistics


def test_a_single_run_on_independent_images_has_wilsons_interval() -> None:
    correct = (np.arange(400) % 20 > 0).astype(float)
    interval = replicates.confidence_interval(replicates.make_sample(correct[None]), None)
    low, high = statistics.proportion_interval(0.95, 400)
    assert interval == pytest.approx((float(low), float(high)), abs=1e-3)


def test_groups_of_identical_images_count_as_one_image_each() -> None:
    random = np.random.default_rng(0)
    few = (random.random((3, 40)) < 0.8).astype(float)
    many, groups = few.repeat(10, axis=1), np.arange(400) // 10
    one, other = replicates.make_sample(many[:1]), replicates.make_sample(many[1:2])
    alone, against = replicates.make_sample(few[:1]), replicates.make_sample(few[1:2])
    assert replicates.compare(one, other, groups)[0] == pytest.approx(replicates.compare(alone, against, None)[0])
    assert replicates.compare(one, other, None)[0] < replicates.compare(one, other, groups)[0]


def test_the_variance_is_that_of_a_paired_bootstrap_if_runs_and_images_do_not_interact() -> None:
    random = np.random.default_rng(1)
    scores = random.normal(size=(5, 1)) + 10 * random.normal(size=(1, 200))  # no interaction
    run_weights = random.multinomial(5, [1 / 5] * 5, size=20_000) / 5
    image_weights = random.multinomial(200, [1 / 200] * 200, size=20_000) / 200
    resampled = ((run_weights @ scores) * image_weights).sum(axis=1)
    one = replicates.make_sample(scores)
    assert one.run_variance is not None
    computed = one.run_variance * 4 / 5 + scores.mean(axis=0).var() / 200  # a bootstrap divides by n, not by n - 1
    assert resampled.var() == pytest.approx(computed, rel=0.05)


def test_if_only_runs_vary_the_comparison_is_welchs_test() -> None:
    first, second = [0.97, 0.94, 0.95], [0.91, 0.88, 0.93, 0.9]
    one, other = (replicates.make_sample(np.tile(levels, (50, 1)).T) for levels in (first, second))
    expected = stats.ttest_ind(first, second, equal_var=False).pvalue
    assert replicates.compare(one, other, None)[0] == pytest.approx(expected)


@pytest.mark.parametrize("world", [World((0.96, 0.96), runs=1, seed=0), World((0.96, 0.96)), World((0.9, 0.9), 2, 200)])
def test_equally_good_networks_differ_significantly_in_at_most_5_percent(world: World) -> None:
    score = simulate(world, 500)
    assert score.distinguished <= 0.05
    assert score.covered >= 0.93


@pytest.mark.parametrize("runs", [1, 3])
@pytest.mark.parametrize("group_size", [1, 10])
def test_the_truly_best_network_is_indistinguishable_from_the_observed_best(runs: int, group_size: int) -> None:
    ladder = World((0.97, 0.965, 0.96, 0.95, 0.9, 0.8), runs, seed=0 if runs == 1 else 0.2, group_size=group_size)
    score = simulate(ladder, 200)
    assert score.kept_best >= 0.95
    assert score.kept < 0.9, "clearly worse networks must be distinguished"


@pytest.mark.parametrize("number", [2, 3, 5])
def test_the_p_value_of_few_groups_is_bounded_by_the_sign_test(number: int) -> None:
    """The first network has one more correct image in each group: no variance, but few groups."""
    groups = np.arange(100 * number) // 100
    first, second = np.ones((1, 100 * number)), np.ones((1, 100 * number))
    second[0, ::100] = 0
    p_value = replicates.compare(replicates.make_sample(second), replicates.make_sample(first), groups)[0]
    assert p_value == pytest.approx(2.0 ** (1 - number))


def test_groups_without_variance_still_count_as_few_images() -> None:
    scores = np.ones((1, 300))
    scores[0, [0, 150, 299]] = 0
    low, high = replicates.confidence_interval(replicates.make_sample(scores), np.arange(300) // 100)
    expected = statistics.proportion_interval(0.99, 3)
    assert (low, high) == pytest.approx(tuple(map(float, expected)))
