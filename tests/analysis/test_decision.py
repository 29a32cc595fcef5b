"""What is decided, checked against the runs' own files by other means."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

import crackdet
from crackdet.analysis import correctness
from crackdet.analysis.decision import Decision
from crackdet.analysis.ranking import summarize
from crackdet.analysis.rows import differing_keys
from crackdet.report.build import write_report
from crackdet.store.run import Run
from tests.analysis.runs import Bools, Floats, drawn, publish

LABELS = np.arange(300) % 2 == 0


def decided(store: Path, metric: str = "accuracy") -> Decision:
    decision = summarize(store, metric).decision
    assert decision is not None
    return decision


def right(run: Run) -> Bools:
    """From its file, as a stranger would read it."""
    with run.predictions_file.open() as file:
        return np.array([(float(row["logit"]) > 0) == (row["crack"] == "1") for row in csv.DictReader(file)])


def ladder(store: Path, older: bool = False) -> None:
    """Six single networks: the best two are alike, the cheaper of them is the second."""
    for place, (merit, flops) in enumerate([(3.3, 900), (3.2, 100), (2.8, 500), (2.0, 50), (1.5, 20), (0.5, 10)]):
        publish(store, LABELS, drawn(LABELS, merit, place + 1), flops, older=older and place % 2 == 0, width=place)


def replicates(store: Path, groups: list[str] | None = None) -> None:
    for width, (merit, flops) in enumerate([(3.2, 900), (3.0, 100), (1.2, 10)]):
        for seed in range(3):
            logits = drawn(LABELS, merit, 10 * width + seed + 1)
            publish(store, LABELS, logits, flops, groups, width=width, seed=seed)


def test_each_run_is_compared_with_the_best_on_the_same_images(tmp_path: Path) -> None:
    ladder(tmp_path)
    decision = decided(tmp_path)
    marks = [right(standing.entry.run) for standing in decision.standings]
    assert [standing.value for standing in decision.standings] == sorted((m.mean() for m in marks), reverse=True)
    p_values = []
    for standing, mark in zip(decision.standings, marks, strict=True):
        method = "exact" if mark.mean() > 0.99 or (~mark).sum() <= 5 else "wilson"
        expected = stats.binomtest(int(mark.sum()), len(mark)).proportion_ci(0.95, method)
        assert standing.interval == pytest.approx((expected.low, expected.high))
        table = [[0, (marks[0] & ~mark).sum()], [(~marks[0] & mark).sum(), 0]]
        p_values.append(min(mcnemar(table, exact=True).pvalue, 1) if mark is not marks[0] else 1)
    corrected = multipletests(p_values[1:], method="holm")[1]
    assert [standing.p_value for standing in decision.standings[1:]] == pytest.approx(corrected)
    equal = [
        decision.best.id,
        *(s.entry.id for s, p in zip(decision.standings[1:], corrected, strict=True) if p >= 0.05),
    ]
    assert [standing.entry.id for standing in decision.equivalent] == equal
    assert 1 < len(equal) < 6, "the case that this test is about"
    close = []
    for standing, mark in zip(decision.standings, marks, strict=True):
        gap = standing.gap
        assert gap is not None and gap.value == pytest.approx(marks[0].mean() - mark.mean())
        behind = np.concatenate([marks[0].astype(float) - mark, [0.5**0.5, -(0.5**0.5)]])  # and two images more
        assert gap.error == pytest.approx(behind.std() / 302**0.5), "Agresti and Min"
        assert (gap.low, gap.high) == pytest.approx(stats.norm.interval(0.95, behind.mean(), gap.error))
        if standing.entry.id in equal and gap.value <= max(gap.error, 0.005):
            close.append(standing.entry.result["feature_flops"])
    assert len(close) < len(equal), "one cannot be told from the best, and yet is too far behind"
    assert decision.recommended.result["feature_flops"] == min(close) < decision.best.result["feature_flops"]


def test_older_results_that_do_not_say_which_images_are_right_are_decided_alike(tmp_path: Path) -> None:
    ladder(tmp_path / "new")
    ladder(tmp_path / "old", older=True)
    new, old = decided(tmp_path / "new"), decided(tmp_path / "old")
    assert [(s.entry.id, s.p_value) for s in new.standings] == [(s.entry.id, s.p_value) for s in old.standings]


def test_where_predictions_are_not_read_no_run_is_left_out_that_they_would_keep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ladder(tmp_path, older=True)
    full = decided(tmp_path)
    monkeypatch.setattr(correctness, "MOST_READ", 0)
    bounded = decided(tmp_path)
    for own, other in zip(full.standings[1:], bounded.standings[1:], strict=True):
        assert own.p_value is not None and other.p_value is not None and other.p_value >= own.p_value
    assert not bounded.standings[-1].equivalent, "what is far worse is told even so"


def test_replicates_are_folded_into_combinations(tmp_path: Path) -> None:
    replicates(tmp_path)
    decision = decided(tmp_path)
    assert decision.replicated and [len(one.entries) for one in decision.combinations] == [3, 3, 3]
    for one in decision.combinations:
        values = [right(entry.run).mean() for entry in one.entries]
        assert one.mean == pytest.approx(np.mean(values)) and one.deviation == pytest.approx(np.std(values, ddof=1))
        assert one.interval.low < one.mean < one.interval.high
        pooled = stats.binomtest(round(900 * one.mean), 900).proportion_ci(0.95, "wilson")
        assert one.interval.high - one.interval.low > 0.9 * (pooled.high - pooled.low)
    assert [one.equivalent for one in decision.combinations] == [True, True, False]
    assert any("1 of the 2 others cannot be told from the best one" in note for note in decision.notes)
    assert decision.recommended.result["feature_flops"] == 100
    assert decision.recommended.setting("model.width") == 1


def test_images_of_one_group_do_not_count_as_independent(tmp_path: Path) -> None:
    replicates(tmp_path / "alone")
    replicates(tmp_path / "grouped", [f"wall {place // 30}" for place in range(300)])
    alone, grouped = decided(tmp_path / "alone"), decided(tmp_path / "grouped")
    assert alone.groups is None and grouped.groups == 10
    assert any("10 groups" in note for note in grouped.notes)
    assert [one.mean for one in alone.combinations] == [one.mean for one in grouped.combinations]
    assert [one.p_value for one in alone.combinations] != [one.p_value for one in grouped.combinations]


def test_a_single_network_that_leads_on_one_wall_only_does_not_lead(tmp_path: Path) -> None:
    """By photographs p is far below 5 %; of twelve walls it is worse on two."""
    walls = [f"wall {place // 25}" for place in range(300)]
    other = wrong(0)
    other[[*range(15), *range(25, 35)]] *= -1
    for store, groups in (("alone", None), ("grouped", walls)):
        for width, logits in ((1, wrong(3)), (2, other)):
            publish(tmp_path / store, LABELS, logits, 1000 // width, groups, width=width)
    alone, grouped = decided(tmp_path / "alone"), decided(tmp_path / "grouped")
    assert "no other does as well" in alone.sentences[1] and len(alone.equivalent) == 1
    assert len(grouped.equivalent) == 2 and not grouped.replicated
    assert [one.p_value for one in grouped.combinations] == [one.p_value for one in grouped.standings]
    own, before = grouped.standings[1].interval, alone.standings[1].interval
    assert own.high - own.low > 2 * (before.high - before.low)
    assert grouped.recommended.id == grouped.best.id, "the other is too far behind to be taken"
    assert "more groups of photographs would tell" in grouped.sentences[1]


def test_groups_of_equal_photographs_count_as_one_photograph_each(tmp_path: Path) -> None:
    labels = np.arange(40) % 2 == 0
    for width in range(3):
        logits = drawn(labels, 2.0 - 0.4 * width, width + 1)
        publish(tmp_path / "few", labels, logits, groups=[f"{n}" for n in range(40)], width=width)
        walls = [f"wall {n // 5:02d}" for n in range(200)]
        publish(tmp_path / "many", np.repeat(labels, 5), np.repeat(logits, 5), groups=walls, width=width)
    few, many = decided(tmp_path / "few"), decided(tmp_path / "many")
    for one, other in zip(few.standings, many.standings, strict=True):
        assert one.p_value == pytest.approx(other.p_value) and one.interval == pytest.approx(other.interval)


def test_what_tells_two_walls_apart_has_not_learned_to_tell_cracks(tmp_path: Path) -> None:
    """Four walls with cracks and four without, of which it takes three each for what they are."""
    labels = np.arange(200) // 25 % 2 == 0
    logits = np.where(labels, 1.0, -1.0)
    logits[:50] *= -1
    publish(tmp_path / "alone", labels, logits)
    publish(tmp_path / "walls", labels, logits, groups=[f"wall {n // 25}" for n in range(200)])
    assert decided(tmp_path / "alone").learned
    assert not decided(tmp_path / "walls").learned


def test_recall_is_compared_on_the_walls_that_have_cracks(tmp_path: Path) -> None:
    """Three of forty: these tell nothing, however many photographs they have."""
    labels = np.isin(np.arange(400) // 10, (3, 17, 30))
    walls = [f"wall {place // 10}" for place in range(400)]
    for width, missed in ((1, 0), (2, 11)):
        logits = np.where(labels, 1.0, -1.0)
        logits[np.flatnonzero(labels)[:missed]] *= -1
        publish(tmp_path, labels, logits, 1000 // width, walls, width=width)
    decision = decided(tmp_path, "recall")
    best, other = decision.standings
    assert best.value == 1 and other.p_value == 0.5, "two walls differ"
    expected = stats.binomtest(3, 3).proportion_ci(0.95, "exact")
    assert best.interval == pytest.approx((expected.low, 1))


@pytest.mark.parametrize(("metric", "walls"), [("precision", 2), ("f1", 2), ("roc_auc", 2), ("accuracy", 40)])
def test_a_perfect_score_is_as_sure_as_the_walls_it_is_of(tmp_path: Path, metric: str, walls: int) -> None:
    labels = np.isin(np.arange(400) // 10, (3, 17))
    groups = [f"wall {place // 10}" for place in range(400)]
    publish(tmp_path, labels, np.where(labels, 1.0, -1.0), groups=groups)
    (standing,) = decided(tmp_path, metric).standings
    expected = stats.binomtest(walls, walls).proportion_ci(0.95, "exact")
    assert standing.interval == pytest.approx((expected.low, 1))


def test_few_photographs_on_which_two_networks_differ_tell_little_by_any_metric(tmp_path: Path) -> None:
    """Five of 300, all to one side: no test can give less than 2^-4."""
    missed = wrong(0)
    missed[:10:2] *= -1
    for width, logits in ((1, wrong(0)), (2, missed)):
        publish(tmp_path, LABELS, logits, 1000 // width, width=width)
    for metric in ("accuracy", "recall", "f1"):
        assert (decided(tmp_path, metric).standings[1].p_value or 0) >= 0.0625


def test_mistakes_on_few_walls_leave_it_open_how_many_others_have(tmp_path: Path) -> None:
    groups = [f"wall {place // 10}" for place in range(300)]
    publish(tmp_path, LABELS, wrong(20, first=40), groups=groups)
    (standing,) = decided(tmp_path).standings
    expected = stats.binomtest(28, 30).proportion_ci(0.95, "exact")
    assert standing.interval == pytest.approx((expected.low, expected.high), abs=0.02)


def test_a_network_of_which_little_is_known_is_not_taken(tmp_path: Path) -> None:
    """Three walls say too little of how much worse the cheaper one is, though it is within a standard error."""
    walls = [f"wall {place // 100}" for place in range(300)]
    for width, mistakes in ((1, [0, 110, 120, 210]), (2, [1, 2, 3, 4, 5, 111, 121, 211])):
        logits = wrong(0)
        logits[[*mistakes, *(range(10, 50) if width == 2 else ())]] *= -1
        publish(tmp_path, LABELS, logits, 1000 // width**2, walls, width=width)
    decision = decided(tmp_path)
    gap = decision.standings[1].gap
    assert gap is not None and gap.value <= gap.error and gap.high > 0.2
    assert decision.recommended.id == decision.best.id


def test_runs_on_other_images_have_a_decision_of_their_own(tmp_path: Path) -> None:
    ladder(tmp_path)
    others = np.arange(200) % 4 == 0
    publish(tmp_path, others, drawn(others, 9, 1), width=9)
    found = summarize(tmp_path)
    assert [decision and decision.images for decision in found.decisions] == [300, 200]
    assert found.decision is found.decisions[0] and len(found.decision.standings) == 6


@pytest.mark.parametrize("metric", ["f1", "recall", "precision", "roc_auc"])
def test_another_metric_can_rank(tmp_path: Path, metric: str) -> None:
    ladder(tmp_path)
    decision = decided(tmp_path, metric)
    values = [(standing.entry.snapshot.result or {})[metric] for standing in decision.standings]
    assert [standing.value for standing in decision.standings] == values == sorted(values, reverse=True)
    assert all(standing.interval.low <= standing.value <= standing.interval.high for standing in decision.standings)
    assert decision.standings[1].equivalent and not decision.standings[-1].equivalent


def test_the_expected_luck_is_what_equal_networks_show(tmp_path: Path) -> None:
    """Five networks of one merit, many times over: by how much the best of them looks better than they are."""
    gains, said = [], []
    for time in range(20):
        store = tmp_path / str(time)
        for width in range(5):
            publish(store, LABELS, drawn(LABELS, 2.0, 100 * time + width + 1), width=width)
        values = [standing.value for standing in decided(store).standings]
        gains.append(max(values) - np.mean(values))
        said.append(decided(store).luck)
    assert np.mean(said) == pytest.approx(np.mean(gains), rel=0.3)


def test_the_decision_is_said_in_two_sentences_with_its_figures(tmp_path: Path) -> None:
    ladder(tmp_path)
    decision = decided(tmp_path)
    first, second = decision.sentences
    assert decision.best.id in first and "6 trained networks" in first and "300 validation photographs" in first
    assert f"{100 * decision.best.accuracy:.1f} %" in first
    share = decision.recommended.result["feature_flops"] / decision.best.result["feature_flops"]
    gap = decision.gap(decision.recommended)
    assert gap is not None and gap.low < 0 < gap.high
    assert (
        second.startswith(f"Take {decision.recommended.id}") and f"only {100 * share:.2g} % of the computing" in second
    )
    assert f"up to {100 * gap.high:.2g} points worse, or {-100 * gap.low:.2g} points better" in second


def wrong(number: int, first: int = 0) -> Floats:
    """Logits for `LABELS` with so many mistakes, on the images from `first` on."""
    logits = np.where(LABELS, 1.0, -1.0)
    logits[first : first + number] *= -1
    return logits


def test_what_is_far_behind_is_not_taken_where_chance_alone_does_not_tell_it(tmp_path: Path) -> None:
    publish(tmp_path, LABELS, wrong(3), 900, width=2)
    publish(tmp_path, LABELS, wrong(10, 100), 100, width=1)
    publish(tmp_path, LABELS, wrong(11, 200), 50, width=0)
    decision = decided(tmp_path)
    assert all(standing.equivalent for standing in decision.standings)
    assert decision.recommended.id == decision.best.id
    _, advice = decision.sentences
    assert "do not prove 2 cheaper ones worse" in advice and "worse by 2.3 points or more" in advice


def test_half_a_point_is_not_too_much_for_a_cheaper_network(tmp_path: Path) -> None:
    labels = np.arange(2000) % 2 == 0
    for width, (mistakes, flops) in enumerate([(slice(6), 10), (slice(6, 7), 1000)]):
        logits = np.where(labels, 1.0, -1.0)
        logits[mistakes] *= -1
        publish(tmp_path, labels, logits, flops, width=width)
    decision = decided(tmp_path)
    gap = decision.standings[1].gap
    assert gap is not None and gap.value == pytest.approx(0.0025) and gap.error < 0.0025
    assert decision.recommended.result["feature_flops"] == 10


@pytest.mark.parametrize("metric", ["accuracy", "f1", "recall", "roc_auc"])
def test_networks_that_have_learned_nothing_are_not_recommended(tmp_path: Path, metric: str) -> None:
    for width in range(30):
        publish(tmp_path, LABELS, np.random.default_rng(width).normal(size=300), 30 - width, width=width)
    publish(tmp_path, LABELS, np.full(300, 1.0), 1, width=30)  # it finds every crack
    summary = summarize(tmp_path, metric)
    decision = decided(tmp_path, metric)
    assert not decision.learned and decision.recommended.id == decision.best.id
    assert decision.sentences[1].startswith("Take none yet") and "being the best of 31" in decision.sentences[1]
    summary.write(tmp_path)
    content = json.loads((tmp_path / "summary.json").read_text())
    assert content["decisions"][0]["recommended"] is None and not any(run["recommended"] for run in content["runs"])
    page = write_report(tmp_path, tmp_path / "report.html", metric).read_text()
    assert "Take none yet" in page and "recommended</span>" not in page


def test_where_one_class_is_rare_a_network_is_told_from_chance_by_what_it_finds(tmp_path: Path) -> None:
    labels = np.arange(300) % 20 == 0
    for width, found in enumerate((6, 0)):
        logits = np.full(300, -1.0)
        logits[np.flatnonzero(labels)[:found]] = 1
        logits[np.flatnonzero(~labels)[:7]] = 1
        publish(tmp_path, labels, logits, width=width)
    decision = decided(tmp_path)
    assert decision.learned and decision.best.setting("model.width") == 0
    assert decision.baseline == 0.95 > decision.best.accuracy
    assert any("same answer for every photograph reaches 95.0 %" in note for note in decision.notes)


def test_no_dearer_network_is_taken_whose_combination_may_be_as_good_as_the_best_ones(tmp_path: Path) -> None:
    """The best run is one of three of which the others have failed; those of the dearer network are all good."""
    for seed, mistakes in enumerate((5, 30, 30)):
        publish(tmp_path, LABELS, wrong(mistakes, 100), 10, width=0, seed=seed)
        publish(tmp_path, LABELS, wrong(6, 200), 1000, width=1, seed=seed)
    decision = decided(tmp_path)
    assert decision.combinations[0].settings == {"model.width": 1} and decision.combinations[1].equivalent
    assert not decision.combinations[1].close, "the case that this test is about"
    assert decision.recommended.id == decision.best.id and decision.best.setting("model.width") == 0


def test_a_saving_too_small_to_matter_costs_no_accuracy(tmp_path: Path) -> None:
    for width, (mistakes, flops) in enumerate([(4, 998), (3, 1000)]):
        publish(tmp_path, LABELS, wrong(mistakes), flops, width=width)
    assert decided(tmp_path).recommended.result["feature_flops"] == 1000


def test_how_far_behind_a_network_is_stays_possible(tmp_path: Path) -> None:
    """Of two groups, or two runs, hardly anything is known."""
    for width in range(2):
        publish(
            tmp_path,
            LABELS,
            wrong(4 + width),
            10 + width,
            ["left" if n < 3 else "right" for n in range(300)],
            width=width,
        )
    gap = decided(tmp_path).combinations[1].gap
    assert gap is not None and -1 <= gap.low < gap.value < gap.high <= 1


def test_files_and_data_frame_say_the_same(tmp_path: Path) -> None:
    replicates(tmp_path)
    found = crackdet.load_runs(tmp_path)
    found.write(tmp_path)
    content = json.loads((tmp_path / "summary.json").read_text())
    decision = decided(tmp_path)
    assert content["schema"] == 2 and content["decisions"][0]["recommended"] == decision.recommended.id
    assert content["decisions"][0]["sentences"] == list(decision.sentences)
    assert [one["mean"] for one in content["decisions"][0]["combinations"]] == [
        one.mean for one in decision.combinations
    ]
    frame = found.to_pandas()
    with (tmp_path / "summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(frame["id"]) == [row["id"] for row in rows] == [row["id"] for row in content["runs"]]
    assert list(frame["model.width"]) == [int(row["model.width"]) for row in rows]
    assert list(frame["recommended"]) == [row["recommended"] == "True" for row in rows]
    assert (frame["low"] <= frame["accuracy"]).all() and (frame["accuracy"] <= frame["high"]).all()
    assert frame.groupby("model.width")["accuracy"].mean().max() == pytest.approx(decision.combinations[0].mean)


def test_replicates_are_runs_on_the_same_photographs_wherever_these_lie(tmp_path: Path) -> None:
    for seed in range(2):
        publish(tmp_path, LABELS, drawn(LABELS, 2, seed + 1), seed=seed, root=f"folder {seed}")
        publish(tmp_path, LABELS, drawn(LABELS, 2, seed + 9), seed=seed, fingerprint="1" * 64)
    decision = decided(tmp_path)
    assert decision.differing_keys == ["seed", "data.root"], "which says it as well, and is what a user gave"
    assert [len(one.entries) for one in decision.combinations] == [2, 2]
    assert {one.settings["data.fingerprint"] for one in decision.combinations} == {"0" * 12, "1" * 12}


def test_what_other_settings_say_of_the_photographs_is_not_said_again(tmp_path: Path) -> None:
    for place in range(3):
        publish(tmp_path, LABELS, drawn(LABELS, 2, place + 1), width=place)
    entries = list(summarize(tmp_path))
    assert differing_keys(entries) == ["model.width"]
    for entry in entries:  # as synthetic ones are said by their settings
        tree = entry.snapshot.settings["data"]
        tree |= {"seed": entry.setting("model.width"), "fingerprint": f"of {entry.setting('model.width')}"}
    assert differing_keys(entries) == ["model.width", "data.seed"]


def test_drawn_images_are_not_called_photographs(tmp_path: Path) -> None:
    for width in range(2):
        publish(tmp_path, LABELS, wrong(3 + width), 10, source="synthetic", width=width)
    decision = decided(tmp_path)
    said = " ".join([*decision.sentences, *decision.notes])
    assert "300 validation drawings" in said and "photograph" not in said


def test_cheaper_networks_that_are_not_taken_are_not_denied(tmp_path: Path) -> None:
    """Eight single runs that chance does not tell apart, of which four are cheaper and of a worse combination."""
    for seed in range(4):
        for width, wrong, flops in ((1, 6, 900), (0, 15, 100)):
            mistakes = np.random.default_rng([seed, width]).permutation(300)[:wrong]
            logits = np.where(LABELS, 1.0, -1.0)
            logits[mistakes] *= -1
            publish(tmp_path, LABELS, logits, flops, width=width, seed=seed)
    decision = decided(tmp_path)
    assert decision.recommended.setting("model.width") == 1 and len(decision.cheaper) >= 2
    assert not decision.combinations[1].equivalent
    _, advice = decision.sentences
    assert f"do not tell {len(decision.cheaper)} cheaper ones from it" in advice
    assert "their settings do worse on average" in advice
    assert decision.alike == sum(one.entry.setting("model.width") == 1 for one in decision.equivalent)


def test_photographs_of_one_group_say_nothing_of_others(tmp_path: Path) -> None:
    replicates(tmp_path, ["the wall"] * 300)
    decision = decided(tmp_path)
    assert decision.groups == 1 and any("all of one group" in note for note in decision.notes)
    assert all(one.equivalent for one in decision.combinations)
    assert all(one.interval.high - one.interval.low > 0.5 for one in decision.combinations)


@pytest.mark.parametrize(("metric", "counted"), [("precision", 1), ("f1", 5), ("roc_auc", 5), ("recall", 5)])
def test_a_perfect_score_is_as_sure_as_the_photographs_it_is_of(tmp_path: Path, metric: str, counted: int) -> None:
    labels = np.arange(300) < 5
    logits = np.where(labels, 1.0, -1.0)
    if metric == "precision":
        logits[1:5] = -0.5  # one alarm, and that true
    publish(tmp_path, labels, logits)
    (standing,) = decided(tmp_path, metric).standings
    assert standing.value == 1
    expected = stats.binomtest(counted, counted).proportion_ci(0.95, "exact")
    assert standing.interval == pytest.approx((expected.low, 1))


def test_of_a_network_that_never_alarms_the_precision_is_not_known(tmp_path: Path) -> None:
    publish(tmp_path, LABELS, np.full(300, -1.0))
    (standing,) = decided(tmp_path, "precision").standings
    assert standing.interval == (0, 1)


def test_scores_of_cracks_on_few_walls_tell_nothing_apart(tmp_path: Path) -> None:
    """By images ROC-AUCs of 1 and of 0.9 are told apart; all cracks are on one wall of forty."""
    labels = np.arange(400) < 10
    walls = [f"wall {place // 10}" for place in range(400)]
    worse = drawn(labels, 1.0, 1)
    for store, groups in (("alone", None), ("walls", walls)):
        publish(tmp_path / store, labels, np.where(labels, 9.0, -9.0), 900, groups, width=1)
        publish(tmp_path / store, labels, worse, 100, groups, width=2)
    alone, grouped = (decided(tmp_path / store, "roc_auc") for store in ("alone", "walls"))
    assert not alone.standings[1].equivalent and alone.learned
    assert grouped.standings[1].p_value == 1 and not grouped.learned
    assert grouped.standings[0].interval.low < 0.1


def test_scores_that_are_all_the_same_have_learned_nothing(tmp_path: Path) -> None:
    for width in (1, 2):
        publish(tmp_path, LABELS, np.full(300, 0.1 * width), width=width)
    assert not decided(tmp_path, "roc_auc").learned


@pytest.mark.parametrize("metric", ["accuracy", "roc_auc"])
def test_walls_that_are_all_alike_prove_nothing_of_chance(tmp_path: Path, metric: str) -> None:
    """On each of six walls three of five cracks are called, and two of five others."""
    labels = np.tile([True] * 5 + [False] * 5, 6)
    logits = np.tile([1.0] * 3 + [-1.0] * 2 + [1.0] * 2 + [-1.0] * 3, 6)
    publish(tmp_path, labels, logits, groups=[f"wall {place // 10}" for place in range(60)])
    assert not decided(tmp_path, metric).learned


@pytest.mark.parametrize(("read", "said"), [(1, "the others could not be"), (2, "no other that could be compared")])
def test_networks_that_could_not_be_compared_are_not_said_to_be_worse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: int, said: str
) -> None:
    for width, merit in enumerate((4.0, 0.5, 0.4)):
        publish(tmp_path, LABELS, drawn(LABELS, merit, width + 1), width=width)
    assert "no other does as well" in decided(tmp_path, "roc_auc").sentences[1]
    monkeypatch.setattr(correctness, "MOST_READ", read)
    decision = decided(tmp_path, "roc_auc")
    assert said in decision.sentences[1] and "not compared with the best" in decision.notes[-1]


def test_networks_that_differ_on_one_photograph_are_close_with_groups_too(tmp_path: Path) -> None:
    labels = np.arange(60) % 2 == 0
    walls = [f"wall {place // 2}" for place in range(60)]
    for width, mistakes in ((1, 2), (2, 3)):
        logits = np.where(labels, 1.0, -1.0)
        logits[[place * 7 for place in range(mistakes)]] *= -1
        publish(tmp_path, labels, logits, 1000 // width, walls, width=width)
    decision = decided(tmp_path)
    gap = decision.standings[1].gap
    assert gap is not None and gap.high < 0.1
    assert decision.recommended.setting("model.width") == 2


def test_a_network_that_costs_nothing_is_not_cheaper_than_itself(tmp_path: Path) -> None:
    for width in (1, 2):
        publish(tmp_path, LABELS, wrong(3 + width), 0, width=width)
    assert decided(tmp_path).cheaper == [] and "Take it: of the 2 networks" in decided(tmp_path).sentences[1]
