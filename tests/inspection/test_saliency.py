"""Grad-CAM and integrated gradients against their definitions."""

import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate, relu
from torchvision.ops import Permute

from crackdet.core.errors import UserError
from crackdet.inference.loaded_run import LoadedRun
from crackdet.inspection.loaded_network import load_network
from crackdet.inspection.saliency import (
    grad_cam,
    integrated_gradients,
    mean_colour,
    raw_integrated_gradients,
    strongest_point,
)
from crackdet.inspection.samples import load_split, to_samples
from crackdet.models.classifier import Classifier, mlp_head
from crackdet.models.factory import build
from tests.composing import compose


@pytest.fixture(scope="module")
def images(clean_run: LoadedRun) -> torch.Tensor:
    network = load_network(clean_run)
    images = load_split(network, "valid")
    return network.tensor(to_samples(images, images.records[:6]))


def test_integrated_gradients_sum_to_the_change_of_the_logit(clean_run: LoadedRun, images: torch.Tensor) -> None:
    model = clean_run.model("cpu")
    change = model(images) - model(mean_colour(images))
    total = raw_integrated_gradients(model, images).sum((1, 2, 3))
    torch.testing.assert_close(total, change.detach(), rtol=0.05, atol=0.05)


def test_grad_cam_weights_maps_by_their_mean_gradients(clean_run: LoadedRun, images: torch.Tensor) -> None:
    model = clean_run.model("cpu")
    maps = model.feature_extractor((images - model.input_mean) / model.input_std)
    (gradients,) = torch.autograd.grad(model.classifier(maps.flatten(1)).sum(), maps)
    weighted = relu((gradients.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True))
    expected = interpolate(weighted, images.shape[2:], mode="bilinear")[:, 0]
    torch.testing.assert_close(grad_cam(model, images), expected.detach(), rtol=1e-4, atol=1e-6)


class _OneCorner(nn.Module):
    """Returns the mean brightness of the lower right quarter."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        half = images.shape[-1] // 2
        return images[:, :, half:, half:].mean((1, 2, 3))[:, None]


def test_ignored_pixels_get_no_attribution() -> None:
    model = Classifier(_OneCorner(), mlp_head(1, 1), 32)
    for parameter in model.classifier.parameters():
        nn.init.ones_(parameter)
    saliency = integrated_gradients(model.eval(), torch.rand(2, 3, 32, 32, generator=torch.manual_seed(0)))
    assert (saliency[:, :12] == 0).all()
    for image in saliency:
        point = strongest_point(image)
        assert point is not None
        assert min(point) >= 15


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "densenet121"])
def test_torchvision_networks_have_a_stage_for_grad_cam(name: str) -> None:
    model = build(compose(["model=torchvision", f"model.name={name}", "model.weights=null", "data.image_size=64"]))
    saliency = grad_cam(model.eval(), torch.rand(1, 3, 64, 64, generator=torch.manual_seed(0)))
    assert saliency.shape == (1, 64, 64)
    assert torch.isfinite(saliency).all()


def test_stages_with_channels_last_are_ignored() -> None:
    channels_last = nn.Sequential(nn.Conv2d(3, 5, 1), Permute([0, 2, 3, 1]))
    with pytest.raises(UserError, match="channels-first"):
        grad_cam(Classifier(channels_last, mlp_head(5 * 16 * 16, 4), 16).eval(), torch.rand(1, 3, 16, 16))


def test_images_too_small_for_the_network_are_rejected() -> None:
    model = build(compose(["model.conv_out=[4,8]", "data=folder", "data.root=.", "data.image_size=6"]))
    with pytest.raises(UserError, match=r"6 pixels .* larger data\.image_size"):
        grad_cam(model.eval(), torch.rand(1, 3, 6, 6))


def test_without_evidence_there_is_no_strongest_point() -> None:
    assert strongest_point(torch.zeros(5, 5)) is None
    assert strongest_point(torch.eye(5) * torch.arange(5.0)) == (4, 4)
