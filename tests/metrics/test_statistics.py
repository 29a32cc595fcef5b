"""Intervals and tests: as the references compute them, and right as often as they say where the truth is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.multitest import multipletests

from benchmarks.decisions import World, judge
from crackdet.analysis import replicates
from crackdet.metrics import statistics


@given(st.integers(1, 5000), st.floats(0, 1))
def test_intervals_are_scipys(number: int, share: float) -> None:
    hits = round(share * number)
    low, high = statistics.proportion_interval(hits / number, number)
    method = "exact" if hits / number > 0.99 or number - hits <= 5 else "wilson"
    expected = stats.binomtest(hits, number).proportion_ci(0.95, method)
    assert (float(low), float(high)) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize(("number", "most"), [(240, 0.975), (400, 0.97), (1700, 0.96)])
def test_intervals_hold_the_truth_as_often_as_they_say(number: int, most: float) -> None:
    """Exactly, by adding up the chances of all numbers of right images."""
    hits = np.arange(number + 1)
    low, high = statistics.proportion_interval(hits / number, number)

    def coverage(truth: float) -> float:
        return float(stats.binom.pmf(hits, number, truth)[(low <= truth) & (truth <= high)].sum())

    below = [coverage(truth) for truth in np.arange(0.5, 0.985, 0.0025)]
    above = [coverage(truth) for truth in np.arange(0.991, 0.99991, 0.0002)]
    assert 0.945 <= np.mean(below) <= 0.955 and min(below) >= 0.93 and max(below) <= most
    assert min(above) >= 0.93


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_statsmodels_exact_test(only_first: int, only_second: int) -> None:
    expected = reference_mcnemar([[0, only_first], [only_second, 0]], exact=True).pvalue
    expected = 1.0 if only_first == only_second == 0 else min(expected, 1.0)
    assert statistics.mcnemar(only_first, only_second) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("number", [1, 2, 5, 20])
def test_holm_is_statsmodels(number: int) -> None:
    p_values = (np.random.default_rng(number).random(number) ** 3).round(2)  # with ties
    assert statistics.holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


@pytest.mark.parametrize("number", [1, 2, 5, 30, 10_000])
def test_the_expected_maximum_is_that_of_order_statistics(number: int) -> None:
    expected = stats.norm.expect(lambda x: x * number * stats.norm.cdf(x) ** (number - 1), lb=-10, ub=10)
    assert statistics.expected_maximum(number) == pytest.approx(expected, abs=1e-5)


def test_one_run_on_separate_images_has_wilsons_interval() -> None:
    right = (np.arange(400) % 20 > 0).astype(float)
    interval = replicates.interval(replicates.sample(right[None]), None)
    low, high = statistics.proportion_interval(0.95, 400)
    assert interval == pytest.approx((float(low), float(high)), abs=1e-3)


@given(st.data())
def test_calls_are_told_from_chance_as_by_fishers_test(data: st.DataObject) -> None:
    number = data.draw(st.integers(1, 300))
    cracks, called = data.draw(st.integers(0, number)), data.draw(st.integers(0, number))
    hits = data.draw(st.integers(max(0, cracks + called - number), min(cracks, called)))
    table = [[hits, called - hits], [cracks - hits, number - cracks - called + hits]]
    expected = stats.fisher_exact(table, alternative="greater").pvalue
    assert statistics.fisher_exact(hits, called, cracks, number) == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_groups_of_equal_images_count_as_one_image_each() -> None:
    random = np.random.default_rng(0)
    few = (random.random((3, 40)) < 0.8).astype(float)
    many, groups = few.repeat(10, axis=1), np.arange(400) // 10
    one, other = replicates.sample(many[:1]), replicates.sample(many[1:2])
    alone, against = replicates.sample(few[:1]), replicates.sample(few[1:2])
    assert replicates.compare(one, other, groups)[0] == pytest.approx(replicates.compare(alone, against, None)[0])
    assert replicates.compare(one, other, None)[0] < replicates.compare(one, other, groups)[0]


def test_the_variance_is_that_of_a_paired_bootstrap_where_runs_and_images_do_not_interact() -> None:
    random = np.random.default_rng(1)
    scores = random.normal(size=(5, 1)) + 10 * random.normal(size=(1, 200))  # no part that belongs to neither alone
    drawn_runs = random.multinomial(5, [1 / 5] * 5, size=20_000) / 5
    drawn_images = random.multinomial(200, [1 / 200] * 200, size=20_000) / 200
    drawn = ((drawn_runs @ scores) * drawn_images).sum(axis=1)
    one = replicates.sample(scores)
    assert one.between is not None
    computed = one.between * 4 / 5 + scores.mean(axis=0).var() / 200  # a bootstrap divides by n, not by n - 1
    assert drawn.var() == pytest.approx(computed, rel=0.05)


def test_runs_that_alone_vary_are_compared_by_welchs_test() -> None:
    first, second = [0.97, 0.94, 0.95], [0.91, 0.88, 0.93, 0.9]
    one, other = (replicates.sample(np.tile(levels, (50, 1)).T) for levels in (first, second))
    expected = stats.ttest_ind(first, second, equal_var=False).pvalue
    assert replicates.compare(one, other, None)[0] == pytest.approx(expected)


@pytest.mark.parametrize("world", [World((0.96, 0.96), runs=1, seed=0), World((0.96, 0.96)), World((0.9, 0.9), 2, 200)])
def test_two_equally_good_networks_are_told_apart_in_at_most_a_twentieth(world: World) -> None:
    score = judge(world, 500)
    assert score.told_apart <= 0.05
    assert score.covered >= 0.93


@pytest.mark.parametrize("runs", [1, 3])
@pytest.mark.parametrize("group_size", [1, 10])
def test_the_truly_best_is_among_those_that_cannot_be_told_from_the_best(runs: int, group_size: int) -> None:
    ladder = World((0.97, 0.965, 0.96, 0.95, 0.9, 0.8), runs, seed=0 if runs == 1 else 0.2, group_size=group_size)
    score = judge(ladder, 200)
    assert score.kept_best >= 0.95
    assert score.kept < 0.9, "what is clearly worse is left out"


@pytest.mark.parametrize("number", [2, 3, 5])
def test_few_groups_tell_no_more_than_their_signs_can(number: int) -> None:
    """Each wall has one image more right with the first network: no variance, and yet few draws."""
    groups = np.arange(100 * number) // 100
    first, second = np.ones((1, 100 * number)), np.ones((1, 100 * number))
    second[0, ::100] = 0
    p_value = replicates.compare(replicates.sample(second), replicates.sample(first), groups)[0]
    assert p_value == pytest.approx(2.0 ** (1 - number))


def test_groups_that_are_equally_good_are_few_draws_all_the_same() -> None:
    scores = np.ones((1, 300))
    scores[0, [0, 150, 299]] = 0
    low, high = replicates.interval(replicates.sample(scores), np.arange(300) // 100)
    expected = statistics.proportion_interval(0.99, 3)
    assert (low, high) == pytest.approx(tuple(map(float, expected)))
