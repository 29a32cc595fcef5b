"""Replicates grouped into combinations, and the settings that distinguish runs."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import crackdet
from crackdet.analysis.ranking import summarize
from crackdet.analysis.rows import differing_keys
from tests.analysis.runs import LABELS, decision_of, publish, publish_replicates, read_correct, simulate_logits


def test_replicates_are_grouped_into_combinations(tmp_path: Path) -> None:
    publish_replicates(tmp_path)
    decision = decision_of(tmp_path)
    assert decision.replicated and [len(one.rows) for one in decision.combinations] == [3, 3, 3]
    for one in decision.combinations:
        values = [read_correct(row.run).mean() for row in one.rows]
        assert one.mean == pytest.approx(np.mean(values)) and one.deviation == pytest.approx(np.std(values, ddof=1))
        assert one.interval.low < one.mean < one.interval.high
        pooled = stats.binomtest(round(900 * one.mean), 900).proportion_ci(0.95, "wilson")
        assert one.interval.high - one.interval.low > 0.9 * (pooled.high - pooled.low)
    assert [one.undecided for one in decision.combinations] == [True, True, False]
    assert any("difference between the best one and 1 of the 2 others" in note for note in decision.notes)
    assert decision.recommended.result["feature_flops"] == 100
    assert decision.recommended.setting("model.width") == 1


def test_files_and_data_frame_agree(tmp_path: Path) -> None:
    publish_replicates(tmp_path)
    summary = crackdet.load_runs(tmp_path)
    summary.write(tmp_path)
    content = json.loads((tmp_path / "summary.json").read_text())
    decision = decision_of(tmp_path)
    assert content["schema"] == 3 and content["decisions"][0]["recommended"] == decision.recommended.id
    assert content["decisions"][0]["sentences"] == list(decision.sentences)
    assert content["decisions"][0]["selection_bias"] == decision.selection_bias
    assert [one["mean"] for one in content["decisions"][0]["combinations"]] == [
        one.mean for one in decision.combinations
    ]
    frame = summary.to_pandas()
    with (tmp_path / "summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(frame["id"]) == [row["id"] for row in rows] == [row["id"] for row in content["runs"]]
    assert list(frame["model.width"]) == [int(row["model.width"]) for row in rows]
    assert list(frame["recommended"]) == [row["recommended"] == "True" for row in rows]
    assert [row["verdict"] or None for row in rows] == [row["verdict"] for row in content["runs"]]
    assert {"best", "recommended", "undecided"} <= {row["verdict"] for row in content["runs"]}
    assert (frame["low"] <= frame["accuracy"]).all() and (frame["accuracy"] <= frame["high"]).all()
    assert frame.groupby("model.width")["accuracy"].mean().max() == pytest.approx(decision.combinations[0].mean)


def test_replicates_are_runs_on_the_same_images_whatever_their_folder(tmp_path: Path) -> None:
    for seed in range(2):
        publish(tmp_path, LABELS, simulate_logits(LABELS, 2, seed + 1), seed=seed, root=f"folder {seed}")
        publish(tmp_path, LABELS, simulate_logits(LABELS, 2, seed + 9), seed=seed, fingerprint="1" * 64)
    decision = decision_of(tmp_path)
    assert decision.differing_keys == ["seed", "data.root"], "it separates the images as well, and a user typed it"
    assert [len(one.rows) for one in decision.combinations] == [2, 2]
    assert {one.settings["data.fingerprint"] for one in decision.combinations} == {"0" * 12, "1" * 12}


def test_a_derived_key_is_left_out_if_other_settings_separate_the_runs(tmp_path: Path) -> None:
    for width in range(3):
        publish(tmp_path, LABELS, simulate_logits(LABELS, 2, width + 1), width=width)
    rows = list(summarize(tmp_path))
    assert differing_keys(rows) == ["model.width"]
    for row in rows:  # as synthetic images do
        tree = row.snapshot.settings["data"]
        tree |= {"seed": row.setting("model.width"), "fingerprint": f"of {row.setting('model.width')}"}
    assert differing_keys(rows) == ["model.width", "data.seed"]
