"""A crack classifier: normalised image -> feature extractor -> three linear layers -> one logit."""

from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from crackdet.core.errors import UserError
from crackdet.models.flops import MetaFlopCounter
from crackdet.models.linear import ChunkedLinear

CANDIDATE_SIZES = (32, 64, 96, 128, 160, 192, 224, 256, 288, 299, 320, 384, 448, 512)
PROBE_SIZES = (224, 448)  # pixels: large enough for the stages of every network of torchvision to differ


@dataclass(frozen=True)
class Stage:
    """One resolution of a feature extractor, as a detector uses it."""

    name: str  # of the module whose output it is, within the feature extractor
    channels: int
    stride: int  # pixels of the image to one pixel of the map


class Classifier(nn.Module):
    """What a run trains. `feature_extractor` is the backbone that is kept, `classifier` judges its features."""

    input_mean: Tensor
    input_std: Tensor

    def __init__(
        self,
        feature_extractor: nn.Module,
        feature_dimension: int,
        linear_features: int,
        image_size: int,
        input_mean: list[float] | None = None,
        input_std: list[float] | None = None,
        freeze_features: bool = False,
        freeze_batchnorm: bool = False,
    ) -> None:
        super().__init__()
        self.feature_extractor = feature_extractor
        self.classifier = nn.Sequential(
            ChunkedLinear(feature_dimension, linear_features),
            nn.ReLU(),
            nn.Linear(linear_features, linear_features),
            nn.ReLU(),
            nn.Linear(linear_features, 1),
        )
        self.feature_dimension = feature_dimension
        self.image_size = image_size
        self.freeze_features = freeze_features
        self.freeze_batchnorm = freeze_batchnorm
        self.register_buffer("input_mean", torch.tensor(input_mean or [0.0] * 3).view(1, 3, 1, 1))
        self.register_buffer("input_std", torch.tensor(input_std or [1.0] * 3).view(1, 3, 1, 1))
        if freeze_features:
            feature_extractor.requires_grad_(False)
        self.train()

    def features(self, images: Tensor) -> Tensor:
        """Images (N, 3, S, S) in [0, 1] -> features (N, feature_dimension)."""
        features: Tensor = self.feature_extractor((images - self.input_mean) / self.input_std)
        return features.flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, S, S) in [0, 1] -> logits (N,): above 0 is a crack."""
        logits: Tensor = self.classifier(self.features(images))
        return logits.squeeze(1)

    def train(self, mode: bool = True) -> "Classifier":
        """As of any module, but what is frozen stays in evaluation mode."""
        super().train(mode)
        if self.freeze_features:
            self.feature_extractor.eval()
        if self.freeze_batchnorm:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    @property
    def num_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())

    def stages(self) -> list[Stage]:
        """The resolutions of the feature extractor, finest first: channels and stride of each."""
        return stages(self.feature_extractor, self.image_size)


def feature_dimension(feature_extractor: nn.Module, image_size: int, name: str) -> int:
    """Length of the flattened features, by a forward pass of a network on the meta device: no computation.

    Raises:
        UserError: where the network cannot take images of that size; names sizes that it can.
    """
    dimension = _try_size(feature_extractor, image_size)
    if isinstance(dimension, int):
        return dimension
    sizes = [str(size) for size in CANDIDATE_SIZES if isinstance(_try_size(feature_extractor, size), int)]
    if not sizes and isinstance(dimension, UserError):
        raise UserError(f"model.name={name}: {dimension}")
    if not sizes:
        raise UserError(f"model.name={name}: fails on images of any size ({type(dimension).__name__}: {dimension})")
    raise UserError(
        f"data.image_size={image_size}: {name} cannot take images of that size; it can take {', '.join(sizes)}"
    )


def stages(feature_extractor: nn.Module, image_size: int) -> list[Stage]:
    """The resolutions of a feature extractor that was trained on images of this size, finest first."""
    declared = getattr(feature_extractor, "stages", None)
    if callable(declared) and not isinstance(declared, nn.Module):  # a network may call a part of itself so
        return list(declared())
    try:
        return probe_stages(feature_extractor, *PROBE_SIZES)
    except (RuntimeError, AssertionError, ValueError):  # a network of one size only
        return probe_stages(feature_extractor, image_size)


def probe_stages(feature_extractor: nn.Module, image_size: int, larger_size: int | None = None) -> list[Stage]:
    """For each resolution between image and pooled features, the outermost module that ends it.

    Outermost first, since inside a block there are wider maps that no detector wants; then the last.
    A stride is what a map grows by from one image to a larger one: exact where padding is missing, and
    none for what does not follow the image, such as adaptive pooling. With one size it is their ratio.
    """
    maps = _square_maps(feature_extractor, image_size)
    larger = _square_maps(feature_extractor, larger_size) if larger_size else [(name, 0, 0) for name, _, _ in maps]
    found: dict[int, tuple[int, Stage]] = {}
    for (name, channels, side), (_, _, larger_side) in zip(maps, larger, strict=True):
        growth = abs(larger_side - side)
        if side < 2 or growth == 0:
            continue
        stride, depth = round(abs((larger_size or 0) - image_size) / growth), name.count(".")
        if stride not in found or depth <= found[stride][0]:
            found[stride] = (depth, Stage(name, channels, stride))
    return [stage for _, stage in sorted(found.values(), key=lambda item: item[1].stride)]


def _square_maps(feature_extractor: nn.Module, image_size: int) -> list[tuple[str, int, int]]:
    """Name, channels and side of each map that a module gives for a square image, in order.

    Of a module that is called several times, as one `pool` for all, no map has its name.
    """
    maps: list[tuple[str, int, int]] = []

    def hook(name: str):  # type: ignore[no-untyped-def]
        def look(_module: nn.Module, _inputs: object, output: object) -> None:
            if isinstance(output, Tensor) and output.ndim == 4:
                _, a, b, c = output.shape
                if b == c or a == b:
                    maps.append((name, a, c) if b == c else (name, c, a))  # Swin keeps channels last

        return look

    handles = [m.register_forward_hook(hook(name)) for name, m in feature_extractor.named_modules() if name]
    was_training = feature_extractor.training
    parameter = next(feature_extractor.parameters(), torch.empty(0))
    try:
        with torch.no_grad():
            feature_extractor.eval()(torch.zeros(1, 3, image_size, image_size).to(parameter))
    finally:
        feature_extractor.train(was_training)
        for handle in handles:
            handle.remove()
    calls = Counter(name for name, _, _ in maps)
    return [one for one in maps if calls[one[0]] == 1]


def _try_size(feature_extractor: nn.Module, image_size: int) -> int | Exception:
    images = torch.empty(2, 3, image_size, image_size, device="meta")
    try:
        with torch.no_grad(), MetaFlopCounter():
            features = feature_extractor.eval()(images)
    except Exception as error:  # a user's network may raise anything
        return error
    if not isinstance(features, Tensor):
        return UserError(f"its forward gives {type(features).__name__}, not a tensor of features")
    if features.ndim < 2 or len(features) != len(images):
        return UserError(f"its forward gives {list(features.shape)} for {len(images)} images, not features of each")
    return int(features[0].numel()) or ValueError("no features are left")
