"""Weights as people have them: under prefixes, in checkpoints, with another head, in older names, in half precision."""

import argparse
import copy
import logging
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torchvision.models
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import densenet
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.vision_transformer import VisionTransformer

from crackdet.models.torchvision import TorchvisionArchitecture
from crackdet.models.weights import fit, load_fit, load_strict, read_state_dict
from tests.models.helpers import MOBILENET, build_from, error_message, mobilenet_features, random_images

State = dict[str, Tensor]
NETWORKS = ("mobilenet_v2", "squeezenet1_1", "shufflenet_v2_x0_5", "mnasnet0_5", "mobilenet_v3_small", "regnet_y_400mf")
HEADS = {
    "mobilenet_v2": "classifier", "squeezenet1_1": "classifier.1", "shufflenet_v2_x0_5": "fc",
    "mnasnet0_5": "classifier", "mobilenet_v3_small": "classifier.3", "regnet_y_400mf": "fc",
}  # fmt: skip
WRAPPERS = ("module.", "model.", "_orig_mod.", "backbone.", "encoder.", "net.", "model.backbone.body.")
CONTAINERS = ("state_dict", "model_state_dict", "model", "net", "weights", "ema", "state_dict_ema")


class Network:
    """A network of torchvision with random weights, and what crackdet takes of it."""

    def __init__(self, name: str) -> None:
        torch.manual_seed(0)
        self.family = TorchvisionArchitecture(name)
        full = self.family.full_model()
        for module in full.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.running_mean)  # type: ignore[arg-type]
                nn.init.uniform_(module.running_var, 0.5, 1.5)  # type: ignore[arg-type]
        self.state: State = dict(full.state_dict())
        self.unused = self.family.unused(full)
        self.own = self.family.feature_extractor(full).state_dict()

    def tensors_of(self, state: State) -> State:
        return fit(self.own, state, "weights", self.unused).tensors


@pytest.fixture(scope="module")
def networks() -> dict[str, Network]:
    return {name: Network(name) for name in NETWORKS}


def with_head(state: State, head: str, kind: str) -> State:
    body = {name: tensor for name, tensor in state.items() if not name.startswith(f"{head}.")}
    if kind == "none":
        return body
    if kind == "replaced":  # by Sequential(Dropout, Linear)
        return body | {f"{head}.1.weight": torch.zeros(2, 8), f"{head}.1.bias": torch.zeros(2)}
    return state


@settings(max_examples=40, deadline=None)
@given(data=st.data(), name=st.sampled_from(NETWORKS))
def test_weights_in_any_usual_form_are_loaded_unchanged(
    networks: dict[str, Network], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, name: str
) -> None:
    network = networks[name]
    state = with_head(network.state, HEADS[name], data.draw(st.sampled_from(("published", "none", "replaced"))))
    dtype = data.draw(st.sampled_from((torch.float32, torch.float64, torch.float16, torch.bfloat16)))
    state = {key: tensor.to(dtype) if tensor.is_floating_point() else tensor for key, tensor in state.items()}
    if data.draw(st.booleans()):
        state = {key: tensor for key, tensor in state.items() if not key.endswith("num_batches_tracked")}
    prefix = "".join(data.draw(st.lists(st.sampled_from(WRAPPERS), max_size=2)))
    content: dict[str, Any] = {prefix + key: tensor for key, tensor in state.items()}
    if prefix and data.draw(st.booleans()):
        content |= {"criterion.weight": torch.ones(2), "n_averaged": torch.tensor(3)}
    file = tmp_path_factory.mktemp("weights") / "weights"
    if data.draw(st.booleans()):
        save_file({key: tensor.clone() for key, tensor in content.items()}, file)  # whatever the file is called
    else:
        for container in data.draw(st.lists(st.sampled_from(CONTAINERS), max_size=2)):
            content = {"epoch": 3, container: content, "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}}}
        torch.save(content, file, _use_new_zipfile_serialization=data.draw(st.booleans()))
    loaded = network.tensors_of(read_state_dict(file))
    expected = {key: network.state[key] for key in network.own if key in loaded}
    assert set(network.own) - set(loaded) <= {key for key in network.own if key.endswith("num_batches_tracked")}
    for key, tensor in expected.items():
        wanted = tensor.to(dtype).to(tensor.dtype) if tensor.is_floating_point() else tensor
        assert torch.equal(loaded[key], wanted), key


@settings(max_examples=30, deadline=None)
@given(data=st.data(), name=st.sampled_from(NETWORKS), prefix=st.sampled_from(("", "module.", "state_dict.model.")))
def test_weights_that_fit_in_part_are_refused_by_name(
    networks: dict[str, Network], data: st.DataObject, name: str, prefix: str
) -> None:
    network = networks[name]
    state = {prefix + key: tensor for key, tensor in network.state.items()}
    key = data.draw(st.sampled_from([key for key in network.own if not key.endswith("num_batches_tracked")]))
    change = data.draw(st.sampled_from(("missing", "unknown", "shape", "type", "nan")))
    if change == "missing":
        del state[prefix + key]
    elif change == "unknown":
        state[f"{prefix}{key}_extra"] = torch.zeros(1)
    elif change == "shape":
        state[prefix + key] = torch.zeros(*network.own[key].shape, 2)
    elif change == "type":
        state[prefix + key] = torch.zeros(network.own[key].shape, dtype=torch.int8)
    else:
        state[prefix + key] = torch.full(network.own[key].shape, float("nan"))
    module = nn.Module()
    module.state_dict = lambda: network.own  # type: ignore[method-assign,assignment]
    message = error_message(lambda: load_fit(module, state, "weights", network.unused))
    expected = {
        "missing": f"{key} is missing", "unknown": f"{key}_extra is unknown", "nan": f"{key} holds NaN or infinity",
        "shape": f"{key} has shape {(*network.own[key].shape, 2)}, not {tuple(network.own[key].shape)}",
        "type": f"{key} is int8, not float32",
    }  # fmt: skip
    without = f", without the prefix '{prefix}'," if prefix else ""
    assert message == f"weights: the weights{without} do not fit the network: {expected[change]}"


# --- names of older versions, as torchvision itself takes them ----------------------------------------


def test_the_published_names_of_densenet_load_as_in_torchvision() -> None:
    network = Network("densenet121")
    older = OrderedDict(
        (re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)", r"\1.\2", key), tensor)
        for key, tensor in network.state.items()
        if not key.endswith("num_batches_tracked")
    )
    reference = torchvision.models.densenet121()
    densenet._load_state_dict(reference, SimpleNamespace(get_state_dict=lambda **_: copy.copy(older)), False)
    loaded = network.tensors_of({network.family.current_name(key): tensor for key, tensor in older.items()})
    assert set(loaded) == {key for key in network.own if not key.endswith("num_batches_tracked")}
    assert all(torch.equal(tensor, reference.state_dict()[key]) for key, tensor in loaded.items())


def test_the_published_names_of_vision_transformers_load_as_in_torchvision() -> None:
    def small() -> VisionTransformer:
        return VisionTransformer(image_size=32, patch_size=16, num_layers=2, num_heads=1, hidden_dim=8, mlp_dim=4)

    state = small().state_dict()
    older = {
        re.sub(r"mlp\.([03])\.", lambda found: f"mlp.linear_{int(found[1]) // 3 + 1}.", key): tensor
        for key, tensor in state.items()
    }
    reference = small()
    reference.load_state_dict(dict(older))
    name = TorchvisionArchitecture("vit_b_16").current_name
    loaded = fit(state, {name(key): tensor for key, tensor in older.items()}, "weights").tensors
    assert loaded.keys() == state.keys()
    assert all(torch.equal(tensor, reference.state_dict()[key]) for key, tensor in loaded.items())


def test_mnasnet_which_asks_for_a_version_is_loaded(networks: dict[str, Network]) -> None:
    network, full = networks["mnasnet0_5"], torchvision.models.mnasnet0_5()
    load_strict(full, network.state, "weights")
    assert all(torch.equal(tensor, network.state[key]) for key, tensor in full.state_dict().items())
    extractor = network.family.feature_extractor(full)
    load_fit(extractor, network.state, "weights", network.unused)


# --- other files ---------------------------------------------------------------------------------------


def test_the_body_of_a_detector_is_loaded() -> None:
    detector = nn.Module()
    detector.backbone = resnet_fpn_backbone(backbone_name="resnet18", weights=None)
    network = Network("resnet18")
    found = fit(network.own, detector.state_dict(), "weights", network.unused)
    assert found.prefix == "backbone.body." and not found.problems
    assert torch.equal(found.tensors["conv1.weight"], detector.state_dict()["backbone.body.conv1.weight"])


@pytest.mark.parametrize("other", ["best.", "encoder_k."])
def test_a_file_with_two_networks_that_fit_is_refused(other: str, networks: dict[str, Network]) -> None:
    network = networks["squeezenet1_1"]
    state = {f"{prefix}{key}": tensor for prefix in ("encoder_q.", other) for key, tensor in network.state.items()}
    message = error_message(lambda: network.tensors_of(state))
    assert "several networks that fit" in message and "'encoder_q.'" in message and repr(other) in message


@pytest.mark.parametrize("averaged", ["model_ema.", "state_dict_ema.", "ema_model.", "swa_model.module."])
def test_current_weights_are_taken_rather_than_averaged_ones(averaged: str, networks: dict[str, Network]) -> None:
    network = networks["squeezenet1_1"]
    state = {f"model.{key}": tensor for key, tensor in network.state.items()}
    found = fit(
        network.own, {**{averaged + key: tensor + 1 for key, tensor in network.state.items()}, **state}, "weights",
        network.unused,
    )  # fmt: skip
    assert found.prefix == "model."
    assert all(torch.equal(tensor, network.state[key]) for key, tensor in found.tensors.items())
    assert any("other tensors ignored" in note for note in found.notes)


def test_what_was_done_is_said_in_one_line(mobilenet: State, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    network = torchvision.models.mobilenet_v2(num_classes=2)
    network.load_state_dict(with_head(mobilenet, "classifier", "none"), strict=False)
    file = tmp_path / "mine.ckpt"
    torch.save({"state_dict": {f"model.{key}": tensor for key, tensor in network.state_dict().items()}}, file)
    with caplog.at_level(logging.INFO):
        model = build_from(*MOBILENET, f"model.weights={file}")
    assert "mine.ckpt: prefix 'state_dict.model.' removed; last layer (2 classes) ignored" in caplog.messages
    with torch.no_grad():
        assert torch.equal(model.features(random_images()), mobilenet_features(mobilenet, random_images()))


def test_weights_that_fit_as_they_are_need_no_words(
    mobilenet: State, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.save(mobilenet, tmp_path / "weights.pth")
    with caplog.at_level(logging.INFO):
        build_from(*MOBILENET, f"model.weights={tmp_path / 'weights.pth'}", "model.input_mean=[0,0,0]")
    assert not caplog.messages


def test_a_head_that_is_part_of_the_features_must_fit(tmp_path: Path) -> None:
    family = TorchvisionArchitecture("squeezenet1_1", keep_last_layer=True)
    full = family.full_model()
    state = with_head(dict(full.state_dict()), "classifier.1", "replaced")
    message = error_message(lambda: load_fit(full, state, "weights", family.unused(full)))
    assert "classifier.1.weight is missing" in message


class Settings:
    """A class of the user's, whose objects a checkpoint holds."""

    def __init__(self) -> None:
        self.lr = 0.1

    def __setstate__(self, state: object) -> None:
        raise AssertionError("code of the file was executed")


def test_objects_beside_the_weights_are_skipped_and_not_created(networks: dict[str, Network], tmp_path: Path) -> None:
    network = networks["squeezenet1_1"]
    checkpoint = {
        "state_dict": network.state, "hyper_parameters": argparse.Namespace(lr=0.1), "path": Path("a"),
        "settings": Settings(), "pytorch-lightning_version": "2.0.0",
    }  # fmt: skip
    torch.save(checkpoint, tmp_path / "last.ckpt")
    loaded = network.tensors_of(read_state_dict(tmp_path / "last.ckpt"))
    assert all(torch.equal(tensor, network.state[key]) for key, tensor in loaded.items())


def scripted(file: Path) -> None:
    torch.jit.script(nn.Linear(2, 2)).save(file)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("write", "words"),
    [
        (scripted, ("TorchScript", "torch.save(model.state_dict()")),
        (lambda file: torch.save(nn.Linear(2, 2), file), ("torch.nn.modules.linear.Linear", "state_dict()")),
        (lambda file: torch.save({"model": nn.Linear(2, 2)}, file), ("torch.nn.modules.linear.Linear", "state_dict()")),
        (lambda file: torch.save({"epoch": 3, "lr": 0.1}, file), ("not a state dict",)),
        (lambda file: file.write_bytes(b""), ("is empty",)),
        (lambda file: file.write_bytes(b"<!DOCTYPE html>"), ("a web page",)),
        (lambda file: file.write_bytes(b"version https://git-lfs.github.com/spec/v1\n"), ("git lfs pull",)),
        (lambda file: file.write_bytes(b"\x89HDF\r\n\x1a\n"), ("HDF5",)),
        (lambda file: file.mkdir(), ("cannot be read (is not a regular file)",)),
    ],
)
def test_what_is_no_state_dict_is_refused_by_its_kind(
    write: Callable[[Path], object], words: tuple[str, ...], tmp_path: Path
) -> None:
    file = tmp_path / "weights.pt"
    write(file)
    message = error_message(lambda: read_state_dict(file))
    assert message.startswith(f"model.weights={file}: ")
    assert all(word in message for word in words), message


@pytest.fixture(autouse=True)
def no_safe_globals_are_left() -> Iterator[None]:
    before = torch.serialization.get_safe_globals()
    yield
    assert set(torch.serialization.get_safe_globals()) == set(before)
