"""Small classifiers, images and error messages for the tests of weights."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
import torchvision.models
from torch import Tensor, nn
from torchvision.models import get_model_weights

from crackdet.core.errors import UserError
from crackdet.core.reading import file_digest
from crackdet.models.classifier import Classifier
from crackdet.models.factory import build
from tests.composing import compose

MOBILENET = ("model=torchvision", "model.name=mobilenet_v2", "model.linear_features=8", "data.image_size=64")


def build_from(*overrides: str) -> Classifier:
    return build(compose(overrides)).eval()


def error_message(action: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        action()
    message = str(caught.value)
    assert "\n" not in message
    return message


def random_images(size: int = 64) -> Tensor:
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))


def mobilenet_features(state: dict[str, Tensor], images: Tensor) -> Tensor:
    """Return the input of the last layer of torchvision's own network."""
    network = torchvision.models.mobilenet_v2()
    network.load_state_dict(state)
    network.classifier = nn.Identity()
    with torch.no_grad():
        return network.eval()(images)


def publish(
    monkeypatch: pytest.MonkeyPatch, folder: Path, network: str, weights: str, state: Mapping[str, Tensor]
) -> Path:
    """Save a state dict as the weights that torchvision publishes for a network, with its digest in the file's name."""
    file = folder / f"{network}.pth"
    torch.save(state, file)
    file = file.rename(folder / f"{network}-{file_digest(file)[:8]}.pth")
    monkeypatch.setattr(get_model_weights(network)[weights].value, "url", f"https://example.com/{file.name}")
    return file
