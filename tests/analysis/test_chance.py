"""What chance gives: networks that learned nothing, constant answers, and the best of many equal networks."""

import json
from pathlib import Path

import numpy as np
import pytest

from crackdet.analysis.ranking import summarize
from crackdet.report.build import write_report
from tests.analysis.runs import LABELS, decision_of, publish, simulate_logits


@pytest.mark.parametrize("metric", ["accuracy", "f1", "recall", "roc_auc"])
def test_networks_at_chance_are_marked_so_and_not_recommended(tmp_path: Path, metric: str) -> None:
    for width in range(30):
        publish(tmp_path, LABELS, np.random.default_rng(width).normal(size=300), 30 - width, width=width)
    publish(tmp_path, LABELS, np.full(300, 1.0), 1, width=30)  # it finds every crack
    summary = summarize(tmp_path, metric)
    decision = decision_of(tmp_path, metric)
    assert not decision.best_is_above_chance and decision.recommended.id == decision.best.id
    assert decision.sentences[1].startswith("No network is recommended yet")
    assert "given that it is the best of 31" in decision.sentences[1]
    assert decision.verdicts(decision.best) == ["best", "chance"]
    assert all(decision.verdicts(run.row) == ["chance"] for run in decision.ranked_runs[1:])
    summary.write(tmp_path)
    content = json.loads((tmp_path / "summary.json").read_text())
    assert content["decisions"][0]["recommended"] is None and not any(run["recommended"] for run in content["runs"])
    page = write_report(tmp_path, tmp_path / "report.html", metric).read_text()
    assert "No network is recommended yet" in page and "recommended</span>" not in page


def test_a_network_at_chance_is_not_undecided_beside_one_that_has_learned(tmp_path: Path) -> None:
    """On ten images, chance can explain the difference between ten and seven right answers."""
    labels = np.arange(10) % 2 == 0
    for width, mistakes in ((1, 0), (2, 3)):
        logits = np.where(labels, 1.0, -1.0)
        logits[:mistakes] *= -1
        publish(tmp_path, labels, logits, width=width)
    decision = decision_of(tmp_path)
    worse = decision.ranked_runs[1]
    assert decision.best_is_above_chance and worse.undecided
    assert decision.verdicts(worse.row) == ["chance"]
    assert decision.combination_verdicts(decision.combination(worse.row)) == ["chance"]


def test_a_network_that_only_distinguishes_walls_has_not_learned_cracks(tmp_path: Path) -> None:
    """Of four walls with cracks and four without, it gets three each right."""
    labels = np.arange(200) // 25 % 2 == 0
    logits = np.where(labels, 1.0, -1.0)
    logits[:50] *= -1
    publish(tmp_path / "alone", labels, logits)
    publish(tmp_path / "walls", labels, logits, groups=[f"wall {n // 25}" for n in range(200)])
    assert decision_of(tmp_path / "alone").best_is_above_chance
    assert not decision_of(tmp_path / "walls").best_is_above_chance


def test_with_a_rare_class_a_network_less_accurate_than_a_constant_answer_may_have_learned(tmp_path: Path) -> None:
    labels = np.arange(300) % 20 == 0
    for width, found in enumerate((6, 0)):
        logits = np.full(300, -1.0)
        logits[np.flatnonzero(labels)[:found]] = 1
        logits[np.flatnonzero(~labels)[:7]] = 1
        publish(tmp_path, labels, logits, width=width)
    decision = decision_of(tmp_path)
    assert decision.best_is_above_chance and decision.best.setting("model.width") == 0
    assert decision.baseline == 0.95 > decision.best.accuracy
    assert any("same answer for every image scores 95.0 %" in note for note in decision.notes)


def test_constant_scores_are_at_chance(tmp_path: Path) -> None:
    for width in (1, 2):
        publish(tmp_path, LABELS, np.full(300, 0.1 * width), width=width)
    assert not decision_of(tmp_path, "roc_auc").best_is_above_chance


@pytest.mark.parametrize("metric", ["accuracy", "roc_auc"])
def test_identical_walls_prove_nothing(tmp_path: Path, metric: str) -> None:
    """On each of six walls three of five cracks are called a crack, and two of five other images."""
    labels = np.tile([True] * 5 + [False] * 5, 6)
    logits = np.tile([1.0] * 3 + [-1.0] * 2 + [1.0] * 2 + [-1.0] * 3, 6)
    publish(tmp_path, labels, logits, groups=[f"wall {index // 10}" for index in range(60)])
    assert not decision_of(tmp_path, metric).best_is_above_chance


def test_the_selection_bias_is_what_equally_good_networks_show(tmp_path: Path) -> None:
    """Five networks of one quality, many times over: by how much the best of them looks better than they are."""
    gains, expected = [], []
    for time in range(20):
        store = tmp_path / str(time)
        for width in range(5):
            publish(store, LABELS, simulate_logits(LABELS, 2.0, 100 * time + width + 1), width=width)
        decision = decision_of(store)
        values = [run.value for run in decision.ranked_runs]
        gains.append(max(values) - np.mean(values))
        expected.append(decision.selection_bias)
    assert np.mean(expected) == pytest.approx(np.mean(gains), rel=0.3)
