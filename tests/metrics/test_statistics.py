"""Intervals and tests: equal to reference implementations, and with the coverage that they claim."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.multitest import multipletests

from crackdet.metrics import statistics


@given(st.integers(1, 5000), st.floats(0, 1))
def test_proportion_intervals_equal_those_of_scipy(number: int, share: float) -> None:
    hits = round(share * number)
    low, high = statistics.proportion_interval(hits / number, number)
    method = "exact" if hits / number > 0.99 or number - hits <= 5 else "wilson"
    expected = stats.binomtest(hits, number).proportion_ci(0.95, method)
    assert (float(low), float(high)) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize(("number", "max_coverage"), [(240, 0.975), (400, 0.97), (1700, 0.96)])
def test_proportion_intervals_have_95_percent_coverage(number: int, max_coverage: float) -> None:
    """The coverage is exact: a sum over all possible numbers of correct images."""
    hits = np.arange(number + 1)
    low, high = statistics.proportion_interval(hits / number, number)

    def coverage(truth: float) -> float:
        return float(stats.binom.pmf(hits, number, truth)[(low <= truth) & (truth <= high)].sum())

    below = [coverage(truth) for truth in np.arange(0.5, 0.985, 0.0025)]
    above = [coverage(truth) for truth in np.arange(0.991, 0.99991, 0.0002)]
    assert 0.945 <= np.mean(below) <= 0.955 and min(below) >= 0.93 and max(below) <= max_coverage
    assert min(above) >= 0.93


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_equals_the_exact_test_of_statsmodels(only_first: int, only_second: int) -> None:
    expected = reference_mcnemar([[0, only_first], [only_second, 0]], exact=True).pvalue
    expected = 1.0 if only_first == only_second == 0 else min(expected, 1.0)
    assert statistics.mcnemar(only_first, only_second) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("number", [1, 2, 5, 20])
def test_holm_equals_statsmodels(number: int) -> None:
    p_values = (np.random.default_rng(number).random(number) ** 3).round(2)  # with ties
    assert statistics.holm_correction(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


@pytest.mark.parametrize("number", [1, 2, 5, 30, 10_000])
def test_the_expected_maximum_is_that_of_the_largest_order_statistic(number: int) -> None:
    expected = stats.norm.expect(lambda x: x * number * stats.norm.cdf(x) ** (number - 1), lb=-10, ub=10)
    assert statistics.expected_maximum(number) == pytest.approx(expected, abs=1e-5)


@given(st.data())
def test_fisher_exact_equals_that_of_scipy(data: st.DataObject) -> None:
    number = data.draw(st.integers(1, 300))
    cracks, predicted = data.draw(st.integers(0, number)), data.draw(st.integers(0, number))
    hits = data.draw(st.integers(max(0, cracks + predicted - number), min(cracks, predicted)))
    table = [[hits, predicted - hits], [cracks - hits, number - cracks - predicted + hits]]
    expected = stats.fisher_exact(table, alternative="greater").pvalue
    assert statistics.fisher_exact(hits, predicted, cracks, number) == pytest.approx(expected, rel=1e-9, abs=1e-300)
