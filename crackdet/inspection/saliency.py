"""Compute where in an image the network finds evidence for a crack."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms.functional import gaussian_blur

from crackdet.inspection.layers import deepest_layer
from crackdet.models.classifier import Classifier

STEPS = 32  # along the path from the baseline: attributions then sum to the change of the logit within a few percent
BLUR = 0.015  # of a side: gradients of single pixels are noise

Method = Callable[[Classifier, Tensor], Tensor]


def grad_cam(model: Classifier, images: Tensor) -> Tensor:
    """Return Grad-CAM (Selvaraju et al., ICCV 2017) at the deepest usable stage: (N, 3, S, S) -> (N, S, S).

    Each map of the stage is weighted by its mean gradient; evidence against a crack is clipped to 0. Raises UserError
    if the images are too small for the network.
    """
    from captum.attr import LayerGradCam

    layer = model.feature_extractor.get_submodule(deepest_layer(model).module)
    coarse = LayerGradCam(model, layer).attribute(images, relu_attributions=True)
    return interpolate(coarse, images.shape[2:], mode="bilinear")[:, 0].detach()


def integrated_gradients(model: Classifier, images: Tensor) -> Tensor:
    """Return the positive part of integrated gradients (Sundararajan et al., ICML 2017), slightly blurred.

    (N, 3, S, S) -> (N, S, S). The baseline is each image's mean colour: from a black baseline, dark cracks would get
    no attribution, since it is multiplied by the difference to the baseline (Sturmfels et al., Distill, 2020).
    """
    attributions = raw_integrated_gradients(model, images).sum(1).clamp(min=0)
    sigma = max(BLUR * images.shape[-1], 0.5)
    blurred: Tensor = gaussian_blur(attributions[:, None], 2 * round(2 * sigma) + 1, sigma)[:, 0]
    return blurred


def raw_integrated_gradients(model: Classifier, images: Tensor) -> Tensor:
    """Return attributions per pixel and colour; over an image they sum to its logit minus that of the baseline."""
    from captum.attr import IntegratedGradients

    attributions: Tensor = IntegratedGradients(model).attribute(
        images, mean_colour(images), n_steps=STEPS, internal_batch_size=max(STEPS, len(images))
    )
    return attributions.detach().float()


def mean_colour(images: Tensor) -> Tensor:
    """Return images (N, 3, S, S) filled with the mean colour of each image."""
    return images.mean((2, 3), keepdim=True).expand_as(images).contiguous()


METHODS: dict[str, Method] = {"grad_cam": grad_cam, "integrated_gradients": integrated_gradients}
TITLES = {"grad_cam": "Grad-CAM", "integrated_gradients": "integrated gradients"}


def strongest_point(saliency: Tensor) -> tuple[int, int] | None:
    """Return row and column of the largest value of (S, S); None if there is no evidence for a crack."""
    if not float(saliency.max()) > 0:
        return None
    row, column = divmod(int(torch.argmax(saliency)), saliency.shape[1])
    return row, column
