"""Every run compared with the best: intervals, p-values and differences, against references."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from crackdet.analysis.ranking import summarize
from tests.analysis.runs import (
    LABELS,
    decision_of,
    publish,
    publish_ladder,
    read_correct,
    simulate_logits,
    with_mistakes,
)


def test_each_run_is_compared_with_the_best_on_the_same_images(tmp_path: Path) -> None:
    publish_ladder(tmp_path)
    decision = decision_of(tmp_path)
    correct = [read_correct(run.row.run) for run in decision.ranked_runs]
    assert [run.value for run in decision.ranked_runs] == sorted((one.mean() for one in correct), reverse=True)
    p_values = []
    for run, own in zip(decision.ranked_runs, correct, strict=True):
        method = "exact" if own.mean() > 0.99 or (~own).sum() <= 5 else "wilson"
        expected = stats.binomtest(int(own.sum()), len(own)).proportion_ci(0.95, method)
        assert run.interval == pytest.approx((expected.low, expected.high))
        table = [[0, (correct[0] & ~own).sum()], [(~correct[0] & own).sum(), 0]]
        p_values.append(min(mcnemar(table, exact=True).pvalue, 1) if own is not correct[0] else 1)
    corrected = multipletests(p_values[1:], method="holm")[1]
    assert [run.p_value for run in decision.ranked_runs[1:]] == pytest.approx(corrected)
    equivalent = [
        decision.best.id,
        *(run.row.id for run, p in zip(decision.ranked_runs[1:], corrected, strict=True) if p >= 0.05),
    ]
    assert [run.row.id for run in decision.undecided] == equivalent
    assert 1 < len(equivalent) < 6, "the case that this test is about"
    near_best = []
    for run, own in zip(decision.ranked_runs, correct, strict=True):
        difference = run.difference
        assert difference is not None and difference.value == pytest.approx(correct[0].mean() - own.mean())
        scores = np.concatenate([correct[0].astype(float) - own, [0.5**0.5, -(0.5**0.5)]])  # two more images
        assert difference.error == pytest.approx(scores.std() / 302**0.5), "Agresti and Min"
        assert (difference.low, difference.high) == pytest.approx(
            stats.norm.interval(0.95, scores.mean(), difference.error)
        )
        if run.row.id in equivalent and difference.value <= max(difference.error, 0.005):
            near_best.append(run.row.result["feature_flops"])
    assert len(near_best) < len(equivalent), "one is equivalent and yet too far behind"
    assert decision.recommended.result["feature_flops"] == min(near_best) < decision.best.result["feature_flops"]


def test_runs_on_different_images_have_a_decision_of_their_own(tmp_path: Path) -> None:
    publish_ladder(tmp_path)
    others = np.arange(200) % 4 == 0
    publish(tmp_path, others, simulate_logits(others, 9, 1), width=9)
    summary = summarize(tmp_path)
    assert [decision.num_images for decision in summary.decisions] == [300, 200]
    assert summary.decision is not None and summary.decision is summary.decisions[0]
    assert len(summary.decision.ranked_runs) == 6


@pytest.mark.parametrize("metric", ["f1", "recall", "precision", "roc_auc"])
def test_another_metric_can_rank(tmp_path: Path, metric: str) -> None:
    publish_ladder(tmp_path)
    decision = decision_of(tmp_path, metric)
    values = [(run.row.snapshot.result or {})[metric] for run in decision.ranked_runs]
    assert [run.value for run in decision.ranked_runs] == values == sorted(values, reverse=True)
    assert all(run.interval.low <= run.value <= run.interval.high for run in decision.ranked_runs)
    assert decision.ranked_runs[1].undecided and not decision.ranked_runs[-1].undecided


def test_a_few_discordant_images_bound_the_p_value_of_every_metric(tmp_path: Path) -> None:
    """Five of 300 images differ, all in favour of one network: no test can give less than 2^-4."""
    for width, mistakes in ((1, slice(0)), (2, slice(0, 10, 2))):
        publish(tmp_path, LABELS, with_mistakes(mistakes), 1000 // width, width=width)
    for metric in ("accuracy", "recall", "f1"):
        assert (decision_of(tmp_path, metric).ranked_runs[1].p_value or 0) >= 0.0625


@pytest.mark.parametrize(("metric", "number"), [("precision", 1), ("f1", 5), ("roc_auc", 5), ("recall", 5)])
def test_the_interval_of_a_perfect_score_depends_on_its_own_images(tmp_path: Path, metric: str, number: int) -> None:
    labels = np.arange(300) < 5
    logits = np.where(labels, 1.0, -1.0)
    if metric == "precision":
        logits[1:5] = -0.5  # one alarm, a true one
    publish(tmp_path, labels, logits)
    (run,) = decision_of(tmp_path, metric).ranked_runs
    assert run.value == 1
    expected = stats.binomtest(number, number).proportion_ci(0.95, "exact")
    assert run.interval == pytest.approx((expected.low, 1))


def test_without_alarms_the_precision_is_unknown(tmp_path: Path) -> None:
    publish(tmp_path, LABELS, np.full(300, -1.0))
    (run,) = decision_of(tmp_path, "precision").ranked_runs
    assert run.interval == (0, 1)
