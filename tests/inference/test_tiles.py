"""Runs on tiles of photographs: evaluation, scanning, and hard negatives by `crackdet mine`."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from crackdet.cli.main import app
from crackdet.config.schema import Config
from crackdet.data.dataset import data_fingerprint, list_splits
from crackdet.data.tiles import parse_name
from crackdet.inference.annotations import find_annotation
from crackdet.inference.loaded_run import LoadedRun
from crackdet.inference.overlay import draw_overlay
from crackdet.inference.scanning import Heatmap, choose_tile
from tests.composing import compose
from tests.data.walls import SIZE, TILE, make_walls, paint, render_wall
from tests.inference.conftest import train

SETTINGS = ("data=masks", f"data.tile={TILE}", "data.image_size=32", "data.stride=8", "data.negatives_per_positive=0.5")


@pytest.fixture(scope="session")
def walls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_walls(tmp_path_factory.mktemp("walls"))


@pytest.fixture(scope="session")
def wall_run(store: Path, cache: Path, walls: Path) -> LoadedRun:
    return train(store, cache, [*SETTINGS, f"data.root={walls}"])


def crackdet(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def config_of(run: LoadedRun, *overrides: str) -> Config:
    data = [*SETTINGS, f"data.root={run.config.data.root}", *overrides]  # type: ignore[attr-defined]
    return compose([*data, f"runtime.store={run.run.root}", f"runtime.cache={run.config.runtime.cache}"])


# --- hard negatives -----------------------------------------------------------------------------------


def test_mining_scores_all_negatives_of_the_training_photographs(wall_run: LoadedRun, store: Path) -> None:
    result = crackdet("mine", wall_run.id, "--store", store, "--device", "cpu")
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(wall_run.run.negatives_file.open()))
    config = config_of(wall_run, "data.negatives_per_positive=null")
    train_records = list_splits(config.data, config.runtime)[0]["train"]
    negatives = {record.digest: record.name for record in train_records if not record.crack}
    assert {row["digest"]: row["name"] for row in rows} == negatives
    logits = [float(row["logit"]) for row in rows]
    assert logits == sorted(logits, reverse=True)
    false_alarms = sum(logit > 0 for logit in logits)
    assert f"{len(rows)} training tiles without a crack, of which {false_alarms} are called cracks" in result.output
    assert [name in result.output for name in (rows[0]["name"], rows[4]["name"], rows[5]["name"])] == [
        True,
        True,
        False,
    ]


def test_the_scores_are_those_of_the_published_weights(wall_run: LoadedRun, store: Path, walls: Path) -> None:
    crackdet("mine", wall_run.id, "--store", store, "--device", "cpu")
    rows = list(csv.DictReader(wall_run.run.negatives_file.open()))[:20]
    crops = []
    for row in rows:
        photograph, box = parse_name(row["name"])
        assert box is not None
        crops.append(Image.open(walls / photograph).crop(box.corners))
    expected = wall_run.predict(crops, device="cpu")
    found = 1 / (1 + np.exp(-np.array([float(row["logit"]) for row in rows])))
    assert found == pytest.approx(expected, abs=1e-2)  # the batches differ


def test_a_run_is_trained_on_the_hard_negatives_of_another(wall_run: LoadedRun, store: Path, cache: Path) -> None:
    crackdet("mine", wall_run.id, "--store", store, "--device", "cpu")
    before, after = config_of(wall_run), config_of(wall_run, f"data.hard_negatives={wall_run.id}")
    splits, hard_splits = (list_splits(config.data, config.runtime)[0] for config in (before, after))
    assert hard_splits["valid"] == splits["valid"]
    assert len(hard_splits["train"]) == len(splits["train"])
    hardest = [row["digest"] for row in csv.DictReader(wall_run.run.negatives_file.open())]
    chosen = [record.digest for record in hard_splits["train"] if not record.crack]
    assert set(hardest[: len(chosen) // 2]) <= set(chosen)
    assert len({data_fingerprint(config.data, config.runtime) for config in (before, after)}) == 2
    root = wall_run.config.data.root  # type: ignore[attr-defined]
    overrides = [*SETTINGS, f"data.root={root}", f"data.hard_negatives={wall_run.id}", "trainer.max_epochs=1"]
    assert train(store, cache, overrides).id != wall_run.id


def test_mining_needs_data_with_tiles(photo_run: LoadedRun, store: Path) -> None:
    result = crackdet("mine", photo_run.id, "--store", store)
    assert result.exit_code == 2
    assert "data=folder: has no tiles; hard negatives need data=masks or data=boxes" in " ".join(result.output.split())


# --- evaluation and scanning --------------------------------------------------------------------------


def test_tiles_of_a_training_photograph_count_as_trained_with(wall_run: LoadedRun, store: Path) -> None:
    """Other tiles of the same photographs are no new images."""
    other_tiles = ["data.stride=12", "data.tile=24", "data.split_seed=1"]
    result = crackdet("evaluate", wall_run.id, *other_tiles, "--split", "all", "--store", store, "--json")
    (evaluation,) = json.loads(result.stdout)["evaluations"]
    assert 0 < evaluation["trained_with"] < evaluation["images"]
    config = config_of(wall_run, *other_tiles)
    trained = {parse_name(record.name)[0] for record in _train_split(wall_run)}
    records = [record for members in list_splits(config.data, config.runtime)[0].values() for record in members]
    assert evaluation["trained_with"] == sum(parse_name(record.name)[0] in trained for record in records)


def _train_split(run: LoadedRun) -> list:  # type: ignore[type-arg]
    return list_splits(run.config.data, run.config.runtime)[0]["train"]


def test_a_scan_has_the_tiles_of_the_run(wall_run: LoadedRun) -> None:
    tile = choose_tile(None, wall_run.config)
    assert (tile.width, tile.height, tile.reason) == (TILE, TILE, "data.tile of the run")


def test_a_scan_finds_the_annotation_of_a_photograph_of_the_data(
    wall_run: LoadedRun, walls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(walls / "images")
    for path in (walls / "images" / "0.png", Path("0.png")):
        annotation = find_annotation(path, wall_run.config)
        assert annotation is not None
        assert np.array_equal(annotation, render_wall(0).mask)
    copy = Path(shutil.copy(walls / "images" / "0.png", tmp_path / "0.png"))
    assert find_annotation(copy, wall_run.config) is None


def test_photographs_of_runs_without_tiles_have_no_annotation(photo_run: LoadedRun, photo_folder: Path) -> None:
    photograph = next(photo_folder.rglob("*.png"))
    assert find_annotation(photograph, photo_run.config) is None


def test_an_annotation_is_outlined_in_white(tmp_path: Path) -> None:
    photograph = Image.new("RGB", SIZE, "black")
    heatmap = Heatmap(np.array([0, SIZE[0]]), np.array([0, SIZE[1]]), np.zeros((1, 1)), 1, 1.0)
    mask = paint(SIZE, (20, 20, 40, 30))
    pixels = np.asarray(draw_overlay(photograph, heatmap, [], "", mask))[: SIZE[1]]
    white = (pixels == 255).all(axis=-1)
    assert not white[20:30, 20:40].any()
    assert white[18, 20:40].all() and white[31, 20:40].all() and white[20:30, 18].all() and white[20:30, 41].all()
    assert not white[paint(SIZE, (17, 17, 43, 33)) == 0].any()


def test_scan_names_the_tile_and_draws_the_annotation(
    wall_run: LoadedRun, walls: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = crackdet("scan", wall_run.id, walls / "images" / "0.png", "--store", store, "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "tiles of 32x32 pixels (data.tile of the run)" in result.output
    assert (np.asarray(Image.open("0-scan.png"))[: SIZE[1]] == 255).all(axis=-1).sum() > 50
