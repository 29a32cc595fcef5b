"""Weights from files: read without executing anything, loaded strictly."""

import logging
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from crackdet.models.factory import load_trained
from crackdet.models.weights import load_strict, read_state_dict, unshared
from tests.composing import compose
from tests.jobs import job_of
from tests.models.helpers import MOBILENET, build_from, error_message, mobilenet_features, random_images

SMALL = ("model.conv_out=[4,8]", "model.linear_features=16", "data.image_size=32")


# --- files that fit -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors", "checkpoint.pth"])
def test_a_torchvision_network_loads_initial_weights_from_a_file(
    name: str, mobilenet: dict[str, Tensor], tmp_path: Path
) -> None:
    file = tmp_path / name
    if name.endswith(".safetensors"):
        save_file(mobilenet, file)
    else:
        torch.save({"state_dict": mobilenet, "epoch": 3} if "checkpoint" in name else mobilenet, file)
    model = build_from(*MOBILENET, f"model.weights={file}")
    with torch.no_grad():
        assert torch.equal(model.features(random_images()), mobilenet_features(mobilenet, random_images()))


def test_weights_from_a_file_get_the_configured_normalisation(mobilenet: dict[str, Tensor], tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    torch.save(mobilenet, file)
    model = build_from(*MOBILENET, f"model.weights={file}", "model.input_mean=[0.5,0.5,0.5]")
    expected = mobilenet_features(mobilenet, random_images() - 0.5)
    with torch.no_grad():
        assert torch.equal(model.features(random_images()), expected)


def test_a_runs_weights_initialise_feature_extractor_and_normalisation_of_another_run(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    source = build_from(*SMALL, "seed=1", "model.input_mean=[0.1,0.2,0.3]", "model.input_std=[0.5,0.6,0.7]")
    save_file(source.state_dict(), file)
    model = build_from(*SMALL, "seed=2", "model.linear_features=3", f"model.weights={file}")
    with torch.no_grad():
        assert torch.equal(model.features(random_images(32)), source.features(random_images(32)))
    fresh = build_from(*SMALL, "seed=2", "model.linear_features=3")
    assert torch.equal(*(one.classifier.get_parameter("0.weight") for one in (model, fresh)))


def test_weights_of_unknown_normalisation_cause_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "weights.safetensors"
    save_file(build_from(*SMALL).feature_extractor.state_dict(), file)
    with caplog.at_level(logging.WARNING):
        build_from(*SMALL, f"model.weights={file}", "model.input_mean=[0,0,0]")
        assert not caplog.messages
        build_from(*SMALL, f"model.weights={file}")
    assert "model.input_mean" in caplog.text


# --- files that do not fit ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda state: state.pop("0.bias"), "0.bias is missing"),
        (lambda state: state.update(extra=torch.zeros(1)), "extra is unknown"),
        (lambda state: state.update({"0.bias": torch.zeros(5)}), "0.bias has shape (5,), not (4,)"),
    ],
)
def test_weights_that_do_not_fit_are_an_error(change: Callable[[Any], Any], problem: str, tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    state = dict(build_from(*SMALL).feature_extractor.state_dict())
    change(state)
    save_file(state, file)
    message = error_message(lambda: build_from(*SMALL, f"model.weights={file}"))
    assert message == f"model.weights={file}: the weights do not fit the network: {problem}"


def test_the_error_for_weights_of_another_network_lists_only_some_tensors(
    mobilenet: dict[str, Tensor], tmp_path: Path
) -> None:
    file = tmp_path / "weights.safetensors"
    save_file(mobilenet, file)
    message = error_message(lambda: build_from(*SMALL, f"model.weights={file}"))
    assert message.startswith(f"model.weights={file}: the weights do not fit the network: 0.weight is missing; ")
    assert f"and {4 + len(mobilenet) - 3} more; no tensor of the file fits, so it is of another network: " in message
    assert message.endswith(f" and {len(mobilenet) - 3} more")


def test_a_missing_file_is_reported_with_a_similar_name_and_a_folder_as_such(tmp_path: Path) -> None:
    (tmp_path / "mobilenet_folded.pth").touch()
    missing = tmp_path / "mobilenet.pth"
    message = f"model.weights={missing}: there is no such file; did you mean {tmp_path / 'mobilenet_folded.pth'}?"
    assert error_message(lambda: job_of(compose([*SMALL, f"model.weights={missing}"]))) == message
    assert error_message(lambda: read_state_dict(missing)) == message
    assert error_message(lambda: job_of(compose([*SMALL, f"model.weights={tmp_path}"]))).endswith(
        f"model.weights={tmp_path}: is a folder; give a file"
    )


def test_a_network_keeps_its_weights_if_loading_others_fails() -> None:
    layer = nn.Linear(2, 2)
    before = layer.weight.clone()
    error_message(lambda: load_strict(layer, {"weight": torch.zeros(2, 2)}, "weights"))
    assert torch.equal(layer.weight, before)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_missing_file_is_an_error(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"nowhere{suffix}"
    message = error_message(lambda: build_from(*SMALL, f"model.weights={file}"))
    assert message == f"model.weights={file}: there is no such file"


class Malicious:
    """Creates a folder when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)


def test_a_pickle_with_code_is_an_error_and_is_not_executed(tmp_path: Path) -> None:
    file, marker = tmp_path / "weights.pth", tmp_path / "executed"
    torch.save({"0.weight": Malicious(marker)}, file)
    message = error_message(lambda: build_from(*SMALL, f"model.weights={file}"))
    assert message.startswith(f"model.weights={file}: cannot be read as weights (damaged, or not only tensors)")
    assert not marker.exists()
    pickle.loads(pickle.dumps(Malicious(marker)))  # a plain load executes it
    assert marker.exists()


@pytest.mark.parametrize("content", [[1.0], {"epoch": 3}, {0: torch.zeros(1)}, torch.zeros(1)])
def test_a_file_without_a_state_dict_is_an_error(content: object, tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    torch.save(content, file)
    assert error_message(lambda: read_state_dict(file)) == f"model.weights={file}: not a state dict (tensors by name)"


KINDS = ("new.pth", "old.pth", "new.safetensors")


@pytest.fixture(scope="module")
def intact_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    state = {"weight": torch.arange(64.0), "bias": torch.zeros(3)}
    torch.save(state, folder / "new.pth")
    torch.save(state, folder / "old.pth", _use_new_zipfile_serialization=False)
    save_file(state, folder / "new.safetensors")
    return folder


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@settings(max_examples=150, deadline=None)
@given(kind=st.sampled_from(KINDS), part=st.floats(0, 1, exclude_max=True))
@example("new.pth", 0.0)
@example("old.pth", 0.0)
@example("new.safetensors", 0.0)
def test_a_truncated_file_is_an_error_wherever_it_ends(intact_files: Path, kind: str, part: float) -> None:
    content = (intact_files / kind).read_bytes()
    file = intact_files / f"truncated_{kind}"
    file.write_bytes(content[: int(part * len(content))])
    assert set(read_state_dict(intact_files / kind)) == {"weight", "bias"}
    assert error_message(lambda: read_state_dict(file)).startswith(f"model.weights={file}: ")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@settings(max_examples=150, deadline=None)
@given(content=st.binary(max_size=64) | st.binary(max_size=64).map(lambda rest: b"\x80\x02" + rest))
def test_any_invalid_content_is_the_same_kind_of_error(intact_files: Path, content: bytes) -> None:
    file = intact_files / "anything.pth"
    file.write_bytes(content)
    assert error_message(lambda: read_state_dict(file)).startswith(f"model.weights={file}: ")


# --- the weights of a finished run --------------------------------------------------------------------


def test_loading_a_trained_network_restores_what_was_saved(tmp_path: Path) -> None:
    config = compose([*SMALL, "seed=3", "model.input_mean=[0.1,0.2,0.3]", f"model.weights={tmp_path / 'start.pth'}"])
    saved = build_from(*SMALL, "seed=4", "model.input_mean=[0.1,0.2,0.3]")
    save_file(saved.state_dict(), tmp_path / "model.safetensors")
    loaded = load_trained(config, tmp_path / "model.safetensors").eval()  # start.pth no longer exists
    with torch.no_grad():
        assert torch.equal(loaded(random_images(32)), saved(random_images(32)))
    assert loaded.state_dict().keys() == saved.state_dict().keys()


@pytest.mark.parametrize("content", [None, b"", b"no weights"])
def test_loading_a_trained_network_from_invalid_weights_is_an_error(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    if content is not None:
        file.write_bytes(content)
    assert str(file) in error_message(lambda: load_trained(compose(SMALL), file))


def test_loading_a_trained_network_from_weights_of_another_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file(build_from(*SMALL, "model.linear_features=3").state_dict(), file)
    message = error_message(lambda: load_trained(compose(SMALL), file))
    assert message.startswith(
        f"{file}: the weights do not fit the network: classifier.0.weight has shape (3, 512), not (16"
    )


def test_tensors_that_share_memory_are_saved_as_safetensors(tmp_path: Path) -> None:
    tied = torch.rand(4, 4)
    save_file(unshared({"one": tied, "same": tied, "view": tied.T}), tmp_path / "weights.safetensors")
    saved = load_file(tmp_path / "weights.safetensors")
    assert torch.equal(saved["one"], tied) and torch.equal(saved["same"], tied) and torch.equal(saved["view"], tied.T)
