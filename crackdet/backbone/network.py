"""An exported feature extractor as torchvision's detectors take it."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, fx, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import FeaturePyramidNetwork, FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool
from torchvision.transforms.v2.functional import resize

from crackdet.backbone.description import Description
from crackdet.backbone.extraction import in_order, to_nchw
from crackdet.backbone.normalization import IMAGENET_MEAN, IMAGENET_STD
from crackdet.core.errors import UserError

PYRAMID_STAGES = 4  # the coarsest so many: of a ResNet all but the stem, as in torchvision
PYRAMID_CHANNELS = 256
OCTAVES = 5  # of anchors, as in torchvision


class Backbone(nn.Module):
    """Images -> map, or with `pyramid` maps by number ("0" is the finest) and "pool", all of `out_channels`.

    Images arrive as `image_mean` and `image_std` have normalised them, which is what a detector of torchvision
    does; here they are brought to the normalisation that the weights were trained with.
    """

    image_mean: Tensor
    image_std: Tensor
    own_mean: Tensor
    own_std: Tensor

    def __init__(
        self,
        body: fx.GraphModule,
        description: Description,
        image_mean: Sequence[float] = IMAGENET_MEAN,
        image_std: Sequence[float] = IMAGENET_STD,
        pyramid: bool = False,
    ) -> None:
        super().__init__()
        self.body = body
        self.description = description
        self.stages = tuple(description.stages)
        for name, values in (
            ("image_mean", image_mean),
            ("image_std", image_std),
            ("own_mean", description.mean),
            ("own_std", description.std),
        ):
            self.register_buffer(name, _of_channels(name, values), persistent=False)
        self.pyramid = None
        self.out_channels = self.stages[-1].channels
        if pyramid:
            channels = [stage.channels for stage in self.stages[-PYRAMID_STAGES:]]
            self.pyramid = FeaturePyramidNetwork(channels, PYRAMID_CHANNELS, extra_blocks=LastLevelMaxPool())
            self.out_channels = PYRAMID_CHANNELS

    def forward(self, images: Tensor) -> Tensor | dict[str, Tensor]:
        maps = list(self.maps(images).values())
        if self.pyramid is None:
            return maps[-1]
        pyramid: dict[str, Tensor] = self.pyramid(OrderedDict(enumerate_maps(maps[-PYRAMID_STAGES:])))
        return pyramid

    def maps(self, images: Tensor) -> dict[str, Tensor]:
        """The map of each stage by its name, finest first, of images (N, 3, H, W) normalised as those of `forward`.

        Raises:
            UserError: where they are smaller than `description.smallest_image`.
        """
        height, width = images.shape[-2:]
        least = self.description.smallest_image
        if min(height, width) < least:
            raise UserError(
                f"images of {height} x {width} pixels: too small for {self.description.run}, which needs {least} x "
                f"{least}; enlarge them (min_size of FasterRCNN)"
            )
        return self.maps_of(images * self.image_std + self.image_mean)

    def maps_of(self, images: Tensor) -> dict[str, Tensor]:
        """The map of each stage by its name, finest first: (N, channels, H / stride, W / stride).

        `images` (N, 3, H, W) are in [0, 1] and not yet normalised.
        """
        found = in_order(self.body((images - self.own_mean) / self.own_std))
        return {stage.name: to_nchw(tensor, stage) for stage, tensor in zip(self.stages, found, strict=True)}

    def anchors(self, smallest: float = 32.0) -> AnchorGenerator:
        """Anchors for the maps of `forward`, for `rpn_anchor_generator` of a detector.

        Five octaves of side, from `smallest` pixels, spread over the maps with as many on each; three aspect ratios.
        With four stages in a pyramid they are those of torchvision.
        """
        count = 1 if self.pyramid is None else min(len(self.stages), PYRAMID_STAGES) + 1
        each = -(-OCTAVES // count)
        starts = [round(index * (OCTAVES - each) / max(count - 1, 1)) for index in range(count)]
        sizes = tuple(tuple(smallest * 2 ** (start + octave) for octave in range(each)) for start in starts)
        return AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * count)

    @torch.no_grad()
    def features(self, regions: Tensor | Sequence[Tensor], batch_size: int = 64, grid: int | None = 1) -> Tensor:
        """Regions cut out of images -> their vectors (N, out_channels x grid x grid), as the first R-CNN wants them.

        A region (3, h, w) has any size, uint8 or float in [0, 1], not normalised; it is resized to the size that the
        network was trained on. The last stage's map is averaged over grid x grid cells; None keeps all of it.

        Raises:
            UserError: where a region is no such tensor, or empty.
        """
        was_training, batches = self.training, []
        self.eval()
        try:
            for start in range(0, len(regions), batch_size):
                batch = torch.stack(
                    [self._resized(region, start + i) for i, region in enumerate(regions[start : start + batch_size])]
                )
                last = list(self.maps_of(batch).values())[-1]
                cells = last if grid is None else nn.functional.adaptive_avg_pool2d(last, grid)
                batches.append(cells.flatten(1))
        finally:
            self.train(was_training)
        return torch.cat(batches) if batches else torch.empty(0, self.stages[-1].channels * (grid or 1) ** 2)

    def _resized(self, region: Tensor, index: int) -> Tensor:
        if region.ndim != 3 or region.shape[0] != 3 or 0 in region.shape:
            raise UserError(f"region {index}: has shape {tuple(region.shape)}; must be (3, height, width)")
        if region.dtype != torch.uint8 and not region.is_floating_point():
            raise UserError(f"region {index}: is {region.dtype}; must be uint8, or floating point in [0, 1]")
        side = self.description.image_size
        pixels: Tensor = resize(region.to(self.own_mean.device), [side, side], antialias=True)
        return pixels / 255 if region.dtype == torch.uint8 else pixels.to(self.own_mean.dtype)


def _of_channels(name: str, values: Sequence[float]) -> Tensor:
    """(3, 1, 1), of pixels in [0, 1]; raises UserError for what cannot be a mean or a deviation of those."""
    fits = (lambda value: 0 <= value <= 1) if name.endswith("mean") else (lambda value: value > 0)
    if len(values) != 3 or not all(map(fits, values)):
        raise UserError(f"{name}={list(values)}: must be three numbers, for red, green and blue in [0, 1]")
    return torch.tensor(values).view(3, 1, 1)


def enumerate_maps(maps: Sequence[Tensor]) -> list[tuple[str, Tensor]]:
    """With the names that torchvision's RoI pooling looks for."""
    return [(str(number), tensor) for number, tensor in enumerate(maps)]


def with_frozen_batchnorm(module: nn.Module) -> None:
    """Replaces batch normalisation by its frozen form, as torchvision does where detectors are fine-tuned."""
    for name, child in list(module.named_modules()):
        if isinstance(child, nn.BatchNorm2d):
            frozen = FrozenBatchNorm2d(child.num_features, child.eps)
            state = {key: tensor for key, tensor in child.state_dict().items() if key != "num_batches_tracked"}
            frozen.load_state_dict(state, strict=False)
            parent, _, attribute = name.rpartition(".")
            setattr(module.get_submodule(parent), attribute, frozen)
