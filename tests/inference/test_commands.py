"""`crackdet predict`, `evaluate` and `scan` as a user calls them."""

import csv
import json
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rich
from PIL import Image
from typer.testing import CliRunner, Result

from crackdet.cli.main import app
from crackdet.inference.loaded_run import LoadedRun
from crackdet.store.sweep_record import SweepRecord


@pytest.fixture(autouse=True)
def _console_as_before() -> Iterator[None]:
    yield
    rich.reconfigure()  # `predict` moves it to standard error for the rest of its process


def crackdet(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def wall(camera: Path) -> Path:
    """Twelve photographs side by side, 240 x 144 pixels."""
    page = Image.new("RGB", (240, 144))
    for place, path in enumerate(sorted(camera.rglob("*.png"))[:12]):
        with Image.open(path) as image:
            page.paste(image, (place % 4 * 60, place // 4 * 48))
    page.save("wall.png")
    return Path("wall.png")


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_predictions_are_written_for_each_photograph(
    photographed: LoadedRun, store: Path, camera: Path, ending: str
) -> None:
    result = crackdet(
        "predict", photographed.id, camera, "--store", store, "--output", f"out.{ending}", "--device", "cpu"
    )
    assert result.exit_code == 0 and "24 images" in result.stderr and result.stdout == ""
    text = Path(f"out.{ending}").read_text().splitlines()
    rows = [json.loads(line) for line in text] if ending == "jsonl" else list(csv.DictReader(text))
    assert [row["path"] for row in rows] == sorted(map(str, camera.rglob("*.png")))
    expected = photographed.predict([row["path"] for row in rows], device="cpu")
    assert [float(row["probability"]) for row in rows] == expected.tolist()
    assert [row["label"] == "crack" for row in rows] == (expected > 0.5).tolist()


def test_rows_go_to_standard_output_by_the_threshold(photographed: LoadedRun, store: Path, camera: Path) -> None:
    for threshold, label in ((0, "crack"), (1, "no crack")):
        result = crackdet("predict", photographed.id, camera, "--store", store, "--threshold", threshold)
        assert {row["label"] for row in csv.DictReader(result.stdout.splitlines())} == {label}


def test_bad_files_are_listed_at_the_end_and_the_others_have_rows(
    photographed: LoadedRun, store: Path, camera: Path
) -> None:
    good = next(camera.rglob("*.png"))
    Path("text.jpg").write_text("no image")
    Path("cut.png").write_bytes(good.read_bytes()[:500])
    result = crackdet("predict", photographed.id, "text.jpg", good, "cut.png", "--store", store, "--format", "jsonl")
    assert result.exit_code == 1
    assert [json.loads(line)["path"] for line in result.stdout.splitlines()] == [str(good)]
    assert "2 could not be read" in result.stderr and "text.jpg: no image of a known format" in result.stderr


def refused(*arguments: object) -> str:
    """The one message of a command that does not begin."""
    result = crackdet(*arguments)
    assert result.exit_code == 2 and result.stdout == "", result.output
    assert len(result.stderr.strip().splitlines()) == 1 and result.stderr.startswith("error: "), result.stderr
    return result.stderr


def test_what_cannot_be_done_is_refused_with_one_message(
    photographed: LoadedRun, drawn: LoadedRun, store: Path, camera: Path, wall: Path, tmp_path: Path
) -> None:
    (tmp_path / "there.csv").touch()
    (tmp_path / "broken.png").write_text("no image")
    shutil.copytree(drawn.directory, tmp_path / "light" / drawn.id)
    (tmp_path / "light" / drawn.id / "model.safetensors").unlink()
    run, there = photographed.id, ("--store", store)
    assert "no such run" in refused("predict", "unknown", camera, *there)
    assert "could be" in refused("predict", "custom", camera, *there)
    assert "no such file" in refused("predict", run, "nowhere", *there)
    assert "holds no image" in refused("predict", run, "*.gif", *there)
    assert "exists" in refused("predict", run, camera, *there, "--output", "there.csv")
    assert "has been removed" in refused("predict", "best", camera, "--store", "light")
    assert "there is no such folder" in refused("predict", "best", camera, "--store", "dark")
    assert "cannot be used here" in refused("predict", run, camera, *there, "--device", "abacus")
    assert "less than a tile of 61x48" in refused("scan", run, next(camera.rglob("*.png")), *there, "--tile", "61x48")
    assert "broken.png: no image" in refused("scan", run, "broken.png", *there)
    assert "is the file of --overlay too" in refused(
        "scan", run, next(camera.rglob("*.png")), *there, "--overlay", "one.out", "--boxes", "./one.out"
    )
    twice = ("--on", "mine: data=synthetic", "--on", "mine: data=synthetic data.seed=1")
    assert "two sets of images have this name" in refused("evaluate", run, *there, *twice)
    assert "does not choose images" in refused("evaluate", run, "seed=1", *there)
    assert "trained with data.image_size=32" in refused("evaluate", run, "data.image_size=64", *there)
    assert "must be one of loss" in refused("evaluate", run, *there, "--metric", "luck")
    assert "must be train" in refused("evaluate", run, *there, "--split", "some")
    assert "has no test split" in refused("evaluate", run, *there, "--split", "test")


def test_the_best_of_a_sweep_is_used_whatever_store_it_is_in(photographed: LoadedRun, camera: Path) -> None:
    SweepRecord(Path("sweep")).add(photographed.run, [])
    Path("empty").mkdir()
    for command in (["predict", "best:sweep", camera], ["evaluate", "best:sweep"]):
        result = crackdet(*command, "--store", "empty", "--device", "cpu")
        assert result.exit_code == 0, result.stderr


def test_a_run_judged_on_its_own_images_has_its_own_result(photographed: LoadedRun, store: Path) -> None:
    result = crackdet("evaluate", photographed.id, "--store", store, "--output", "own.jsonl", "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    row = json.loads(Path("own.jsonl").read_text())
    for name in ("loss", "accuracy", "precision", "recall", "f1", "roc_auc"):
        assert row[name] == photographed.result[name]
    assert row["images"] == 12 and row["trained_with"] == 0


def test_several_runs_are_judged_on_several_sets(
    photographed: LoadedRun, drawn: LoadedRun, store: Path, camera: Path, cache: Path
) -> None:
    sets = (f"camera: data=folder data.root={shlex.quote(str(camera))} runtime.cache={cache}",
            f"data=synthetic data.num_images=20 runtime.cache={cache}", "own")  # fmt: skip
    options = [option for text in sets for option in ("--on", text)]
    line = ("evaluate", photographed.id, drawn.id, *options, "--store", store, "--split", "all", "--metric", "recall")
    result = crackdet(*line, "--output", "all.csv")
    assert result.exit_code == 0, result.stderr
    assert "recall: trained on" in result.stdout and "camera" in result.stdout
    with Path("all.csv").open(newline="") as file:
        rows = {(row["run"], row["tested_on"]): row for row in csv.DictReader(file)}
    assert len(rows) == 6
    assert rows[photographed.id, "camera"]["images"] == "24", "all splits"
    assert rows[photographed.id, "camera"]["trained_with"] == "12", "its own training images among them"
    assert rows[drawn.id, "camera"]["trained_with"] == "0"
    assert f"{photographed.id} was trained with 12 of the 24 images of camera" in result.stderr


def test_a_scan_draws_an_overlay_and_writes_boxes(photographed: LoadedRun, store: Path, wall: Path) -> None:
    line = ("scan", photographed.id, wall, "--store", store, "--threshold", 0, "--overlap", 0)
    result = crackdet(*line)
    assert result.exit_code == 0, result.stderr
    assert "tiles of 60x48 pixels (as the photographs of its training)" in result.stdout
    assert np.asarray(Image.open("wall-scan.png")).shape[1] == 240
    coco = json.loads(Path("wall-scan.json").read_text())
    assert [box["bbox"] for box in coco["annotations"]] == [[0, 0, 240, 144]], "all is above 0"
    assert "wall-scan.png: exists" in refused(*line)
    assert crackdet(*line, "--force").exit_code == 0
