"""Which run is recommended, and what the sentences say about it."""

from pathlib import Path

import numpy as np
import pytest

from crackdet.analysis import correctness
from tests.analysis.runs import LABELS, decision_of, publish, publish_ladder, simulate_logits, with_mistakes


def test_the_sentences_state_the_decision_with_its_figures(tmp_path: Path) -> None:
    publish_ladder(tmp_path)
    decision = decision_of(tmp_path)
    first, second = decision.sentences
    assert decision.best.id in first and "6 trained networks" in first and "300 validation images" in first
    assert f"{100 * decision.best.accuracy:.1f} %" in first
    share = decision.recommended.result["feature_flops"] / decision.best.result["feature_flops"]
    difference = decision.difference(decision.recommended)
    assert difference is not None and difference.low < 0 < difference.high
    assert second.startswith(f"Recommended: {decision.recommended.id}.")
    assert f"only {100 * share:.2g} % of the computation" in second
    worse, better = 100 * difference.high, -100 * difference.low
    assert f"up to {worse:.2g} points worse or {better:.2g} points better" in second


def test_a_network_far_behind_is_not_recommended_even_if_chance_can_explain_it(tmp_path: Path) -> None:
    publish(tmp_path, LABELS, with_mistakes(3), 900, width=2)
    publish(tmp_path, LABELS, with_mistakes(10, 100), 100, width=1)
    publish(tmp_path, LABELS, with_mistakes(11, 200), 50, width=0)
    decision = decision_of(tmp_path)
    assert all(run.undecided for run in decision.ranked_runs)
    assert decision.recommended.id == decision.best.id
    _, reason = decision.sentences
    assert "Two cheaper networks scored at least 2.3 points lower" in reason and "not proven" in reason


def test_a_network_about_which_little_is_known_is_not_recommended(tmp_path: Path) -> None:
    """The cheaper network is within a standard error, but three walls do not say how much worse it may be."""
    walls = [f"wall {index // 100}" for index in range(300)]
    for width, mistakes in ((1, [0, 110, 120, 210]), (2, [1, 2, 3, 4, 5, *range(10, 50), 111, 121, 211])):
        publish(tmp_path, LABELS, with_mistakes(mistakes), 1000 // width**2, walls, width=width)
    decision = decision_of(tmp_path)
    difference = decision.ranked_runs[1].difference
    assert difference is not None and difference.value <= difference.error and difference.high > 0.2
    assert decision.recommended.id == decision.best.id


def test_half_a_point_is_not_too_much_for_a_cheaper_network(tmp_path: Path) -> None:
    labels = np.arange(2000) % 2 == 0
    for width, (mistakes, flops) in enumerate([(slice(6), 10), (slice(6, 7), 1000)]):
        publish(tmp_path, labels, with_mistakes(mistakes, labels=labels), flops, width=width)
    decision = decision_of(tmp_path)
    difference = decision.ranked_runs[1].difference
    assert difference is not None and difference.value == pytest.approx(0.0025) and difference.error < 0.0025
    assert decision.recommended.result["feature_flops"] == 10


def test_a_saving_too_small_to_matter_costs_no_accuracy(tmp_path: Path) -> None:
    for width, (mistakes, flops) in enumerate([(4, 998), (3, 1000)]):
        publish(tmp_path, LABELS, with_mistakes(mistakes), flops, width=width)
    decision = decision_of(tmp_path)
    assert decision.recommended.result["feature_flops"] == 1000
    assert "and it is not clearly cheaper" in decision.sentences[1]


def test_a_more_expensive_network_does_not_replace_the_best_run_of_an_equivalent_combination(tmp_path: Path) -> None:
    """The best run is one of three whose siblings failed; all runs of the expensive network are good."""
    for seed, mistakes in enumerate((5, 30, 30)):
        publish(tmp_path, LABELS, with_mistakes(mistakes, 100), 10, width=0, seed=seed)
        publish(tmp_path, LABELS, with_mistakes(6, 200), 1000, width=1, seed=seed)
    decision = decision_of(tmp_path)
    assert decision.combinations[0].settings == {"model.width": 1} and decision.combinations[1].undecided
    assert not decision.combinations[1].near_best, "the case that this test is about"
    assert decision.recommended.id == decision.best.id and decision.best.setting("model.width") == 0


def test_cheaper_networks_that_are_not_recommended_are_mentioned(tmp_path: Path) -> None:
    """Eight equivalent single runs, of which four are cheaper and of a worse combination."""
    for seed in range(4):
        for width, number, flops in ((1, 6, 900), (0, 15, 100)):
            mistakes = np.random.default_rng([seed, width]).permutation(300)[:number]
            publish(tmp_path, LABELS, with_mistakes(mistakes), flops, width=width, seed=seed)
    decision = decision_of(tmp_path)
    assert decision.recommended.setting("model.width") == 1 and len(decision.cheaper) >= 2
    assert not decision.combinations[1].undecided
    _, reason = decision.sentences
    count = ("Two", "Three", "Four")[len(decision.cheaper) - 2]
    assert f"{count} cheaper networks scored lower by an amount that chance can explain" in reason
    assert "on average over seeds their settings score lower" in reason
    assert decision.num_contenders == sum(run.row.setting("model.width") == 1 for run in decision.undecided)


@pytest.mark.parametrize(
    ("read", "reason"),
    [(1, "the other networks could not be compared"), (2, "Every network that could be compared scored lower")],
)
def test_networks_that_could_not_be_compared_are_not_said_to_be_worse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: int, reason: str
) -> None:
    for width, quality in enumerate((4.0, 0.5, 0.4)):
        publish(tmp_path, LABELS, simulate_logits(LABELS, quality, width + 1), width=width)
    assert "Every other network scored lower" in decision_of(tmp_path, "roc_auc").sentences[1]
    monkeypatch.setattr(correctness, "MAX_PREDICTIONS_READ", read)
    decision = decision_of(tmp_path, "roc_auc")
    assert reason in decision.sentences[1] and "not compared with the best" in decision.notes[-1]


def test_a_network_without_operations_is_not_cheaper_than_itself(tmp_path: Path) -> None:
    for width in (1, 2):
        publish(tmp_path, LABELS, with_mistakes(3 + width), 0, width=width)
    decision = decision_of(tmp_path)
    assert decision.cheaper == []
    assert decision.sentences[1] == (
        "Recommended. The other network scored lower by an amount that chance can explain, and it is not cheaper."
    )


def test_synthetic_images_are_not_called_photographs(tmp_path: Path) -> None:
    for width in range(2):
        publish(tmp_path, LABELS, with_mistakes(3 + width), 10, source="synthetic", width=width)
    decision = decision_of(tmp_path)
    text = " ".join([*decision.sentences, *decision.notes])
    assert "300 validation images" in text and "photograph" not in text


def test_the_selection_bias_is_explained(tmp_path: Path) -> None:
    publish_ladder(tmp_path)
    decision = decision_of(tmp_path)
    number, points = decision.num_contenders, 100 * decision.selection_bias
    assert number > 2 and points > 0.1
    assert decision.notes[0] == (
        f"Picking the best of {number} inflates its score: if all {number} were equally good, the winner would still "
        f"look about {points:.2g} points better than it is."
    )
