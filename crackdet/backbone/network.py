"""An exported feature extractor as a backbone of torchvision's detectors; loaded without the run store."""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import FeaturePyramidNetwork, FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool
from torchvision.transforms.v2.functional import resize

from crackdet.backbone.description import DESCRIPTION, WEIGHTS, Description
from crackdet.backbone.extraction import extract_body, freeze_stages, ordered_maps, to_nchw
from crackdet.backbone.options import IMAGENET_MEAN, IMAGENET_STD, LoadOptions
from crackdet.backbone.simple_pyramid import STRIDES, SimpleFeaturePyramid
from crackdet.config.parsing import parse_group
from crackdet.core.errors import UserError
from crackdet.core.reading import file_digest
from crackdet.models import factory
from crackdet.models import weights as weight_files
from crackdet.models.intermediates import Intermediates
from crackdet.store.code_digest import check_source

PYRAMID_STAGES = 4  # the coarsest ones: all but the stem of a ResNet, as in torchvision
PYRAMID_CHANNELS = 256
OCTAVES = 5  # of anchor sizes, as in torchvision


class Backbone(nn.Module):
    """Images -> the last map, or with `pyramid` maps by number ("0" is the finest) and "pool", of `out_channels`.

    Images arrive normalized with `image_mean` and `image_std`, as torchvision's detectors do it; the backbone converts
    them to the normalization that its weights were trained with.
    """

    image_mean: Tensor
    image_std: Tensor
    own_mean: Tensor
    own_std: Tensor

    def __init__(
        self,
        body: nn.Module,
        description: Description,
        image_mean: Sequence[float] = IMAGENET_MEAN,
        image_std: Sequence[float] = IMAGENET_STD,
        pyramid: bool = False,
    ) -> None:
        super().__init__()
        self.body = body
        self.description = description
        self.stages = tuple(description.stages)
        normalizations = {"image": (image_mean, image_std), "own": (description.mean, description.std)}
        for prefix, (mean, std) in normalizations.items():
            self.register_buffer(f"{prefix}_mean", _channel_tensor(f"{prefix}_mean", mean), persistent=False)
            self.register_buffer(f"{prefix}_std", _channel_tensor(f"{prefix}_std", std), persistent=False)
        self.pyramid: nn.Module | None = None
        self.out_channels = self.stages[-1].channels
        self.is_plain = isinstance(body, Intermediates) and body.is_plain
        if pyramid and self.is_plain:
            self.pyramid = SimpleFeaturePyramid(self.out_channels, self.stages[-1].stride, PYRAMID_CHANNELS)
            self.out_channels = PYRAMID_CHANNELS
        elif pyramid:
            channels = [stage.channels for stage in self.stages[-PYRAMID_STAGES:]]
            self.pyramid = FeaturePyramidNetwork(channels, PYRAMID_CHANNELS, extra_blocks=LastLevelMaxPool())
            self.out_channels = PYRAMID_CHANNELS

    def forward(self, images: Tensor) -> Tensor | dict[str, Tensor]:
        maps = list(self.maps(images).values())
        if self.pyramid is None:
            return maps[-1]
        if self.is_plain:
            return self._crop(self.pyramid(maps[-1]), images)
        named = OrderedDict((str(number), tensor) for number, tensor in enumerate(maps[-PYRAMID_STAGES:]))
        pyramid: dict[str, Tensor] = self.pyramid(named)  # the names that torchvision's RoI pooling expects
        return pyramid

    def _crop(self, pyramid: dict[str, Tensor], images: Tensor) -> dict[str, Tensor]:
        """Return the maps of a simple pyramid without the cells that are outside the images."""
        height, width = images.shape[-2:]
        for name, stride in zip(pyramid, (*STRIDES, 2 * STRIDES[-1]), strict=True):
            pyramid[name] = pyramid[name][..., : -(-height // stride), : -(-width // stride)]
        return pyramid

    def maps(self, images: Tensor) -> dict[str, Tensor]:
        """Return the map of each stage by name, finest first, of images (N, 3, H, W) normalized as for `forward`.

        Raises:
            UserError: If the images are smaller than `description.smallest_image`.
        """
        height, width = images.shape[-2:]
        smallest = self.description.smallest_image
        if min(height, width) < smallest:
            raise UserError(
                f"images of {height} x {width} pixels are too small for {self.description.run}, which needs "
                f"{smallest} x {smallest}; enlarge them (min_size of FasterRCNN)"
            )
        return self.maps_of_pixels(images * self.image_std + self.image_mean)

    def maps_of_pixels(self, images: Tensor) -> dict[str, Tensor]:
        """Return the map (N, channels, H / stride, W / stride) of each stage by name, finest first.

        Args:
            images: (N, 3, H, W) in [0, 1], not normalized.
        """
        maps = ordered_maps(self.body((images - self.own_mean) / self.own_std))
        return {stage.name: to_nchw(tensor, stage) for stage, tensor in zip(self.stages, maps, strict=True)}

    def anchors(self, smallest: float = 32.0) -> AnchorGenerator:
        """Return anchors for the maps of `forward`, as `rpn_anchor_generator` of a detector.

        Five octaves of sides from `smallest` pixels are spread over the maps, equally many on each, with three aspect
        ratios. For a pyramid of four stages they equal torchvision's defaults.
        """
        levels = len(STRIDES) if self.is_plain else min(len(self.stages), PYRAMID_STAGES)
        count = 1 if self.pyramid is None else levels + 1
        octaves_per_map = -(-OCTAVES // count)
        starts = [round(index * (OCTAVES - octaves_per_map) / max(count - 1, 1)) for index in range(count)]
        sizes = tuple(tuple(smallest * 2 ** (start + octave) for octave in range(octaves_per_map)) for start in starts)
        return AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * count)

    @torch.no_grad()
    def features(self, regions: Tensor | Sequence[Tensor], batch_size: int = 64, grid: int | None = 1) -> Tensor:
        """Return feature vectors (N, out_channels x grid x grid) of regions cropped from images, as in the first R-CNN.

        Args:
            regions: Tensors (3, h, w) of any size, uint8 or float in [0, 1], not normalized. Each is resized to the
                training size.
            grid: The last map is averaged over grid x grid cells; None keeps the whole map.

        Raises:
            UserError: If a region has another shape or type, or is empty.
        """
        was_training, batches = self.training, []
        self.eval()
        try:
            for start in range(0, len(regions), batch_size):
                batch = torch.stack(
                    [self._resize(region, start + i) for i, region in enumerate(regions[start : start + batch_size])]
                )
                last = list(self.maps_of_pixels(batch).values())[-1]
                cells = last if grid is None else nn.functional.adaptive_avg_pool2d(last, grid)
                batches.append(cells.flatten(1))
        finally:
            self.train(was_training)
        return torch.cat(batches) if batches else torch.empty(0, self.stages[-1].channels * (grid or 1) ** 2)

    def _resize(self, region: Tensor, index: int) -> Tensor:
        if region.ndim != 3 or region.shape[0] != 3 or 0 in region.shape:
            raise UserError(f"region {index}: has shape {tuple(region.shape)}; must be (3, height, width)")
        if region.dtype != torch.uint8 and not region.is_floating_point():
            raise UserError(f"region {index}: is {region.dtype}; must be uint8, or floating point in [0, 1]")
        side = self.description.image_size
        pixels: Tensor = resize(region.to(self.own_mean.device), [side, side], antialias=True)
        return pixels / 255 if region.dtype == torch.uint8 else pixels.to(self.own_mean.dtype)


def _channel_tensor(name: str, values: Sequence[float]) -> Tensor:
    """Return values per RGB channel as (3, 1, 1); raise UserError if they cannot be a mean or deviation in [0, 1]."""
    is_valid = (lambda value: 0 <= value <= 1) if name.endswith("mean") else (lambda value: value > 0)
    if len(values) != 3 or not all(map(is_valid, values)):
        raise UserError(f"{name}={list(values)}: must be three numbers, for red, green and blue in [0, 1]")
    return torch.tensor(values).view(3, 1, 1)


def freeze_batchnorm(module: nn.Module) -> None:
    """Replace batch normalization by its frozen form, as torchvision does when it fine-tunes detectors."""
    for name, child in list(module.named_modules()):
        if isinstance(child, nn.BatchNorm2d) and type(child).__module__.startswith("timm."):
            from timm.layers.norm_act import freeze_batch_norm_2d  # keeps the activation that is part of timm's module

            module.set_submodule(name, freeze_batch_norm_2d(child))
        elif isinstance(child, nn.BatchNorm2d):
            frozen = FrozenBatchNorm2d(child.num_features, child.eps)
            frozen.load_state_dict(child.state_dict(), strict=False)  # without an affine part, that keeps 1 and 0
            module.set_submodule(name, frozen)


def load(folder: Path, options: LoadOptions, trust: bool = False) -> Backbone:
    """Load an exported backbone; see `crackdet.load_backbone`. No code from the folder is executed."""
    description = Description.read(folder)
    count, trainable = len(description.stages), options.trainable_stages
    if trainable is not None and not 0 <= trainable <= count:
        raise UserError(f"trainable_stages={trainable}: must be from 0 to {count}, the number of stages")
    if (target := description.architecture.get("_target_")) is not None:
        if not trust:
            raise UserError(
                f"{folder / DESCRIPTION}: its network is {target}, which is not part of crackdet; "
                "to execute this code, give trust=True"
            )
        check_source(target, description.source_sha256, str(folder / WEIGHTS))
    extractor = factory.feature_extractor(parse_group("model", description.architecture))
    body = extract_body(extractor, description.stages, description.size_multiple)
    if not options.untrained:
        file = folder / WEIGHTS
        state = weight_files.read_state_dict(file, "weights")
        if file_digest(file) != description.weights_sha256:
            raise UserError(f"{file}: does not match {DESCRIPTION}; export the run again")
        weight_files.load_strict(body, state, str(file))
    if options.freeze_batchnorm:
        freeze_batchnorm(body)
    if trainable is not None:
        freeze_stages(body, trainable)
    return Backbone(body, description, options.image_mean, options.image_std, options.pyramid)
