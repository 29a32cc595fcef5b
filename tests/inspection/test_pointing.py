"""Whether a network looks at the crack: what the pointing game says of networks that do, and of some that do not."""

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
from crackdet.inspection.loaded_network import load_split, open_subject, pictures_of
from crackdet.inspection.pointing import PointingResult, hits, luck, overlap, play, point, tolerance, widened
from crackdet.store.pointing import NUMBERS, read_pointing
from crackdet.store.snapshot import Status
from tests.inspection.conftest import trained

MASKS = arrays.arrays(np.bool_, (9, 9)).filter(lambda mask: mask.any())


def game(run: LoadedRun) -> PointingResult:
    subject = open_subject(run)
    images = load_split(subject, "valid")
    return play(subject, pictures_of(images, images.photographs))


def test_a_network_that_goes_by_the_crack_points_at_it(clean: LoadedRun) -> None:
    played = game(clean)
    assert clean.result["accuracy"] > 0.9
    assert played.by_method["grad_cam"].pointing > 0.6
    assert played.by_method["integrated_gradients"].pointing > 0.8
    assert all(played.above_chance(method) for method in played.by_method)
    assert played.blank < 0.2


def test_a_network_that_goes_by_a_mark_on_the_cracks_is_found_out(marked: LoadedRun) -> None:
    played = game(marked)
    assert marked.result["accuracy"] > 0.95
    assert not any(played.above_chance(method) for method in played.by_method)


def test_a_network_that_goes_by_a_mark_on_everything_else_is_found_out(unmarked: LoadedRun) -> None:
    played = game(unmarked)
    assert unmarked.result["accuracy"] > 0.95
    assert played.blank > 0.8


def test_the_numbers_stay_with_the_run_and_leave_its_result_valid(clean: LoadedRun) -> None:
    assert any("Grad-CAM" in line for line in point(open_subject(clean), [], "valid", most=200))
    numbers, played = read_pointing(clean.run), game(clean)
    assert numbers["pointing"] == played.by_method["grad_cam"].pointing
    assert numbers["overlap_ig"] == played.by_method["integrated_gradients"].overlap
    assert numbers["blank"] == played.blank
    assert clean.run.status() is Status.FINISHED


def test_summaries_hold_the_numbers_where_there_are_any(clean: LoadedRun, store: Path, sets: Path, cache: Path) -> None:
    point(open_subject(clean), [], "valid", most=200)
    silent = trained(sets / "clean", store, cache, "data.masks=masks", "trainer.max_epochs=1")
    rows = {row["id"]: row for row in crackdet.load_runs(store).rows()}
    assert {name: rows[clean.id][name] for name in NUMBERS} == read_pointing(clean.run)
    assert rows[silent.id]["pointing"] is None
    entry = next(entry for entry in crackdet.load_runs(store) if entry.id == clean.id)
    assert Condition("pointing", ">", "0.5").holds(entry)
    assert "blank" in known_keys([entry])


def test_numbers_of_other_weights_are_not_believed(marked: LoadedRun) -> None:
    point(open_subject(marked), [], "valid", most=200)
    content = json.loads(marked.run.pointing_file.read_text())
    marked.run.pointing_file.write_text(json.dumps({**content, "weights": "0" * 64}))
    assert read_pointing(marked.run) == {}


def test_numbers_of_other_images_are_told_but_not_kept(unmarked: LoadedRun, sets: Path) -> None:
    lines = point(open_subject(unmarked), [f"data.root={sets / 'clean'}"], "train", most=20)
    assert "20 of 77 images with a crack, train split" in lines[0]
    assert not unmarked.run.pointing_file.exists()


def test_without_masks_the_game_is_refused_until_they_are_named(sets: Path, tmp_path: Path, cache: Path) -> None:
    run = trained(sets / "clean", tmp_path / "runs", cache, "trainer.max_epochs=1")
    with pytest.raises(UserError, match=r"needs masks .* data\.masks=FOLDER"):
        point(open_subject(run), [], "valid", most=200)
    point(open_subject(run), ["data.masks=masks"], "valid", most=200)
    assert "pointing" in read_pointing(run.run)  # masks are no other images


def test_images_with_masks_are_found_among_many_without(clean: LoadedRun, sets: Path, tmp_path: Path) -> None:
    shutil.copytree(sets / "clean", tmp_path / "data")
    masks = sorted((tmp_path / "data" / "masks" / "Positive").iterdir())
    for mask in masks[3:]:
        mask.unlink()
    lines = point(open_subject(clean), ["data=folder", f"data.root={tmp_path / 'data'}", "data.masks=masks",
                                        "data.valid_fraction=0.9"], "valid", most=3)  # fmt: skip
    found = re.search(r"(\d) of \d+ images", lines[0])
    assert found and 1 <= int(found[1]) <= 3


def test_a_quick_look_leaves_what_more_images_have_given(clean: LoadedRun) -> None:
    point(open_subject(clean), [], "valid", most=200)
    numbers = read_pointing(clean.run)
    lines = point(open_subject(clean), [], "valid", most=1)
    assert "too few images to tell" in lines[-2]
    assert f"keeps what {numbers['pointing_images']:.0f} images" in lines[-1]
    assert read_pointing(clean.run) == numbers


def test_numbers_that_cannot_be_left_with_the_run_are_told_all_the_same(
    clean: LoadedRun, caplog: pytest.LogCaptureFixture
) -> None:
    clean.run.pointing_file.unlink(missing_ok=True)
    clean.run.pointing_file.mkdir()
    try:
        assert any("Grad-CAM" in line for line in point(open_subject(clean), [], "valid", most=20))
        assert "cannot be written" in caplog.text
    finally:
        clean.run.pointing_file.rmdir()


@settings(deadline=None)
@given(st.lists(st.floats(0.01, 0.99), min_size=1, max_size=6))
def test_luck_is_the_probability_of_so_many_hits(chances: list[float]) -> None:
    expected = [0.0] * (len(chances) + 1)
    for hits_of_each in itertools.product([0, 1], repeat=len(chances)):
        probability = math.prod(p if hit else 1 - p for p, hit in zip(chances, hits_of_each, strict=True))
        for number in range(sum(hits_of_each) + 1):
            expected[number] += probability
    assert luck(chances) == pytest.approx(expected)


@given(MASKS)
def test_overlap_is_whole_on_the_mask_and_nothing_beside_it(mask: np.ndarray) -> None:
    saliency = torch.from_numpy(mask).float()
    assert overlap(saliency, mask) == 1.0
    assert hits(saliency, mask)
    if 2 * mask.sum() <= mask.size:
        assert overlap(-saliency, mask) == 0.0


@given(MASKS)
def test_a_saliency_that_says_nothing_overlaps_as_chance_does_and_never_hits(mask: np.ndarray) -> None:
    nothing = torch.zeros(mask.shape)
    assert overlap(nothing, mask) == pytest.approx(mask.mean())
    assert not hits(nothing, mask)


@given(MASKS, st.integers(1, 4))
def test_a_point_may_miss_by_the_tolerance_and_no_more(mask: np.ndarray, reach: int) -> None:
    rows, columns = np.nonzero(mask)
    for y in range(9):
        for x in range(9):
            nearest = np.maximum(np.abs(rows - y), np.abs(columns - x)).min()
            assert widened(mask, reach)[y, x] == (nearest <= reach)


def test_the_tolerance_is_that_of_the_source_at_the_size_of_its_photographs() -> None:
    assert tolerance(500) == 15
    assert tolerance(10) == 1
