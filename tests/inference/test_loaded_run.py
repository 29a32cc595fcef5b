"""`crackdet.load_run`: the content of a run directory, and the classifier restored from it."""

import csv
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.special import expit

import crackdet
from crackdet.core.errors import UserError
from crackdet.data.dataset import load_splits
from crackdet.inference.images import batched
from crackdet.inference.loaded_run import LoadedRun
from crackdet.metrics.numpy_metrics import probabilities
from tests.composing import compose


def test_predictions_of_files_equal_the_recorded_ones_bit_for_bit(photo_run: LoadedRun, photo_folder: Path) -> None:
    recorded = photo_run.predictions
    assert len(recorded) == 12
    found = photo_run.predict([photo_folder / row.image for row in recorded], device="cpu")
    assert found.tolist() == probabilities([row.logit for row in recorded]).tolist()


def test_predictions_of_synthetic_images_equal_the_recorded_ones_bit_for_bit(synthetic_run: LoadedRun) -> None:
    valid = load_splits(synthetic_run.config.data, synthetic_run.config.runtime)["valid"]
    assert [record.name for record in valid.records] == [row.image for row in synthetic_run.predictions]
    found = synthetic_run.predict(np.stack([valid.pixels.read(record) for record in valid.records]), "cpu")
    assert found.tolist() == probabilities([row.logit for row in synthetic_run.predictions]).tolist()


@given(st.lists(st.floats(-1000, 1000), min_size=1, max_size=40))
def test_probabilities_are_the_logistic_function_of_each_logit(logits: list[float]) -> None:
    found = probabilities(logits)
    assert found == pytest.approx(expit(logits), rel=1e-14)
    assert found.tolist() == [probabilities([logit]).item() for logit in logits]
    assert all(found[index] > 0.5 for index, logit in enumerate(logits) if logit > 1e-15)
    assert all(found[index] <= 0.5 for index, logit in enumerate(logits) if logit <= 0)


def test_an_image_has_one_prediction_whatever_its_type(photo_run: LoadedRun, photo_folder: Path) -> None:
    path = next(photo_folder.rglob("*.png"))
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    array = np.asarray(image)
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1)
    rgba = np.dstack([array, np.full(array.shape[:2], 255, np.uint8)])
    variants = [path, str(path), image, array, array / 255, tensor, tensor.float() / 255, rgba]
    singly = {photo_run.predict(variant, device="cpu").item() for variant in variants}
    assert len(singly) == 1
    in_batches = photo_run.predict(iter(variants), device="cpu", batch_size=3)
    assert in_batches == pytest.approx([singly.pop()] * len(variants), abs=1e-6)
    assert photo_run.predict(tensor.expand(5, *tensor.shape), device="cpu").shape == (5,)
    assert photo_run.predict([], device="cpu").shape == (0,)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("nowhere.png", "nowhere.png: No such file"),
        (np.zeros((3, 8, 8), np.uint8), "arrays are \\(H, W, 3\\)"),
        (np.full((8, 8, 3), 2.0), "floats must be in \\[0, 1\\]"),
        (np.full((8, 8, 3), np.nan), "floats must be in \\[0, 1\\]"),
        (np.zeros((8, 8, 3), np.int64), "pixels must be uint8, or floats in \\[0, 1\\]; these are int64"),
        (np.zeros((0, 8, 3), np.uint8), "is not an image"),
        ([np.zeros((8, 8, 3), np.uint8), object()], "image 1: object is not an image"),
        (3, "int is not an image"),
    ],
)
def test_an_invalid_image_is_named(synthetic_run: LoadedRun, image: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        synthetic_run.predict(image, device="cpu")


def test_a_loaded_run_has_the_content_of_its_directory(synthetic_run: LoadedRun, store: Path) -> None:
    assert synthetic_run.directory == store / synthetic_run.id
    assert synthetic_run.settings["model.conv_out"] == [4, 8]
    with (synthetic_run.directory / "history.csv").open() as file:
        assert [row["epoch"] for row in synthetic_run.history] == [float(row["epoch"]) for row in csv.DictReader(file)]
    correct = [row.crack == (row.logit > 0) for row in synthetic_run.predictions]
    assert synthetic_run.result["accuracy"] == sum(correct) / len(correct)


def test_the_model_is_in_evaluation_mode_and_a_copy_of_the_users_own(synthetic_run: LoadedRun) -> None:
    model = synthetic_run.model("cpu")
    assert not model.training
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(model(images), model.classifier(model.feature_extractor(images).flatten(1)))
    before = synthetic_run.predict(np.zeros((8, 8, 3), np.uint8), device="cpu")
    last = model.classifier[-1]
    assert isinstance(last, torch.nn.Linear)
    torch.nn.init.zeros_(last.weight)
    assert synthetic_run.predict(np.zeros((8, 8, 3), np.uint8), device="cpu") == before


def test_predicting_restores_torchs_deterministic_mode(synthetic_run: LoadedRun) -> None:
    torch.use_deterministic_algorithms(False)
    synthetic_run.predict(np.zeros((8, 8, 3), np.uint8), device="cpu")
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_run_is_found_by_a_prefix_of_its_id_and_as_best(synthetic_run: LoadedRun, tmp_path: Path) -> None:
    shutil.copytree(synthetic_run.directory, tmp_path / synthetic_run.id)
    for name in (synthetic_run.id[:10], "best", f"best:{tmp_path}"):
        assert crackdet.load_run(name, tmp_path).id == synthetic_run.id
    with pytest.raises(UserError, match="no such run"):
        crackdet.load_run("unknown", tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        crackdet.load_run("best", tmp_path / "nowhere")


def test_an_ambiguous_prefix_is_rejected(synthetic_run: LoadedRun, photo_run: LoadedRun, store: Path) -> None:
    assert synthetic_run.id != photo_run.id
    with pytest.raises(UserError, match=f"matches several runs: .*{photo_run.id}"):
        crackdet.load_run("custom", store)


def test_a_run_without_its_weights_keeps_its_result(synthetic_run: LoadedRun, tmp_path: Path) -> None:
    shutil.copytree(synthetic_run.directory, tmp_path / synthetic_run.id)
    (tmp_path / synthetic_run.id / "model.safetensors").unlink()
    run = crackdet.load_run(synthetic_run.id, tmp_path)
    assert run.result["accuracy"] == synthetic_run.result["accuracy"]
    with pytest.raises(UserError, match=r"model\.safetensors: has been removed"):
        run.predict(np.zeros((8, 8, 3), np.uint8))


@pytest.mark.parametrize("name", ["predictions.csv", "config.yaml", "model.safetensors"])
def test_a_corrupt_run_is_reported_as_corrupt(synthetic_run: LoadedRun, tmp_path: Path, name: str) -> None:
    shutil.copytree(synthetic_run.directory, tmp_path / synthetic_run.id)
    content = bytearray((tmp_path / synthetic_run.id / name).read_bytes())
    content[-3] ^= 1
    (tmp_path / synthetic_run.id / name).write_bytes(content)
    run = crackdet.load_run(synthetic_run.id, tmp_path)
    with pytest.raises(UserError, match=f"{name}.*(is corrupt|differs from the published)"):
        _ = run.model("cpu"), run.predictions


def test_a_run_that_is_not_finished_has_no_model(synthetic_run: LoadedRun, tmp_path: Path) -> None:
    shutil.copytree(synthetic_run.directory, tmp_path / synthetic_run.id)
    (tmp_path / synthetic_run.id / "result.json").unlink()
    run = crackdet.load_run(synthetic_run.id, tmp_path)
    assert len(run.history) == 4
    with pytest.raises(UserError, match="is interrupted, not finished"):
        run.model("cpu")


def test_an_unavailable_device_is_rejected(synthetic_run: LoadedRun) -> None:
    with pytest.raises(UserError, match="device=cuda:99: cannot be used here"):
        synthetic_run.model("cuda:99")


def test_reading_a_run_does_not_import_torch(synthetic_run: LoadedRun, store: Path) -> None:
    code = (
        "import sys, crackdet\n"
        f"run = crackdet.load_run({synthetic_run.id!r}, {str(store)!r})\n"
        "assert run.history and run.predictions and run.result and run.settings and run.config\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@given(st.integers(0, 50), st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_batches_equal_those_of_training(count: int, size: int) -> None:
    from crackdet.data.batches import make_batches

    assert list(batched(range(count), size)) == [batch.tolist() for batch in make_batches(np.arange(count), size)]


def test_the_stored_configuration_equals_the_composed_one(synthetic_run: LoadedRun) -> None:
    assert synthetic_run.config.optimizer == compose(["optimizer.learning_rate=1e-3"]).optimizer
