"""A crack classifier: normalised image -> feature extractor -> head -> one logit."""

from collections import Counter
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from crackdet.core.errors import UserError
from crackdet.models.flops import MetaFlopCounter
from crackdet.models.intermediates import declared_stages, declares_stages
from crackdet.models.linear import ChunkedLinear
from crackdet.models.stage import Stage
from crackdet.models.torch_internals import is_batchnorm

CANDIDATE_SIZES = (32, 64, 96, 128, 160, 192, 224, 256, 288, 299, 320, 384, 448, 512)
PROBE_SIZES = (224, 448)  # pixels: large enough for the stages of every torchvision network to differ


@dataclass(frozen=True)
class Normalization:
    """Mean and standard deviation of pixels in [0, 1], per RGB channel; None stands for 0 and 1."""

    mean: list[float] | None = None
    std: list[float] | None = None


UNNORMALIZED = Normalization()


class Head(nn.Sequential):
    """The layers after the features: features (N, D) -> logits (N,), above 0 is a crack."""

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = super().forward(features)  # type: ignore[no-untyped-call]
        return logits.squeeze(1)

    @property
    def feature_dimension(self) -> int:
        layer = self[0]
        assert isinstance(layer, nn.Linear)
        return layer.in_features


def mlp_head(feature_dimension: int, linear_features: int) -> Head:
    """Return the article's head: three linear layers."""
    return Head(
        ChunkedLinear(feature_dimension, linear_features),
        nn.ReLU(),
        nn.Linear(linear_features, linear_features),
        nn.ReLU(),
        nn.Linear(linear_features, 1),
    )


def linear_head(feature_dimension: int) -> Head:
    """Return a head of one linear layer, which a probe fits."""
    return Head(nn.Linear(feature_dimension, 1))


class Classifier(nn.Module):
    """The network that a run trains: the `feature_extractor` becomes the backbone, the `classifier` is discarded."""

    input_mean: Tensor
    input_std: Tensor

    def __init__(
        self,
        feature_extractor: nn.Module,
        head: Head,
        image_size: int,
        normalization: Normalization = UNNORMALIZED,
        freeze_features: bool = False,
        freeze_batchnorm: bool = False,
    ) -> None:
        super().__init__()
        self.feature_extractor = feature_extractor
        self.classifier = head
        self.image_size = image_size
        self.freeze_features = freeze_features
        self.freeze_batchnorm = freeze_batchnorm
        self.register_buffer("input_mean", torch.tensor(normalization.mean or [0.0] * 3).view(1, 3, 1, 1))
        self.register_buffer("input_std", torch.tensor(normalization.std or [1.0] * 3).view(1, 3, 1, 1))
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
        return logits

    def train(self, mode: bool = True) -> "Classifier":
        """Set training mode, except for frozen parts: they stay in evaluation mode."""
        super().train(mode)
        if self.freeze_features:
            self.feature_extractor.eval()
        if self.freeze_batchnorm:
            for module in filter(is_batchnorm, self.modules()):
                module.eval()
        return self

    @property
    def num_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def feature_dimension(self) -> int:
        return self.classifier.feature_dimension

    def stages(self) -> list[Stage]:
        """Return the resolutions of the feature extractor, finest first."""
        return stages(self.feature_extractor, self.image_size)


def feature_dimension(feature_extractor: nn.Module, image_size: int, name: str) -> int:
    """Return the length of the flattened features, by a forward pass on the meta device, which computes nothing.

    Raises:
        UserError: If the network does not accept images of this size; names sizes that it accepts.
    """
    dimension = _try_size(feature_extractor, image_size)
    if isinstance(dimension, int):
        return dimension
    candidates = sorted({*CANDIDATE_SIZES, *_published_size(feature_extractor)})
    sizes = [size for size in candidates if isinstance(_try_size(feature_extractor, size), int)]
    if not sizes and isinstance(dimension, UserError):
        raise UserError(f"model.name={name}: {dimension}")
    if not sizes:
        raise UserError(f"model.name={name}: fails on images of any size ({type(dimension).__name__}: {dimension})")
    problem = f"{name} does not accept images of this size"
    if image_size < sizes[0] and candidates[-len(sizes) :] == sizes:  # it accepts all sizes from one on
        problem = f"must be at least {_smallest_size(feature_extractor, image_size, sizes[0])} for {name}"
    raise UserError(f"data.image_size={image_size}: {problem}; it accepts {', '.join(map(str, sizes))}")


def _published_size(network: nn.Module) -> tuple[int, ...]:
    """Return the size of the images that a network of timm was published for."""
    published = getattr(network, "pretrained_cfg", None)
    return tuple(published["input_size"][1:]) if isinstance(published, dict) and "input_size" in published else ()


def _smallest_size(feature_extractor: nn.Module, refused: int, accepted: int) -> int:
    """Return the smallest size above a refused one that a network accepts, if it accepts all larger ones."""
    while accepted - refused > 1:
        middle = (refused + accepted) // 2
        if isinstance(_try_size(feature_extractor, middle), int):
            accepted = middle
        else:
            refused = middle
    return accepted


def stages(feature_extractor: nn.Module, image_size: int) -> list[Stage]:
    """Return the resolutions of a feature extractor that was trained on images of this size, finest first."""
    if declares_stages(feature_extractor):
        return list(declared_stages(feature_extractor).values())
    declared = getattr(feature_extractor, "stages", None)
    if callable(declared) and not isinstance(declared, nn.Module):  # a submodule may have this name
        return list(declared())
    try:
        return probe_stages(feature_extractor, *PROBE_SIZES)
    except (RuntimeError, AssertionError, ValueError):  # the network accepts one size only
        return probe_stages(feature_extractor, image_size)


def probe_stages(feature_extractor: nn.Module, image_size: int, larger_size: int | None = None) -> list[Stage]:
    """Return for each resolution between image and pooled features the last of the outermost modules that output it.

    Modules inside a block may output wider maps. The stride is the growth of the image divided by that of the map,
    which is exact without padding and excludes maps of constant size (adaptive pooling); with one size, their ratio.
    """
    maps = _square_maps(feature_extractor, image_size)
    larger_maps = _square_maps(feature_extractor, larger_size) if larger_size else [(name, 0, 0) for name, _, _ in maps]
    found: dict[int, tuple[int, Stage]] = {}
    for (name, channels, side), (_, _, larger_side) in zip(maps, larger_maps, strict=True):
        growth = abs(larger_side - side)
        if side < 2 or growth == 0:
            continue
        stride, depth = round(abs((larger_size or 0) - image_size) / growth), name.count(".")
        if stride not in found or depth <= found[stride][0]:
            found[stride] = (depth, Stage(name, channels, stride))
    return [stage for _, stage in sorted(found.values(), key=lambda item: item[1].stride)]


def _square_maps(feature_extractor: nn.Module, image_size: int) -> list[tuple[str, int, int]]:
    """Return module name, channels and side of each feature map of a square image, in order of computation."""
    maps: list[tuple[str, int, int]] = []

    def record(name: str, _module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4:
            _, a, b, c = output.shape
            if b == c or a == b:
                maps.append((name, a, c) if b == c else (name, c, a))  # Swin has channels last

    handles = [m.register_forward_hook(partial(record, name)) for name, m in feature_extractor.named_modules() if name]
    was_training = feature_extractor.training
    parameter = next(feature_extractor.parameters(), torch.empty(0))
    try:
        with torch.no_grad():
            feature_extractor.eval()(torch.zeros(1, 3, image_size, image_size).to(parameter))
    finally:
        feature_extractor.train(was_training)
        for handle in handles:
            handle.remove()
    calls = Counter(name for name, _, _ in maps)  # a name does not identify a map if its module is called several times
    return [found for found in maps if calls[found[0]] == 1]


def _try_size(feature_extractor: nn.Module, image_size: int) -> int | Exception:
    images = torch.empty(2, 3, image_size, image_size, device="meta")
    try:
        with torch.no_grad(), MetaFlopCounter():
            features = feature_extractor.eval()(images)
    except Exception as error:  # a user's network may raise anything
        return error
    if not isinstance(features, Tensor):
        return UserError(f"forward must return a tensor of features, not {type(features).__name__}")
    if features.ndim < 2 or len(features) != len(images):
        return UserError(f"forward must return features for each image, not shape {list(features.shape)} for 2 images")
    return int(features[0].numel()) or ValueError("the features are empty")
