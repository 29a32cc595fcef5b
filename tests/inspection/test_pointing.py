"""The pointing game on networks that look at the crack, and on networks that do not."""

import itertools
import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import crackdet
from crackdet.analysis.filters import Condition, known_keys
from crackdet.core.errors import UserError
from crackdet.inference.loaded_run import LoadedRun
from crackdet.inspection.loaded_network import load_network
from crackdet.inspection.pointing import (
    PointingResult,
    dilate,
    is_hit,
    overlap,
    poisson_binomial_tail,
    run_pointing,
    score_pointing,
    tolerance_pixels,
)
from crackdet.inspection.samples import load_split, to_samples
from crackdet.store.pointing import POINTING_COLUMNS, read_pointing
from crackdet.store.snapshot import Status
from tests.inspection.conftest import train

MASKS = arrays.arrays(np.bool_, (9, 9)).filter(lambda mask: mask.any())


def pointing_of(run: LoadedRun) -> PointingResult:
    network = load_network(run)
    images = load_split(network, "valid")
    return score_pointing(network, to_samples(images, images.records))


def test_a_network_that_relies_on_the_crack_points_at_it(clean_run: LoadedRun) -> None:
    result = pointing_of(clean_run)
    assert clean_run.result["accuracy"] > 0.9
    assert result.by_method["grad_cam"].pointing > 0.6
    assert result.by_method["integrated_gradients"].pointing > 0.8
    assert all(result.above_chance(method) for method in result.by_method)
    assert result.blank < 0.2


def test_a_network_that_relies_on_a_mark_on_the_cracks_is_detected(marked_run: LoadedRun) -> None:
    result = pointing_of(marked_run)
    assert marked_run.result["accuracy"] > 0.95
    assert not any(result.above_chance(method) for method in result.by_method)


def test_a_network_that_relies_on_a_mark_on_all_other_images_is_detected(unmarked_run: LoadedRun) -> None:
    result = pointing_of(unmarked_run)
    assert unmarked_run.result["accuracy"] > 0.95
    assert result.blank > 0.8


def test_the_scores_are_recorded_and_the_run_stays_finished(clean_run: LoadedRun) -> None:
    assert any("Grad-CAM" in line for line in run_pointing(load_network(clean_run), [], "valid", max_images=200))
    scores, result = read_pointing(clean_run.run), pointing_of(clean_run)
    assert scores["pointing"] == result.by_method["grad_cam"].pointing
    assert scores["overlap_ig"] == result.by_method["integrated_gradients"].overlap
    assert scores["blank"] == result.blank
    assert clean_run.run.status() is Status.FINISHED


def test_summaries_contain_recorded_scores(clean_run: LoadedRun, store: Path, sets: Path, cache: Path) -> None:
    run_pointing(load_network(clean_run), [], "valid", max_images=200)
    unscored = train(sets / "clean", store, cache, "data.masks=masks", "trainer.max_epochs=1")
    rows = {row["id"]: row for row in crackdet.load_runs(store).rows()}
    assert {name: rows[clean_run.id][name] for name in POINTING_COLUMNS} == read_pointing(clean_run.run)
    assert rows[unscored.id]["pointing"] is None
    row = next(row for row in crackdet.load_runs(store) if row.id == clean_run.id)
    assert Condition("pointing", ">", "0.5").holds(row)
    assert "blank" in known_keys([row])


def test_scores_of_other_weights_are_ignored(marked_run: LoadedRun) -> None:
    run_pointing(load_network(marked_run), [], "valid", max_images=200)
    content = json.loads(marked_run.run.pointing_file.read_text())
    marked_run.run.pointing_file.write_text(json.dumps({**content, "weights": "0" * 64}))
    assert read_pointing(marked_run.run) == {}


def test_scores_on_other_images_are_printed_but_not_recorded(unmarked_run: LoadedRun, sets: Path) -> None:
    lines = run_pointing(load_network(unmarked_run), [f"data.root={sets / 'clean'}"], "train", max_images=20)
    assert "20 of 77 images with a crack, train split" in lines[0]
    assert not unmarked_run.run.pointing_file.exists()


def test_masks_are_required_and_can_be_named_later(sets: Path, tmp_path: Path, cache: Path) -> None:
    run = train(sets / "clean", tmp_path / "runs", cache, "trainer.max_epochs=1")
    with pytest.raises(UserError, match=r"needs masks .* data\.masks=FOLDER"):
        run_pointing(load_network(run), [], "valid", max_images=200)
    run_pointing(load_network(run), ["data.masks=masks"], "valid", max_images=200)
    assert "pointing" in read_pointing(run.run)  # naming masks does not change the images


def test_images_with_masks_are_found_among_many_without_masks(clean_run: LoadedRun, sets: Path, tmp_path: Path) -> None:
    shutil.copytree(sets / "clean", tmp_path / "data")
    masks = sorted((tmp_path / "data" / "masks" / "Positive").iterdir())
    for mask in masks[3:]:
        mask.unlink()
    lines = run_pointing(load_network(clean_run), ["data=folder", f"data.root={tmp_path / 'data'}", "data.masks=masks",
                                        "data.valid_fraction=0.9"], "valid", max_images=3)  # fmt: skip
    found = re.search(r"(\d) of \d+ images", lines[0])
    assert found and 1 <= int(found[1]) <= 3


def test_a_result_on_fewer_images_does_not_replace_a_recorded_one(clean_run: LoadedRun) -> None:
    run_pointing(load_network(clean_run), [], "valid", max_images=200)
    scores = read_pointing(clean_run.run)
    lines = run_pointing(load_network(clean_run), [], "valid", max_images=1)
    assert "too few images to distinguish" in lines[-2]
    assert f"keeps its result on {scores['pointing_images']:.0f} images" in lines[-1]
    assert read_pointing(clean_run.run) == scores


def test_scores_that_cannot_be_recorded_are_still_printed(
    clean_run: LoadedRun, caplog: pytest.LogCaptureFixture
) -> None:
    clean_run.run.pointing_file.unlink(missing_ok=True)
    clean_run.run.pointing_file.mkdir()
    try:
        assert any("Grad-CAM" in line for line in run_pointing(load_network(clean_run), [], "valid", max_images=20))
        assert "cannot be written" in caplog.text
    finally:
        clean_run.run.pointing_file.rmdir()


@settings(deadline=None)
@given(st.lists(st.floats(0.01, 0.99), min_size=1, max_size=6))
def test_the_tail_is_the_probability_of_at_least_so_many_events(probabilities: list[float]) -> None:
    expected = [0.0] * (len(probabilities) + 1)
    for outcomes in itertools.product([0, 1], repeat=len(probabilities)):
        probability = math.prod(p if occurs else 1 - p for p, occurs in zip(probabilities, outcomes, strict=True))
        for count in range(sum(outcomes) + 1):
            expected[count] += probability
    assert poisson_binomial_tail(probabilities) == pytest.approx(expected)


@given(MASKS)
def test_overlap_is_one_on_the_mask_and_zero_off_it(mask: np.ndarray) -> None:
    saliency = torch.from_numpy(mask).float()
    assert overlap(saliency, mask) == 1.0
    assert is_hit(saliency, mask)
    if 2 * mask.sum() <= mask.size:
        assert overlap(-saliency, mask) == 0.0


@given(MASKS)
def test_a_constant_saliency_overlaps_by_chance_and_never_hits(mask: np.ndarray) -> None:
    constant = torch.zeros(mask.shape)
    assert overlap(constant, mask) == pytest.approx(mask.mean())
    assert not is_hit(constant, mask)


@given(MASKS, st.integers(1, 4))
def test_dilating_a_mask_adds_all_pixels_within_the_radius(mask: np.ndarray, radius: int) -> None:
    rows, columns = np.nonzero(mask)
    for y in range(9):
        for x in range(9):
            nearest = np.maximum(np.abs(rows - y), np.abs(columns - x)).min()
            assert dilate(mask, radius)[y, x] == (nearest <= radius)


def test_the_tolerance_is_15_pixels_on_500() -> None:
    assert tolerance_pixels(500) == 15
    assert tolerance_pixels(10) == 1
