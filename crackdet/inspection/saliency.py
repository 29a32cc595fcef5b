"""Where in an image the evidence for a crack lies, as the network weighs it."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms.functional import gaussian_blur

from crackdet.inspection.layers import last_layer
from crackdet.models.classifier import Classifier

STEPS = 32  # of the path from the baseline: the attributions then add up to the logit's change within a few percent
BLUR = 0.015  # of a side: single pixels of a gradient are noise

Method = Callable[[Classifier, Tensor], Tensor]


def grad_cam(model: Classifier, images: Tensor) -> Tensor:
    """Grad-CAM (Selvaraju et al., ICCV 2017) at the deepest stage that still has places: (N, 3, S, S) -> (N, S, S).

    Each map of the stage, weighted by its mean gradient; what speaks against a crack is cut off at 0.

    Raises:
        UserError: where the images are too small for the network.
    """
    from captum.attr import LayerGradCam

    layer = model.feature_extractor.get_submodule(last_layer(model).module)
    coarse = LayerGradCam(model, layer).attribute(images, relu_attributions=True)
    return interpolate(coarse, images.shape[2:], mode="bilinear")[:, 0].detach()


def integrated_gradients(model: Classifier, images: Tensor) -> Tensor:
    """Integrated gradients (Sundararajan, Taly and Yan, ICML 2017), as far as they speak for a crack, slightly blurred.

    (N, 3, S, S) -> (N, S, S). The path starts from each image's mean colour: from black, dark cracks would get
    nothing, since an attribution is multiplied by the difference to the baseline (Sturmfels et al., Distill, 2020).
    """
    attributions = raw_integrated_gradients(model, images).sum(1).clamp(min=0)
    sigma = max(BLUR * images.shape[-1], 0.5)
    blurred: Tensor = gaussian_blur(attributions[:, None], 2 * round(2 * sigma) + 1, sigma)[:, 0]
    return blurred


def raw_integrated_gradients(model: Classifier, images: Tensor) -> Tensor:
    """The attributions of every colour of every pixel; of an image they add up to logit minus baseline's logit."""
    from captum.attr import IntegratedGradients

    attributions: Tensor = IntegratedGradients(model).attribute(
        images, mean_colour(images), n_steps=STEPS, internal_batch_size=max(STEPS, len(images))
    )
    return attributions.detach().float()


def mean_colour(images: Tensor) -> Tensor:
    """Each image (3, S, S) as nothing but its mean colour."""
    return images.mean((2, 3), keepdim=True).expand_as(images).contiguous()


METHODS: dict[str, Method] = {"grad_cam": grad_cam, "integrated_gradients": integrated_gradients}
TITLES = {"grad_cam": "Grad-CAM", "integrated_gradients": "integrated gradients"}


def strongest_point(saliency: Tensor) -> tuple[int, int] | None:
    """Row and column of the largest value of (S, S); None where nothing speaks for a crack."""
    if not float(saliency.max()) > 0:
        return None
    row, column = divmod(int(torch.argmax(saliency)), saliency.shape[1])
    return row, column
