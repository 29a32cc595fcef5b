"""Images of one group count as one observation."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tests.analysis.runs import LABELS, decision_of, publish, publish_replicates, simulate_logits, with_mistakes


def walls(number: int, size: int) -> list[str]:
    """Return the groups of `number` images on walls of `size` images each."""
    return [f"wall {index // size:02d}" for index in range(number)]


def test_images_of_one_group_are_not_independent(tmp_path: Path) -> None:
    publish_replicates(tmp_path / "alone")
    publish_replicates(tmp_path / "grouped", walls(300, 30))
    alone, grouped = decision_of(tmp_path / "alone"), decision_of(tmp_path / "grouped")
    assert alone.num_groups is None and grouped.num_groups == 10
    assert any("10 groups" in note for note in grouped.notes)
    assert [one.mean for one in alone.combinations] == [one.mean for one in grouped.combinations]
    assert [one.p_value for one in alone.combinations] != [one.p_value for one in grouped.combinations]


def test_a_single_network_that_leads_on_one_wall_only_is_not_proven_better(tmp_path: Path) -> None:
    """By images p is far below 5 %, but the other network is worse on two of twelve walls only."""
    other = with_mistakes([*range(15), *range(25, 35)])
    for store, groups in (("alone", None), ("grouped", walls(300, 25))):
        for width, logits in ((1, with_mistakes(3)), (2, other)):
            publish(tmp_path / store, LABELS, logits, 1000 // width, groups, width=width)
    alone, grouped = decision_of(tmp_path / "alone"), decision_of(tmp_path / "grouped")
    assert "Every other network scored lower" in alone.sentences[1] and len(alone.undecided) == 1
    assert len(grouped.undecided) == 2 and not grouped.replicated
    assert [one.p_value for one in grouped.combinations] == [one.p_value for one in grouped.ranked_runs]
    own, before = grouped.ranked_runs[1].interval, alone.ranked_runs[1].interval
    assert own.high - own.low > 2 * (before.high - before.low)
    assert grouped.recommended.id == grouped.best.id, "the other is too far behind to be recommended"
    assert "With only 12 validation groups that is not proven" in grouped.sentences[1]
    assert "a larger data.valid_fraction gives more groups" in grouped.sentences[1]


def test_groups_of_equal_images_count_as_one_image_each(tmp_path: Path) -> None:
    labels = np.arange(40) % 2 == 0
    for width in range(3):
        logits = simulate_logits(labels, 2.0 - 0.4 * width, width + 1)
        publish(tmp_path / "few", labels, logits, groups=[f"{n}" for n in range(40)], width=width)
        publish(tmp_path / "many", np.repeat(labels, 5), np.repeat(logits, 5), groups=walls(200, 5), width=width)
    few, many = decision_of(tmp_path / "few"), decision_of(tmp_path / "many")
    for one, other in zip(few.ranked_runs, many.ranked_runs, strict=True):
        assert one.p_value == pytest.approx(other.p_value) and one.interval == pytest.approx(other.interval)


def test_recall_is_compared_on_the_walls_that_have_cracks(tmp_path: Path) -> None:
    """Three of forty walls have cracks: too few to distinguish networks, however many images they have."""
    labels = np.isin(np.arange(400) // 10, (3, 17, 30))
    for width, missed in ((1, 0), (2, 11)):
        logits = with_mistakes(np.flatnonzero(labels)[:missed], labels=labels)
        publish(tmp_path, labels, logits, 1000 // width, walls(400, 10), width=width)
    decision = decision_of(tmp_path, "recall")
    best, other = decision.ranked_runs
    assert best.value == 1 and other.p_value == 0.5, "two walls differ"
    expected = stats.binomtest(3, 3).proportion_ci(0.95, "exact")
    assert best.interval == pytest.approx((expected.low, 1))


@pytest.mark.parametrize(("metric", "number"), [("precision", 2), ("f1", 2), ("roc_auc", 2), ("accuracy", 40)])
def test_the_interval_of_a_perfect_score_depends_on_its_own_walls(tmp_path: Path, metric: str, number: int) -> None:
    labels = np.isin(np.arange(400) // 10, (3, 17))
    publish(tmp_path, labels, np.where(labels, 1.0, -1.0), groups=walls(400, 10))
    (run,) = decision_of(tmp_path, metric).ranked_runs
    expected = stats.binomtest(number, number).proportion_ci(0.95, "exact")
    assert run.interval == pytest.approx((expected.low, 1))


def test_mistakes_on_few_walls_are_assumed_to_cluster(tmp_path: Path) -> None:
    publish(tmp_path, LABELS, with_mistakes(20, first=40), groups=walls(300, 10))
    (run,) = decision_of(tmp_path).ranked_runs
    expected = stats.binomtest(28, 30).proportion_ci(0.95, "exact")
    assert run.interval == pytest.approx((expected.low, expected.high), abs=0.02)


def test_the_difference_of_two_groups_stays_within_its_possible_values(tmp_path: Path) -> None:
    """Two groups, or two runs, say hardly anything about how far behind a network is."""
    groups = ["left" if n < 3 else "right" for n in range(300)]
    for width in range(2):
        publish(tmp_path, LABELS, with_mistakes(4 + width), 10 + width, groups, width=width)
    difference = decision_of(tmp_path).combinations[1].difference
    assert difference is not None and -1 <= difference.low < difference.value < difference.high <= 1


def test_images_of_one_group_say_nothing_about_other_groups(tmp_path: Path) -> None:
    publish_replicates(tmp_path, ["the wall"] * 300)
    decision = decision_of(tmp_path)
    assert decision.num_groups == 1 and any("are of one group" in note for note in decision.notes)
    assert all(one.undecided for one in decision.combinations)
    assert all(one.interval.high - one.interval.low > 0.5 for one in decision.combinations)


def test_scores_of_cracks_on_a_single_wall_distinguish_nothing(tmp_path: Path) -> None:
    """By images, ROC-AUCs of 1 and of 0.9 differ; but all cracks are on one wall of forty."""
    labels = np.arange(400) < 10
    worse = simulate_logits(labels, 1.0, 1)
    for store, groups in (("alone", None), ("walls", walls(400, 10))):
        publish(tmp_path / store, labels, np.where(labels, 9.0, -9.0), 900, groups, width=1)
        publish(tmp_path / store, labels, worse, 100, groups, width=2)
    alone, grouped = (decision_of(tmp_path / store, "roc_auc") for store in ("alone", "walls"))
    assert not alone.ranked_runs[1].undecided and alone.best_is_above_chance
    assert grouped.ranked_runs[1].p_value == 1 and not grouped.best_is_above_chance
    assert grouped.ranked_runs[0].interval.low < 0.1


def test_networks_that_differ_on_one_image_are_near_each_other_with_groups_too(tmp_path: Path) -> None:
    labels = np.arange(60) % 2 == 0
    for width, mistakes in ((1, 2), (2, 3)):
        logits = with_mistakes([7 * index for index in range(mistakes)], labels=labels)
        publish(tmp_path, labels, logits, 1000 // width, walls(60, 2), width=width)
    decision = decision_of(tmp_path)
    difference = decision.ranked_runs[1].difference
    assert difference is not None and difference.high < 0.1
    assert decision.recommended.setting("model.width") == 2
