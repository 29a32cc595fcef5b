"""Published weights of torchvision: downloaded, checked, recognised by content, and normalised as published."""

import os
import shutil
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision.models
from torch import Tensor, nn
from torchvision.models import Weights, WeightsEnum
from torchvision.transforms._presets import ImageClassification
from torchvision.transforms.functional import normalize

from crackdet.core.reading import file_digest
from crackdet.models.factory import validate_model
from tests.composing import compose
from tests.models.helpers import (
    MOBILENET,
    build_from,
    error_message,
    mobilenet_features,
    publish,
    random_images,
)

IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty download folder on a machine without network access."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    for name in ("https_proxy", "http_proxy", "no_proxy"):
        monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.setenv(name, "http://127.0.0.1:9" if "http" in name else "")
    monkeypatch.setattr(urllib.request, "_opener", None)  # it caches the proxies of its first use
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_the_error_for_a_failed_download_says_what_to_do(hub: Path) -> None:
    message = error_message(lambda: build_from(*MOBILENET, "model.weights=IMAGENET1K_V2"))
    assert message.startswith(
        "model.weights=IMAGENET1K_V2: mobilenet_v2-7ebf99e0.pth for mobilenet_v2 cannot be downloaded ("
    )
    assert f"copy the file to {hub}, set model.weights=FILE.pth" in message
    assert message.endswith("or train from random weights: model.weights=null")


def test_the_error_for_an_unknown_weights_name_lists_the_known_ones_before_training() -> None:
    message = error_message(lambda: validate_model(compose([*MOBILENET, "model.weights=IMAGENET1K_V3"])))
    assert message.startswith("model.weights=IMAGENET1K_V3: must be one of IMAGENET1K_V1, IMAGENET1K_V2")
    assert message.endswith("for mobilenet_v2, a .pth or .safetensors file, or null")


def test_published_weights_come_from_the_download_folder_with_their_normalisation(
    hub: Path, mobilenet: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(monkeypatch, hub, "mobilenet_v2", "IMAGENET1K_V2", mobilenet)
    model = build_from(*MOBILENET, "model.weights=IMAGENET1K_V2")
    expected = mobilenet_features(mobilenet, normalize(random_images(), IMAGENET_MEAN, IMAGENET_STD))
    with torch.no_grad():
        assert torch.allclose(model.features(random_images()), expected, atol=1e-5)


def test_a_configured_normalisation_overrides_that_of_published_weights(
    hub: Path, mobilenet: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(monkeypatch, hub, "mobilenet_v2", "IMAGENET1K_V2", mobilenet)
    model = build_from(*MOBILENET, "model.weights=IMAGENET1K_V2", "model.input_mean=[0,0,0]", "model.input_std=[1,1,1]")
    with torch.no_grad():
        assert torch.equal(model.features(random_images()), mobilenet_features(mobilenet, random_images()))


def first_convolution_input(network: nn.Module, images: Tensor) -> Tensor:
    inputs_seen: list[Tensor] = []
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    first.register_forward_pre_hook(lambda _module, inputs: inputs_seen.append(inputs[0]))
    with torch.no_grad():
        network.eval()(images)
    return inputs_seen[0]


@pytest.mark.parametrize(("name", "size"), [("googlenet", 64), ("inception_v3", 96)])
def test_self_normalizing_networks_get_the_same_input_as_in_torchvision(
    hub: Path, name: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"aux_logits": True, "transform_input": True, "init_weights": False}  # as with published weights
    reference = torchvision.models.get_model(name, weights=None, **options)
    publish(monkeypatch, hub, name, "IMAGENET1K_V1", reference.state_dict())
    model = build_from(
        "model=torchvision", f"model.name={name}", "model.weights=IMAGENET1K_V1", f"data.image_size={size}"
    )
    expected = first_convolution_input(reference, normalize(random_images(size), IMAGENET_MEAN, IMAGENET_STD))
    assert torch.allclose(first_convolution_input(model, random_images(size)), expected, atol=1e-5)


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Register a small network with published weights in torchvision as `tiny_network`; return its weights file."""
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


def test_a_download_provides_weights_and_normalisation(hub: Path, published: Path) -> None:
    model = build_from(*TINY, "model.weights=IMAGENET1K_V1")
    assert torch.equal(model.feature_extractor.get_parameter("0.weight"), torch.ones(4, 3, 3, 3))
    assert model.input_mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert (hub / published.name).is_file()


def test_a_damaged_download_is_an_error(hub: Path, published: Path) -> None:
    published.write_bytes(published.read_bytes()[:-1])
    assert "cannot be downloaded (invalid hash value" in error_message(
        lambda: build_from(*TINY, "model.weights=IMAGENET1K_V1")
    )


PUBLISHED = (*MOBILENET, "model.weights=IMAGENET1K_V2")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "empty"),
        (b"<html>please log in</html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1", "a Git LFS pointer"),
        (b"PK\x03\x04cut short", "its SHA-256 begins with 4c338e95"),
    ],
)
def test_a_file_under_a_published_name_is_refused_if_its_digest_is_another(
    content: bytes, what: str, hub: Path
) -> None:
    file = hub / "mobilenet_v2-7ebf99e0.pth"
    file.write_bytes(content)
    message = error_message(lambda: build_from(*PUBLISHED))
    assert message.startswith(f"model.weights=IMAGENET1K_V2: {file} is not the published file of this name ({what}")
    assert "delete the file" in message and "cannot be downloaded" not in message
    assert file.read_bytes() == content


def test_a_published_file_that_was_exchanged_with_the_same_size_and_time_is_noticed(
    hub: Path, mobilenet: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = publish(monkeypatch, hub, "mobilenet_v2", "IMAGENET1K_V2", mobilenet)
    monkeypatch.setattr("crackdet.models.torchvision.SETTLE_SECONDS", -1.0)  # as if the file had lain here for long
    before = file.stat()
    build_from(*PUBLISHED)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert "is not the published file" in error_message(lambda: build_from(*PUBLISHED))


def test_an_unchanged_published_file_is_digested_once(
    hub: Path, mobilenet: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(monkeypatch, hub, "mobilenet_v2", "IMAGENET1K_V2", mobilenet)
    monkeypatch.setattr("crackdet.models.torchvision.SETTLE_SECONDS", -1.0)
    read: list[Path] = []

    def digest(file: Path) -> str:
        read.append(file)
        return file_digest(file)

    monkeypatch.setattr("crackdet.models.torchvision.file_digest", digest)
    build_from(*PUBLISHED)
    build_from(*PUBLISHED)
    assert len(read) == 1


def test_published_weights_whose_name_has_no_digest_are_loaded_with_a_warning(
    hub: Path, mobilenet: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = publish(monkeypatch, hub, "mobilenet_v2", "IMAGENET1K_V2", mobilenet).rename(hub / "mobilenet.pth")
    weights = torchvision.models.MobileNet_V2_Weights.IMAGENET1K_V2
    monkeypatch.setattr(weights.value, "url", f"https://example.com/{file.name}")
    build_from(*PUBLISHED)
    assert f"{file}: cannot be verified" in caplog.text
    file.write_bytes(b"<html>")
    assert f"{file}: is a web page" in error_message(lambda: build_from(*PUBLISHED))


def test_published_weights_are_recognised_by_content_and_not_by_file_name(published: Path, tmp_path: Path) -> None:
    renamed = tmp_path / "renamed.pth"
    shutil.copy(published, renamed)
    torch.save(torch.load(published, weights_only=True) | {"0.bias": torch.ones(4)}, published)
    known, unknown = build_from(*TINY, f"model.weights={renamed}"), build_from(*TINY, f"model.weights={published}")
    assert known.input_mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert unknown.input_mean.flatten().tolist() == [0.0, 0.0, 0.0]
