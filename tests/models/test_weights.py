"""Weights from files and from torchvision: read without executing anything, loaded to the letter."""

import logging
import os
import pickle
import shutil
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision.models
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import Weights, WeightsEnum
from torchvision.transforms._presets import ImageClassification
from torchvision.transforms.functional import normalize

from crackdet.config.composing import compose
from crackdet.core.errors import UserError
from crackdet.core.files import file_digest
from crackdet.models.classifier import Classifier
from crackdet.models.factory import build, check, load_trained
from crackdet.models.weights import load, read

SHARED = Path(__file__).parents[3] / "shared" / "data" / "weights" / "mobilenet_v2_imagenet_folded.pth"
SMALL = ("model.conv_out=[4,8]", "model.linear_features=16", "data.image_size=32")
MOBILENET = ("model=torchvision", "model.name=mobilenet_v2", "model.linear_features=8", "data.image_size=64")
IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def built(*overrides: str) -> Classifier:
    return build(compose(overrides)).eval()


def refusal(action: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        action()
    message = str(caught.value)
    assert "\n" not in message
    return message


def pictures(size: int = 64) -> Tensor:
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))


def mobilenet_features(state: dict[str, Tensor], images: Tensor) -> Tensor:
    """What torchvision's own network makes of images before its last layer."""
    network = torchvision.models.mobilenet_v2()
    network.load_state_dict(state)
    network.classifier = nn.Identity()
    with torch.no_grad():
        return network.eval()(images)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def mobilenet() -> dict[str, Tensor]:
    return dict(torchvision.models.mobilenet_v2().state_dict())


# --- files that fit -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors", "checkpoint.pth"])
def test_a_network_of_torchvision_starts_from_the_weights_in_a_file(
    name: str, mobilenet: dict[str, Tensor], tmp_path: Path
) -> None:
    file = tmp_path / name
    if name.endswith(".safetensors"):
        save_file(mobilenet, file)
    else:
        torch.save({"state_dict": mobilenet, "epoch": 3} if "checkpoint" in name else mobilenet, file)
    model = built(*MOBILENET, f"model.weights={file}")
    with torch.no_grad():
        assert torch.equal(model.features(pictures()), mobilenet_features(mobilenet, pictures()))


@pytest.mark.skipif(not SHARED.is_file(), reason="the ImageNet weights of MobileNetV2 are not here")
def test_the_imagenet_weights_of_mobilenet_start_a_network() -> None:
    model = built(*MOBILENET, f"model.weights={SHARED}", "model.input_mean=[0.5,0.5,0.5]")
    expected = mobilenet_features(torch.load(SHARED, weights_only=True), pictures() - 0.5)
    with torch.no_grad():
        assert torch.equal(model.features(pictures()), expected)


def test_another_run_starts_from_the_feature_extractor_and_the_normalisation_of_a_runs_weights(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    source = built(*SMALL, "seed=1", "model.input_mean=[0.1,0.2,0.3]", "model.input_std=[0.5,0.6,0.7]")
    save_file(source.state_dict(), file)
    model = built(*SMALL, "seed=2", "model.linear_features=3", f"model.weights={file}")
    with torch.no_grad():
        assert torch.equal(model.features(pictures(32)), source.features(pictures(32)))
    fresh = built(*SMALL, "seed=2", "model.linear_features=3")
    assert torch.equal(*(one.classifier.get_parameter("0.weight") for one in (model, fresh)))


def test_weights_of_unknown_normalisation_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "weights.safetensors"
    save_file(built(*SMALL).feature_extractor.state_dict(), file)
    with caplog.at_level(logging.WARNING):
        built(*SMALL, f"model.weights={file}", "model.input_mean=[0,0,0]")
        assert not caplog.messages
        built(*SMALL, f"model.weights={file}")
    assert "model.input_mean" in caplog.text


# --- files that do not fit ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda state: state.pop("0.bias"), "0.bias is missing"),
        (lambda state: state.update(extra=torch.zeros(1)), "extra is unknown"),
        (lambda state: state.update({"0.bias": torch.zeros(5)}), "0.bias is (5,), not (4,)"),
    ],
)
def test_weights_that_do_not_fit_are_refused(change: Callable[[Any], Any], problem: str, tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    state = dict(built(*SMALL).feature_extractor.state_dict())
    change(state)
    save_file(state, file)
    message = refusal(lambda: built(*SMALL, f"model.weights={file}"))
    assert message == f"model.weights={file}: the weights do not fit the network: {problem}"


def test_weights_of_another_network_are_refused_without_listing_every_tensor(
    mobilenet: dict[str, Tensor], tmp_path: Path
) -> None:
    file = tmp_path / "weights.safetensors"
    save_file(mobilenet, file)
    message = refusal(lambda: built(*SMALL, f"model.weights={file}"))
    assert message.startswith(f"model.weights={file}: the weights do not fit the network: 0.weight is missing; ")
    assert message.endswith(f"and {4 + len(mobilenet) - 3} more")


def test_a_network_keeps_its_weights_when_others_are_refused() -> None:
    layer = nn.Linear(2, 2)
    before = layer.weight.clone()
    refusal(lambda: load(layer, {"weight": torch.zeros(2, 2)}, "weights"))
    assert torch.equal(layer.weight, before)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_that_is_not_there_is_refused(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"nowhere{suffix}"
    assert refusal(lambda: built(*SMALL, f"model.weights={file}")) == f"model.weights={file}: there is no such file"


class Malicious:
    """What makes a marker when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)


def test_a_pickle_that_would_execute_code_is_refused_and_does_not(tmp_path: Path) -> None:
    file, marker = tmp_path / "weights.pth", tmp_path / "executed"
    torch.save({"0.weight": Malicious(marker)}, file)
    message = refusal(lambda: built(*SMALL, f"model.weights={file}"))
    assert message.startswith(f"model.weights={file}: cannot be read as weights (it is damaged, or more than tensors)")
    assert not marker.exists()
    pickle.loads(pickle.dumps(Malicious(marker)))  # it would have
    assert marker.exists()


@pytest.mark.parametrize("content", [[1.0], {"epoch": 3}, {0: torch.zeros(1)}, torch.zeros(1)])
def test_a_file_that_is_no_state_dict_is_refused(content: object, tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    torch.save(content, file)
    assert refusal(lambda: read(file)) == f"model.weights={file}: is no state dict (tensors by name)"


KINDS = ("new.pth", "old.pth", "new.safetensors")


@pytest.fixture(scope="module")
def whole_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
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
def test_a_truncated_file_is_refused_wherever_it_ends(whole_files: Path, kind: str, part: float) -> None:
    content = (whole_files / kind).read_bytes()
    file = whole_files / f"truncated_{kind}"
    file.write_bytes(content[: int(part * len(content))])
    assert set(read(whole_files / kind)) == {"weight", "bias"}
    assert refusal(lambda: read(file)).startswith(f"model.weights={file}: ")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@settings(max_examples=150, deadline=None)
@given(content=st.binary(max_size=64) | st.binary(max_size=64).map(lambda rest: b"\x80\x02" + rest))
def test_whatever_a_file_holds_is_refused_in_one_way(whole_files: Path, content: bytes) -> None:
    file = whole_files / "anything.pth"
    file.write_bytes(content)
    assert refusal(lambda: read(file)).startswith(f"model.weights={file}: ")


# --- published weights --------------------------------------------------------------------------------


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of downloads, on a machine without a network."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    for name in ("https_proxy", "http_proxy", "no_proxy"):
        monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.setenv(name, "http://127.0.0.1:9" if "http" in name else "")
    monkeypatch.setattr(urllib.request, "_opener", None)  # it remembers the proxies of its first use
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_weights_that_cannot_be_downloaded_are_told_with_what_to_do(hub: Path) -> None:
    message = refusal(lambda: built(*MOBILENET, "model.weights=IMAGENET1K_V2"))
    assert message.startswith(
        "model.weights=IMAGENET1K_V2: mobilenet_v2-7ebf99e0.pth for mobilenet_v2 cannot be downloaded ("
    )
    assert f"put the file into {hub}, or give its place as model.weights=FILE.pth" in message
    assert message.endswith("or train without: model.weights=null")


def test_an_unknown_name_of_weights_is_refused_with_the_known_ones_before_training() -> None:
    message = refusal(lambda: check(compose([*MOBILENET, "model.weights=IMAGENET1K_V3"])))
    assert message.startswith("model.weights=IMAGENET1K_V3: must be one of IMAGENET1K_V1, IMAGENET1K_V2")
    assert message.endswith("for mobilenet_v2, a .pth or .safetensors file, or null")


def test_published_weights_are_taken_from_the_folder_of_downloads_with_their_normalisation(
    hub: Path, mobilenet: dict[str, Tensor]
) -> None:
    torch.save(mobilenet, hub / "mobilenet_v2-7ebf99e0.pth")
    model = built(*MOBILENET, "model.weights=IMAGENET1K_V2")
    expected = mobilenet_features(mobilenet, normalize(pictures(), IMAGENET_MEAN, IMAGENET_STD))
    with torch.no_grad():
        assert torch.allclose(model.features(pictures()), expected, atol=1e-5)


def test_ones_own_normalisation_goes_before_that_of_published_weights(hub: Path, mobilenet: dict[str, Tensor]) -> None:
    torch.save(mobilenet, hub / "mobilenet_v2-7ebf99e0.pth")
    model = built(*MOBILENET, "model.weights=IMAGENET1K_V2", "model.input_mean=[0,0,0]", "model.input_std=[1,1,1]")
    with torch.no_grad():
        assert torch.equal(model.features(pictures()), mobilenet_features(mobilenet, pictures()))


def pixels_at_the_first_convolution(network: nn.Module, images: Tensor) -> Tensor:
    seen: list[Tensor] = []
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    first.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        network.eval()(images)
    return seen[0]


@pytest.mark.parametrize(
    ("name", "file", "size"),
    [("googlenet", "googlenet-1378be20.pth", 64), ("inception_v3", "inception_v3_google-0cc3c7bd.pth", 96)],
)
def test_networks_with_a_normalisation_inside_see_the_pixels_that_torchvision_shows_them(
    hub: Path, name: str, file: str, size: int
) -> None:
    options = {"aux_logits": True, "transform_input": True, "init_weights": False}  # as with published weights
    reference = torchvision.models.get_model(name, weights=None, **options)
    torch.save(reference.state_dict(), hub / file)
    model = built("model=torchvision", f"model.name={name}", "model.weights=IMAGENET1K_V1", f"data.image_size={size}")
    expected = pixels_at_the_first_convolution(reference, normalize(pictures(size), IMAGENET_MEAN, IMAGENET_STD))
    assert torch.allclose(pixels_at_the_first_convolution(model, pictures(size)), expected, atol=1e-5)


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The weights of a small network that torchvision knows as `tiny_network`."""
    state = {"0.weight": torch.ones(4, 3, 3, 3), "0.bias": torch.zeros(4)}
    state |= {"3.weight": torch.zeros(1000, 4), "3.bias": torch.zeros(1000)}
    file = tmp_path / "tiny.pth"
    torch.save(state, file)
    file = file.rename(tmp_path / f"tiny-{file_digest(file)[:8]}.pth")
    transforms = partial(ImageClassification, crop_size=32, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    weights = WeightsEnum("TinyWeights", {"IMAGENET1K_V1": Weights(url=file.as_uri(), transforms=transforms, meta={})})

    def tiny_network(*, weights: Any = None) -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1000))

    tiny_network.__annotations__["weights"] = weights
    tiny_network.__module__ = "torchvision.models.tiny"
    monkeypatch.setitem(torchvision.models._api.BUILTIN_MODELS, "tiny_network", tiny_network)
    return file


TINY = ("model=torchvision", "model.name=tiny_network")


def test_a_download_brings_weights_and_normalisation(hub: Path, published: Path) -> None:
    model = built(*TINY, "model.weights=IMAGENET1K_V1")
    assert torch.equal(model.feature_extractor.get_parameter("0.weight"), torch.ones(4, 3, 3, 3))
    assert model.input_mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert (hub / published.name).is_file()


def test_a_download_that_is_damaged_on_its_way_is_refused(hub: Path, published: Path) -> None:
    published.write_bytes(published.read_bytes()[:-1])
    assert "cannot be downloaded (invalid hash value" in refusal(lambda: built(*TINY, "model.weights=IMAGENET1K_V1"))


def test_published_weights_are_known_by_their_content_and_not_by_the_name_of_their_file(
    published: Path, tmp_path: Path
) -> None:
    renamed = tmp_path / "renamed.pth"
    shutil.copy(published, renamed)
    torch.save(torch.load(published, weights_only=True) | {"0.bias": torch.ones(4)}, published)
    known, unknown = built(*TINY, f"model.weights={renamed}"), built(*TINY, f"model.weights={published}")
    assert known.input_mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert unknown.input_mean.flatten().tolist() == [0.0, 0.0, 0.0]


# --- the weights of a finished run --------------------------------------------------------------------


def test_restoring_gives_back_the_network_that_was_saved(tmp_path: Path) -> None:
    config = compose([*SMALL, "seed=3", "model.input_mean=[0.1,0.2,0.3]", f"model.weights={tmp_path / 'start.pth'}"])
    saved = built(*SMALL, "seed=4", "model.input_mean=[0.1,0.2,0.3]")
    save_file(saved.state_dict(), tmp_path / "model.safetensors")
    restored = load_trained(config, tmp_path / "model.safetensors").eval()  # start.pth need not be there any more
    with torch.no_grad():
        assert torch.equal(restored(pictures(32)), saved(pictures(32)))
    assert restored.state_dict().keys() == saved.state_dict().keys()


@pytest.mark.parametrize("content", [None, b"", b"no weights"])
def test_a_network_without_sound_weights_is_not_restored(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    if content is not None:
        file.write_bytes(content)
    assert str(file) in refusal(lambda: load_trained(compose(SMALL), file))


def test_a_network_is_not_restored_from_the_weights_of_another(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file(built(*SMALL, "model.linear_features=3").state_dict(), file)
    message = refusal(lambda: load_trained(compose(SMALL), file))
    assert message.startswith(f"{file}: the weights do not fit the network: classifier.0.weight is (3, 512), not (16")
