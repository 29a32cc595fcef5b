"""The map of torchvision's vision transformers."""

import pytest
import torch
from torch import Tensor
from torchvision.models import VisionTransformer

from crackdet.models.intermediates import Intermediates, declared_stages
from crackdet.models.stage import Stage
from crackdet.models.torchvision_vit import MapVisionTransformer


@pytest.fixture
def network() -> MapVisionTransformer:
    torch.manual_seed(0)
    network = VisionTransformer(image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32)
    network.__class__ = MapVisionTransformer
    return network.eval()


def random_images(height: int, width: int) -> Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))


def test_the_map_is_the_output_of_the_encoder_without_the_class_token(network: MapVisionTransformer) -> None:
    images, outputs = random_images(32, 32), list[Tensor]()
    network.encoder.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    with torch.no_grad():
        network(images)
        (features,) = network.forward_intermediates(images, norm=True)
    torch.testing.assert_close(features, outputs[0][:, 1:].transpose(1, 2).reshape(2, 16, 4, 4))


def test_the_map_of_other_sizes_is_cropped_to_the_image(network: MapVisionTransformer) -> None:
    assert list(declared_stages(network).values()) == [Stage("encoder.ln", 16, 8)]
    (features,) = Intermediates(network, multiple=8)(random_images(33, 55)).values()
    assert features.shape == (2, 16, 5, 7)


def test_position_embeddings_keep_their_places_at_another_size(network: MapVisionTransformer) -> None:
    rows = torch.arange(4.0).view(4, 1).expand(4, 4).flatten()
    with torch.no_grad():
        network.encoder.pos_embedding[0, 1:] = rows[:, None]
    resampled = network._positions(8, 4)[0, 1:, 0].view(8, 4)
    torch.testing.assert_close(resampled[3:5], ((torch.arange(3.0, 5) + 0.5) / 2 - 0.5).view(2, 1).expand(2, 4))
