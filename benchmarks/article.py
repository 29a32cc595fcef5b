"""The article's network, its reading of images, and its training step: the baseline of the benchmarks."""

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader, Dataset
from torchvision.models import resnext50_32x4d
from torchvision.transforms import Compose, Resize, ToTensor

from crackdet.core.errors import UserError

VALID_STRIDE = 5  # every fifth image is a validation image


class ImageFiles(Dataset[tuple[Tensor, float]]):
    """Opens, resizes and scales an image at every access, as the article does."""

    def __init__(self, folder: Path, size: int, part: str = "all") -> None:
        files = sorted(folder.glob("*/*.jpg"))
        valid = set(files[::VALID_STRIDE])
        self.files = [path for path in files if part == "all" or (path in valid) == (part == "valid")]
        self.transform = Compose([Resize((size, size)), ToTensor()])

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, float]:
        path = self.files[index]
        return self.transform(Image.open(path).convert("RGB")), float(path.parent.name == "Positive")


def build_network(network: str, size: int, conv_out: tuple[int, int], linear: int) -> nn.Module:
    if network == "resnext50":
        extractor: nn.Module = resnext50_32x4d(weights=None)
        features = 1000
    elif network != "custom":
        raise UserError(f"--network={network}: must be custom or resnext50, the article's networks")
    else:
        a, b = conv_out
        extractor = nn.Sequential(
            nn.Conv2d(3, a, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        )  # fmt: skip
        features = b * (size // 4) ** 2
    classifier = nn.Sequential(
        nn.Flatten(), nn.Linear(features, linear), nn.ReLU(), nn.Linear(linear, linear), nn.ReLU(), nn.Linear(linear, 1)
    )
    return nn.Sequential(extractor, classifier)


def training_step(model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> float:
    optimizer.zero_grad()
    loss = binary_cross_entropy_with_logits(model(images).squeeze(1), labels.float())
    loss.backward()
    optimizer.step()
    return loss.item()


@torch.no_grad()
def accuracy(model: nn.Module, valid: "DataLoader[Any]", device: torch.device) -> float:
    """Return the mean accuracy of the batches."""
    model.eval()
    batches = [
        ((torch.sigmoid(model(images.to(device))).squeeze(1) > 0.5) == (labels.to(device) > 0.5)).float().mean().item()
        for images, labels in valid
    ]
    return float(sum(batches) / len(batches))
