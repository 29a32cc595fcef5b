"""With few validation groups, what is at chance is called so, and nothing that proves nothing looks like a finding."""

import json
from pathlib import Path

import numpy as np
import pytest

from crackdet.analysis.ranking import summarize
from crackdet.metrics.sample_size import min_observations
from tests.analysis.runs import Bools, Floats, decision_of, publish, with_mistakes

SIZE = 60  # images of each group


def labels_of(number: int, pure: bool) -> tuple[Bools, list[str]]:
    """Return labels and groups; pure groups have one class each."""
    groups = np.repeat(np.arange(number), SIZE)
    labels = (groups if pure else np.arange(len(groups))) % 2 == 0
    return labels, [f"wall {group}" for group in groups]


def half_right(labels: Bools) -> Floats:
    """Return logits that are right on half of the images of each class and group."""
    return with_mistakes(np.flatnonzero(np.arange(len(labels)) // 2 % 2 == 0), labels=labels)


@pytest.mark.parametrize(
    ("number", "pure"), [(number, pure) for number in range(1, 8) for pure in (False, True) if number > pure]
)
def test_a_network_at_chance_is_called_so_beside_a_good_one(
    tmp_path: Path, number: int, pure: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    labels, groups = labels_of(number, pure)
    rng = np.random.default_rng(number)
    useless = [
        half_right(labels), np.full(len(labels), 1.0), np.full(len(labels), -1.0), rng.normal(size=len(labels)) - 0.05
    ]  # fmt: skip
    good = [with_mistakes([5], labels=labels), with_mistakes([3, 7], labels=labels)]
    for width, logits in enumerate([*good, *useless]):
        publish(tmp_path, labels, logits, 1000 - width, groups, width=width)
    decision = decision_of(tmp_path)
    verdicts = {run.row.setting("model.width"): decision.verdicts(run.row) for run in decision.ranked_runs}
    assert all(verdicts[width] == ["chance"] for width in range(2, 6)), verdicts
    assert "best" in verdicts[0] and not any("chance" in verdicts[width] for width in (0, 1))
    assert [run.row.setting("model.width") for run in decision.undecided] == [0, 1]
    assert not any(row["equivalent"] for row in summarize(tmp_path).rows() if row["verdict"] == "chance")
    assert decision.recommended.setting("model.width") in (0, 1)
    summarize(tmp_path).show()
    output = capsys.readouterr().out
    assert " 1.000 " not in output.replace("1.0000", ""), "no p-value that looks like a finding"
    told = "no difference can be significant" in " ".join(output.split())
    assert told or (number == 1 and "are of one group" in output)
    assert number == 1 or any(f"Only {number} validation groups" in note for note in decision.notes)


def test_with_enough_groups_a_difference_is_found_and_nothing_is_said_of_few(tmp_path: Path) -> None:
    labels, groups = labels_of(8, pure=False)
    for width, mistakes in ((0, 1), (1, 20)):
        per_wall = [SIZE * wall + index for wall in range(8) for index in range(mistakes)]
        publish(tmp_path, labels, with_mistakes(per_wall, labels=labels), 1000, groups, width=width)
    decision = decision_of(tmp_path)
    assert decision.verdicts(decision.ranked_runs[1].row) == []
    assert not any("Only" in note for note in decision.notes)


@pytest.mark.parametrize("number", range(2, 6))
def test_a_good_network_on_few_walls_of_one_class_each_is_not_called_chance(tmp_path: Path, number: int) -> None:
    """Of two walls with cracks and two without, a network that knows the walls is right on every image."""
    labels, groups = labels_of(number, pure=True)
    for width, mistakes in ((0, 0), (1, 2)):
        publish(tmp_path, labels, with_mistakes(mistakes, labels=labels), 1000, groups, width=width)
    decision = decision_of(tmp_path)
    assert not decision.best_is_above_chance
    assert decision.verdicts(decision.best) == ["best", "undecided"]
    assert "too few to distinguish even the best one from chance" in decision.sentences[1]
    assert "raise data.valid_fraction" in decision.sentences[1]


@pytest.mark.parametrize("crack", [False, True])
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("metric", ["accuracy", "f1", "recall", "precision", "roc_auc"])
def test_validation_images_of_one_class_tell_nothing(tmp_path: Path, crack: bool, grouped: bool, metric: str) -> None:
    labels = np.full(40, crack)
    groups = [f"wall {index // 10}" for index in range(40)] if grouped else None
    for width, logits in enumerate((np.where(labels, 1.0, -1.0), np.full(40, 1.0), np.arange(40) - 20.0)):
        publish(tmp_path, labels, logits, 1000, groups, width=width)
    decision = decision_of(tmp_path, metric)
    assert {verdict for run in decision.ranked_runs for verdict in decision.verdicts(run.row)} == {"best", "chance"}
    assert "all validation images are of one class" in decision.sentences[1]


@pytest.mark.parametrize("number", [2, 4, 6])
def test_few_images_prove_nothing_but_a_perfect_network_is_not_called_chance(tmp_path: Path, number: int) -> None:
    labels = np.arange(number) % 2 == 0
    for width, mistakes in ((0, 0), (1, number // 2)):
        publish(tmp_path, labels, with_mistakes(mistakes, labels=labels), width=width)
    decision = decision_of(tmp_path)
    assert [decision.verdicts(run.row) for run in decision.ranked_runs] == [["best", "undecided"], ["chance"]]
    assert "too few to distinguish even the best one from chance" in decision.sentences[1]


def test_a_cheaper_network_at_chance_is_never_recommended(tmp_path: Path) -> None:
    """On 24 images, chance can explain the difference between two networks of which one is at chance."""
    labels = np.arange(24) % 2 == 0
    for width, mistakes, flops in ((0, 6, 1000), (1, 8, 10)):
        wrong = np.arange(mistakes) * 3
        publish(tmp_path, labels, with_mistakes(wrong, labels=labels), flops, width=width)
    decision = decision_of(tmp_path)
    assert decision.verdicts(decision.best) == ["best", "recommended"]
    assert decision.verdicts(decision.ranked_runs[1].row) == ["chance"]
    assert decision.sentences[1] == "Recommended. The other network cannot be distinguished from chance."


def test_half_right_is_at_chance_even_if_the_labels_are_lost(tmp_path: Path) -> None:
    labels = np.arange(200) % 2 == 0
    for width, mistakes in ((0, 2), (1, 100)):
        run = publish(tmp_path, labels, with_mistakes(mistakes, labels=labels), width=width)
        result = json.loads(run.result_file.read_text())
        run.predictions_file.write_text("")
        run.publish({name: value for name, value in result.items() if name not in ("files", "checksum")})
    decision = decision_of(tmp_path)
    assert decision.chance.is_above(0) and not decision.chance.is_above(1)


@pytest.mark.parametrize(("comparisons", "expected"), [(1, 6), (2, 7), (29, 11), (999, 16)])
def test_the_least_number_of_observations_follows_from_the_corrected_sign_test(comparisons: int, expected: int) -> None:
    assert min_observations(comparisons) == expected
    assert 2.0 ** (1 - expected) * comparisons < 0.05 <= 2.0 ** (2 - expected) * comparisons
