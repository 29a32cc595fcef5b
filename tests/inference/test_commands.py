"""The commands `crackdet predict`, `evaluate` and `scan`."""

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
from crackdet.metrics.statistics import proportion_interval
from crackdet.store.sweep_record import SweepRecord


@pytest.fixture(autouse=True)
def _restore_console() -> Iterator[None]:
    yield
    rich.reconfigure()  # `predict` redirects it to standard error for the whole process


def crackdet(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def large_photo(photo_folder: Path) -> Path:
    """A photograph of 240 x 144 pixels, made of twelve smaller ones."""
    photo = Image.new("RGB", (240, 144))
    for index, path in enumerate(sorted(photo_folder.rglob("*.png"))[:12]):
        with Image.open(path) as image:
            photo.paste(image, (index % 4 * 60, index // 4 * 48))
    photo.save("large.png")
    return Path("large.png")


@pytest.mark.parametrize("extension", ["csv", "jsonl"])
def test_predict_writes_a_row_for_each_image(
    photo_run: LoadedRun, store: Path, photo_folder: Path, extension: str
) -> None:
    result = crackdet(
        "predict", photo_run.id, photo_folder, "--store", store, "--output", f"out.{extension}", "--device", "cpu"
    )
    assert result.exit_code == 0 and "24 images" in result.stderr and result.stdout == ""
    text = Path(f"out.{extension}").read_text().splitlines()
    rows = [json.loads(line) for line in text] if extension == "jsonl" else list(csv.DictReader(text))
    assert [row["path"] for row in rows] == sorted(map(str, photo_folder.rglob("*.png")))
    expected = photo_run.predict([row["path"] for row in rows], device="cpu")
    assert [float(row["probability"]) for row in rows] == expected.tolist()
    assert [row["label"] == "crack" for row in rows] == (expected > 0.5).tolist()


def test_predict_prints_rows_labelled_by_the_threshold(photo_run: LoadedRun, store: Path, photo_folder: Path) -> None:
    for threshold, label in ((0, "crack"), (1, "no crack")):
        result = crackdet("predict", photo_run.id, photo_folder, "--store", store, "--threshold", threshold)
        assert {row["label"] for row in csv.DictReader(result.stdout.splitlines())} == {label}


def test_predict_lists_unreadable_files_at_the_end_and_writes_rows_for_the_others(
    photo_run: LoadedRun, store: Path, photo_folder: Path
) -> None:
    good = next(photo_folder.rglob("*.png"))
    Path("text.jpg").write_text("no image")
    Path("cut.png").write_bytes(good.read_bytes()[:500])
    result = crackdet("predict", photo_run.id, "text.jpg", good, "cut.png", "--store", store, "--format", "jsonl")
    assert result.exit_code == 1
    assert [json.loads(line)["path"] for line in result.stdout.splitlines()] == [str(good)]
    assert "2 could not be read" in result.stderr and "text.jpg: no image of a known format" in result.stderr


def error_of(*arguments: object) -> str:
    """The single error message of a rejected command."""
    result = crackdet(*arguments)
    assert result.exit_code == 2 and result.stdout == "", result.output
    assert len(result.stderr.strip().splitlines()) == 1 and result.stderr.startswith("error: "), result.stderr
    return result.stderr


def test_invalid_arguments_are_reported_with_one_message(
    photo_run: LoadedRun, synthetic_run: LoadedRun, store: Path, photo_folder: Path, large_photo: Path, tmp_path: Path
) -> None:
    (tmp_path / "old.csv").touch()
    (tmp_path / "broken.png").write_text("no image")
    shutil.copytree(synthetic_run.directory, tmp_path / "light" / synthetic_run.id)
    (tmp_path / "light" / synthetic_run.id / "model.safetensors").unlink()
    run, photo, in_store = photo_run.id, next(photo_folder.rglob("*.png")), ("--store", store)
    assert "no such run" in error_of("predict", "unknown", photo_folder, *in_store)
    assert "matches several runs" in error_of("predict", "custom", photo_folder, *in_store)
    assert "no such file" in error_of("predict", run, "nowhere", *in_store)
    assert "contains no images" in error_of("predict", run, "*.gif", *in_store)
    assert "already exists" in error_of("predict", run, photo_folder, *in_store, "--output", "old.csv")
    assert "has been removed" in error_of("predict", "best", photo_folder, "--store", "light")
    assert "no such folder" in error_of("predict", "best", photo_folder, "--store", "dark")
    assert "cannot be used here" in error_of("predict", run, photo_folder, *in_store, "--device", "abacus")
    assert "less than a tile of 61x48" in error_of(
        "scan", run, next(photo_folder.rglob("*.png")), *in_store, "--tile", "61x48"
    )
    assert "broken.png: no image" in error_of("scan", run, "broken.png", *in_store)
    assert "is also the file of --overlay" in error_of(
        "scan", run, photo, *in_store, "--overlay", "one.out", "--boxes", "./one.out"
    )
    duplicates = ("--on", "mine: data=synthetic", "--on", "mine: data=synthetic data.seed=1")
    assert "two sets of images have this name" in error_of("evaluate", run, *in_store, *duplicates)
    assert "only these overrides are allowed: data=SOURCE" in error_of("evaluate", run, "seed=1", *in_store)
    assert "trained with data.image_size=32" in error_of("evaluate", run, "data.image_size=64", *in_store)
    assert "must be one of loss" in error_of("evaluate", run, *in_store, "--metric", "luck")
    assert "must be train" in error_of("evaluate", run, *in_store, "--split", "some")
    assert "has no test split" in error_of("evaluate", run, *in_store, "--split", "test")


def test_the_best_run_of_a_sweep_is_found_whatever_store_it_is_in(photo_run: LoadedRun, photo_folder: Path) -> None:
    SweepRecord(Path("sweep")).add(photo_run.run, [])
    Path("empty").mkdir()
    for command in (["predict", "best:sweep", photo_folder], ["evaluate", "best:sweep"]):
        result = crackdet(*command, "--store", "empty", "--device", "cpu")
        assert result.exit_code == 0, result.stderr


def test_evaluating_a_run_on_its_own_images_reproduces_its_result(photo_run: LoadedRun, store: Path) -> None:
    result = crackdet("evaluate", photo_run.id, "--store", store, "--output", "own.jsonl", "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    row = json.loads(Path("own.jsonl").read_text())
    for name in ("loss", "accuracy", "precision", "recall", "f1", "roc_auc"):
        assert row[name] == photo_run.result[name]
    assert row["images"] == 12 and row["trained_with"] == 0


def test_several_runs_are_evaluated_on_several_sets(
    photo_run: LoadedRun, synthetic_run: LoadedRun, store: Path, photo_folder: Path, cache: Path
) -> None:
    eval_sets = (f"photos: data=folder data.root={shlex.quote(str(photo_folder))} runtime.cache={cache}",
            f"data=synthetic data.num_images=20 runtime.cache={cache}", "own")  # fmt: skip
    options: list[object] = [option for text in eval_sets for option in ("--on", text)]
    options += ["--store", store, "--split", "all", "--metric", "recall"]
    result = crackdet("evaluate", photo_run.id, synthetic_run.id, *options, "--output", "all.csv")
    assert result.exit_code == 0, result.stderr
    assert "recall: trained on" in result.stdout and "photos" in result.stdout
    with Path("all.csv").open(newline="") as file:
        rows = {(row["run"], row["tested_on"]): row for row in csv.DictReader(file)}
    assert len(rows) == 6
    assert rows[photo_run.id, "photos"]["images"] == "24", "all splits"
    assert rows[photo_run.id, "photos"]["trained_with"] == "12", "its own training images among them"
    assert rows[synthetic_run.id, "photos"]["trained_with"] == "0"
    assert f"{photo_run.id} was trained with 12 of the 24 images of photos" in result.stderr


def test_scan_writes_an_overlay_and_boxes(photo_run: LoadedRun, store: Path, large_photo: Path) -> None:
    command = ("scan", photo_run.id, large_photo, "--store", store, "--threshold", 0, "--overlap", 0)
    result = crackdet(*command)
    assert result.exit_code == 0, result.stderr
    assert "tiles of 60x48 pixels (the median size of the training photographs)" in result.stdout
    assert np.asarray(Image.open("large-scan.png")).shape[1] == 240
    coco = json.loads(Path("large-scan.json").read_text())
    assert [box["bbox"] for box in coco["annotations"]] == [[0, 0, 240, 144]], "all probabilities are above 0"
    assert "large-scan.png: already exists" in error_of(*command)
    assert crackdet(*command, "--force").exit_code == 0


# --- sets of one class ------------------------------------------------------------------------------------------

NEED_BOTH = ("precision", "f1", "roc_auc")


@pytest.mark.parametrize(
    ("class_name", "rate", "others"),
    [("noncrack", "false_alarm_rate", "recall"), ("crack", "recall", "false_alarm_rate")],
)
def test_a_set_of_one_class_gives_its_rate_with_an_interval_and_no_other_metric(
    photo_run: LoadedRun, store: Path, photo_folder: Path, cache: Path, class_name: str, rate: str, others: str
) -> None:
    shutil.copytree(photo_folder / class_name, f"walls/{class_name}")
    data = ("data=folder", "data.root=walls", f"runtime.cache={cache}")
    result = crackdet("evaluate", photo_run.id, *data, "--store", store, "--split", "all", "--json")
    assert result.exit_code == 0, result.stderr
    (row,) = json.loads(result.stdout)["evaluations"]
    probabilities = photo_run.predict(sorted(Path("walls").rglob("*.png")), device="cpu")
    assert row[rate] == (probabilities > 0.5).mean() and row["images"] == len(probabilities)
    low, high = proportion_interval(row[rate], len(probabilities))
    assert (row[f"{rate}_low"], row[f"{rate}_high"]) == pytest.approx((float(low), float(high)))
    assert {row[name] for name in (*NEED_BOTH, others, f"{others}_low", f"{others}_high")} == {None}
    shown = crackdet("evaluate", photo_run.id, *data, "--store", store, "--split", "all").stdout
    assert f"{rate} {row[rate]:.4f} ({low:.4f} to {high:.4f})" in shown and f"{others} \N{EN DASH}" in shown


def test_images_of_one_wall_count_as_one_observation_of_false_alarms(
    photo_run: LoadedRun, store: Path, photo_folder: Path, cache: Path
) -> None:
    names = sorted(path.name for path in (photo_folder / "noncrack").iterdir())
    shutil.copytree(photo_folder / "noncrack", "walls")
    data = ("data=table", "data.table=walls/labels.csv", f"runtime.cache={cache}")
    widths = []
    for walls in (len(names), 2):
        rows = [f"{name},0,{number % walls}" for number, name in enumerate(names)]
        Path("walls/labels.csv").write_text("\n".join(["path,label,group", *rows]))
        result = crackdet(
            "evaluate", photo_run.id, *data, "--store", store, "--split", "all", "--output", "o.csv", "--force"
        )
        assert result.exit_code == 0, result.stderr
        with Path("o.csv").open(newline="") as file:
            (row,) = csv.DictReader(file)
        assert row["recall"] == row["roc_auc"] == ""
        widths.append(float(row["false_alarm_rate_high"]) - float(row["false_alarm_rate_low"]))
    assert widths[1] > widths[0]


def test_a_set_of_one_class_can_be_checked_but_not_trained_with(
    photo_run: LoadedRun, store: Path, photo_folder: Path, cache: Path
) -> None:
    data = ("data=folder", f"data.root={photo_folder / 'noncrack'}", f"runtime.cache={cache}", "data.image_size=32")
    result = crackdet("check-data", *data, "--quick")
    assert result.exit_code == 0, result.stderr
    assert "all images are without a crack: they can measure the share of false alarms" in result.stdout
    for arguments in (("evaluate", photo_run.id, *data[:3], "--store", store, "--split", "test"),):
        assert "has no test split" in error_of(*arguments)
