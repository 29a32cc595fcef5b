"""`crackdet.load_run`: what stands in a run directory, and the classifier that it restores."""

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
from crackdet.config.composing import compose
from crackdet.core.errors import UserError
from crackdet.data.dataset import load_splits
from crackdet.inference.images import batched
from crackdet.inference.loaded_run import LoadedRun
from crackdet.metrics.numpy_metrics import probabilities


def test_predictions_of_photographs_are_the_recorded_ones_to_the_bit(photographed: LoadedRun, camera: Path) -> None:
    recorded = photographed.predictions
    assert len(recorded) == 12
    found = photographed.predict([camera / row.image for row in recorded], device="cpu")
    assert found.tolist() == probabilities([row.logit for row in recorded]).tolist()


def test_predictions_of_drawings_are_the_recorded_ones_to_the_bit(drawn: LoadedRun) -> None:
    valid = load_splits(drawn.config.data, drawn.config.runtime)["valid"]
    assert [photograph.name for photograph in valid.photographs] == [row.image for row in drawn.predictions]
    found = drawn.predict(np.stack([valid.pixels.read(photograph) for photograph in valid.photographs]), "cpu")
    assert found.tolist() == probabilities([row.logit for row in drawn.predictions]).tolist()


@given(st.lists(st.floats(-1000, 1000), min_size=1, max_size=40))
def test_probabilities_are_the_logistic_function_of_the_logits_wherever_these_stand(logits: list[float]) -> None:
    found = probabilities(logits)
    assert found == pytest.approx(expit(logits), rel=1e-14)
    assert found.tolist() == [probabilities([logit]).item() for logit in logits]
    assert all(found[place] > 0.5 for place, logit in enumerate(logits) if logit > 1e-15)
    assert all(found[place] <= 0.5 for place, logit in enumerate(logits) if logit <= 0)


def test_a_picture_is_the_same_in_whatever_form_it_comes(photographed: LoadedRun, camera: Path) -> None:
    path = next(camera.rglob("*.png"))
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    array = np.asarray(image)
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1)
    opaque = np.dstack([array, np.full(array.shape[:2], 255, np.uint8)])
    forms = [path, str(path), image, array, array / 255, tensor, tensor.float() / 255, opaque]
    alone = {photographed.predict(form, device="cpu").item() for form in forms}
    assert len(alone) == 1
    together = photographed.predict(iter(forms), device="cpu", batch_size=3)
    assert together == pytest.approx([alone.pop()] * len(forms), abs=1e-6)
    assert photographed.predict(tensor.expand(5, *tensor.shape), device="cpu").shape == (5,)
    assert photographed.predict([], device="cpu").shape == (0,)


@pytest.mark.parametrize(
    ("picture", "complaint"),
    [
        ("nowhere.png", "nowhere.png: No such file"),
        (np.zeros((3, 8, 8), np.uint8), "arrays are \\(H, W, 3\\)"),
        (np.full((8, 8, 3), 2.0), "floats must be in \\[0, 1\\]"),
        (np.full((8, 8, 3), np.nan), "floats must be in \\[0, 1\\]"),
        (np.zeros((8, 8, 3), np.int64), "int64 is no type of pixels"),
        (np.zeros((0, 8, 3), np.uint8), "is no picture"),
        ([np.zeros((8, 8, 3), np.uint8), object()], "image 1: object is no picture"),
        (3, "int is no picture"),
    ],
)
def test_what_is_no_picture_is_named(drawn: LoadedRun, picture: object, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        drawn.predict(picture, device="cpu")


def test_a_run_shows_what_its_directory_holds(drawn: LoadedRun, store: Path) -> None:
    assert drawn.directory == store / drawn.id
    assert drawn.settings["model.conv_out"] == [4, 8]
    with (drawn.directory / "history.csv").open() as file:
        assert [row["epoch"] for row in drawn.history] == [float(row["epoch"]) for row in csv.DictReader(file)]
    right = [row.crack == (row.logit > 0) for row in drawn.predictions]
    assert drawn.result["accuracy"] == sum(right) / len(right)


def test_the_model_is_trained_in_evaluation_mode_and_the_users_own(drawn: LoadedRun) -> None:
    model = drawn.model("cpu")
    assert not model.training
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(model(images), model.classifier(model.feature_extractor(images).flatten(1)).squeeze(1))
    before = drawn.predict(np.zeros((8, 8, 3), np.uint8), device="cpu")
    torch.nn.init.zeros_(model.classifier[-1].weight)
    assert drawn.predict(np.zeros((8, 8, 3), np.uint8), device="cpu") == before


def test_predicting_leaves_torch_as_it_was(drawn: LoadedRun) -> None:
    torch.use_deterministic_algorithms(False)
    drawn.predict(np.zeros((8, 8, 3), np.uint8), device="cpu")
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_run_is_found_by_the_beginning_of_its_id_and_as_the_best(drawn: LoadedRun, tmp_path: Path) -> None:
    shutil.copytree(drawn.directory, tmp_path / drawn.id)
    for name in (drawn.id[:10], "best", f"best:{tmp_path}"):
        assert crackdet.load_run(name, tmp_path).id == drawn.id
    with pytest.raises(UserError, match="no such run"):
        crackdet.load_run("unknown", tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        crackdet.load_run("best", tmp_path / "nowhere")


def test_an_ambiguous_beginning_is_refused(drawn: LoadedRun, photographed: LoadedRun, store: Path) -> None:
    assert drawn.id != photographed.id
    with pytest.raises(UserError, match=f"could be .*{photographed.id}"):
        crackdet.load_run("custom", store)


def test_a_run_without_its_weights_keeps_its_result(drawn: LoadedRun, tmp_path: Path) -> None:
    shutil.copytree(drawn.directory, tmp_path / drawn.id)
    (tmp_path / drawn.id / "model.safetensors").unlink()
    run = crackdet.load_run(drawn.id, tmp_path)
    assert run.result["accuracy"] == drawn.result["accuracy"]
    with pytest.raises(UserError, match=r"model\.safetensors: has been removed"):
        run.predict(np.zeros((8, 8, 3), np.uint8))


@pytest.mark.parametrize("name", ["predictions.csv", "config.yaml", "model.safetensors"])
def test_a_damaged_run_is_not_believed(drawn: LoadedRun, tmp_path: Path, name: str) -> None:
    shutil.copytree(drawn.directory, tmp_path / drawn.id)
    content = bytearray((tmp_path / drawn.id / name).read_bytes())
    content[-3] ^= 1
    (tmp_path / drawn.id / name).write_bytes(content)
    run = crackdet.load_run(drawn.id, tmp_path)
    with pytest.raises(UserError, match=f"{name}.*(is corrupt|differs from the published)"):
        _ = run.model("cpu"), run.predictions


def test_a_run_that_is_not_finished_has_no_model(drawn: LoadedRun, tmp_path: Path) -> None:
    shutil.copytree(drawn.directory, tmp_path / drawn.id)
    (tmp_path / drawn.id / "result.json").unlink()
    run = crackdet.load_run(drawn.id, tmp_path)
    assert len(run.history) == 4
    with pytest.raises(UserError, match="is interrupted, not finished"):
        run.model("cpu")


def test_a_device_that_is_not_there_is_refused(drawn: LoadedRun) -> None:
    with pytest.raises(UserError, match="device=cuda:99: cannot be used here"):
        drawn.model("cuda:99")


def test_looking_at_a_run_does_not_import_torch(drawn: LoadedRun, store: Path) -> None:
    code = (
        "import sys, crackdet\n"
        f"run = crackdet.load_run({drawn.id!r}, {str(store)!r})\n"
        "assert run.history and run.predictions and run.result and run.settings and run.config\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@given(st.integers(0, 50), st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_batches_are_those_of_training(number: int, size: int) -> None:
    from crackdet.data.batches import make_batches

    assert list(batched(range(number), size)) == [piece.tolist() for piece in make_batches(np.arange(number), size)]


def test_the_configuration_can_be_read_as_composed(drawn: LoadedRun) -> None:
    assert drawn.config.optimizer == compose(["optimizer.learning_rate=1e-3"]).optimizer
