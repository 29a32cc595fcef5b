"""torchvision's vision transformers, which give a detector their feature map as timm's networks do."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torchvision.models import VisionTransformer


class MapVisionTransformer(VisionTransformer):  # type: ignore[misc]
    """A vision transformer that also returns a map, of images whose sides are multiples of the patch.

    The methods are those of timm's networks. Position embeddings are resampled to the size of the images, as in timm;
    `forward` is unchanged.
    """

    @property
    def feature_info(self) -> list[dict[str, Any]]:
        return [{"num_chs": self.hidden_dim, "reduction": self.patch_size, "module": "encoder.ln"}]

    def prune_intermediate_layers(self, _indices: object, prune_norm: bool = False, prune_head: bool = True) -> None:
        self.heads = nn.Identity()

    def forward_intermediates(self, images: Tensor, norm: bool = False, **_: object) -> list[Tensor]:
        """Return the map (N, hidden_dim, H / patch, W / patch) of the last block; `norm`: after the last layer norm."""
        patches = self.conv_proj(images)
        height, width = patches.shape[-2:]
        class_token = self.class_token.expand(len(images), -1, -1)
        tokens = torch.cat([class_token, patches.flatten(2).transpose(1, 2)], dim=1) + self._positions(height, width)
        tokens = self.encoder.layers(self.encoder.dropout(tokens))
        if norm:
            tokens = self.encoder.ln(tokens)
        return [tokens[:, 1:].transpose(1, 2).reshape(len(tokens), -1, height, width)]

    def _positions(self, height: int, width: int) -> Tensor:
        positions: Tensor = self.encoder.pos_embedding
        side = self.image_size // self.patch_size
        if (height, width) == (side, side):
            return positions
        grid = positions[:, 1:].transpose(1, 2).reshape(1, -1, side, side)
        grid = interpolate(grid, (height, width), mode="bicubic", antialias=True)
        return torch.cat([positions[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)
