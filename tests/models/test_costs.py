"""What a detector takes over: parameters, operations at its size, and the license of the initial weights."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from crackdet.core.licenses import RANDOM
from crackdet.models import costs
from crackdet.models.costs import DETECTOR_HEIGHT, DETECTOR_WIDTH, detector_flops, feature_parameters, initial_license
from crackdet.models.factory import feature_extractor, feature_flops
from tests.composing import compose

TORCHVISION = ("model=torchvision", "model.weights=null")


def test_the_size_is_the_one_that_a_backbone_of_torchvision_sees() -> None:
    class Seen(torch.nn.Module):
        out_channels = 4

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            assert images.shape == (1, 3, DETECTOR_HEIGHT, DETECTOR_WIDTH)
            raise StopIteration

    detector = FasterRCNN(Seen(), num_classes=2).eval()
    assert isinstance(detector.transform, GeneralizedRCNNTransform)
    for height, width in ((600, 800), (3000, 4000)):
        with pytest.raises(StopIteration):
            detector([torch.zeros(3, height, width)])


def test_parameters_and_operations_are_those_of_the_feature_extractor() -> None:
    config = compose(["model.conv_out=[4,8]", "data.image_size=32"])
    extractor = feature_extractor(config.model)
    assert feature_parameters(config) == sum(parameter.numel() for parameter in extractor.parameters())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        extractor(torch.zeros(1, 3, DETECTOR_HEIGHT, DETECTOR_WIDTH))
    assert detector_flops(config) == counter.get_total_flops()


def test_a_network_for_images_of_one_size_has_no_operations_in_a_detector() -> None:
    config = compose([*TORCHVISION, "model.name=vit_b_32", "data.image_size=224"])
    assert detector_flops(config) is None and feature_flops(config) > 0


def test_heads_on_one_network_share_its_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def recording(*arguments: object, **options: object) -> torch.nn.Module:
        calls.append(arguments)
        return feature_extractor(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(costs, "feature_extractor", recording)
    for width in range(3):
        config = compose([f"model.linear_features={8 + width}", f"seed={width}", "model.conv_out=[3,5,7]"])
        detector_flops(config), feature_parameters(config)
    assert len(calls) == 2


def test_the_license_is_that_of_the_weights() -> None:
    resnet = compose([*TORCHVISION, "model.name=resnet18"]).model
    assert initial_license(resnet, None) == RANDOM
    assert initial_license(resnet, "IMAGENET1K_V1").startswith("unknown: torchvision states none")
    assert initial_license(resnet, f"sha256:{'0' * 64}").startswith("unknown")
    assert initial_license(resnet, f"sha256:f37072fd{'0' * 56}").endswith("IMAGENET1K_V1; its code is BSD-3-Clause")
    swag = compose([*TORCHVISION, "model.name=vit_b_16", "data.image_size=224"]).model
    assert "SWAG" in initial_license(swag, "IMAGENET1K_SWAG_E2E_V1")
