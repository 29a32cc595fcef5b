"""Networks of timm as backbones: their stages, any size of image, pyramids, freezing, and ten families in a process."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN

import crackdet
from crackdet.backbone.export import export
from crackdet.backbone.network import Backbone
from crackdet.backbone.simple_pyramid import SimpleFeaturePyramid
from crackdet.config.schema import TimmModel
from crackdet.core.errors import UserError
from crackdet.models.classifier import probe_stages, stages
from crackdet.models.factory import build, feature_extractor
from crackdet.models.intermediates import Intermediates, declared_stages
from crackdet.store.run import Run
from tests.backbone.published import publish_run
from tests.backbone.timm_networks import IMAGE, configuration, loader, train_step

Exported = Callable[..., tuple[Run, Path]]

VIT = ("model=timm/test_vit", "model.weights=null", "data.image_size=160")
CONVNEXT = ("model=timm/test_convnext", "model.weights=null", "data.image_size=64")
FAMILIES = {  # a network of each family -> the strides that timm declares
    "test_resnet": [2, 4, 8, 16, 32],
    "test_efficientnet": [2, 4, 8, 16, 32],
    "test_convnext": [4, 8, 16, 32],
    "test_byobnet": [2, 4, 8, 16, 32],
    "test_nfnet": [2, 4, 8, 16, 32],
    "test_mambaout": [4, 8, 16, 32],
    "test_vit": [16],
    "lcnet_035": [2, 4, 8, 16, 32],
    "starnet_s050": [4, 8, 16, 32],
    "edgenext_xx_small": [4, 8, 16, 32],
}


# (channels, stride) that timm declares and that differ from the probe's: the probe takes the outermost modules, such as
# the stem and the last convolution of EfficientNets, and timm takes blocks
PROBED_OTHERWISE = {
    "test_efficientnet": {(16, 2), (64, 32)},
    "test_nfnet": {(32, 4)},
    "lcnet_035": {(16, 2)},
}


def random_images(height: int, width: int, count: int = 1) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0))


def load(exported: Exported, *overrides: str, **options: object) -> Backbone:
    _, folder = exported(*overrides)
    return crackdet.load_backbone(folder, **options).eval()  # type: ignore[arg-type]


def sizes(maps: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(each.shape[1:]) for name, each in maps.items()}


# --- stages -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILIES)
def test_the_declared_stages_are_those_that_a_forward_pass_shows(name: str) -> None:
    network = feature_extractor(TimmModel(name=name))
    declared = list(declared_stages(network.eval()).values())
    assert [stage.stride for stage in declared] == FAMILIES[name]
    probed = {(stage.channels, stage.stride) for stage in probe_stages(network, 224, 448)}
    differences = {(stage.channels, stage.stride) for stage in declared} - probed
    assert differences == PROBED_OTHERWISE.get(name, set())


def test_the_stages_of_a_network_with_a_method_of_that_name_are_the_declared_ones() -> None:
    with torch.device("meta"):
        network = timm.create_model("hrnet_w18_small", num_classes=0)
    assert [stage.stride for stage in stages(network, 64)] == [2, 4, 8, 16, 32]


def test_a_wrong_declaration_is_reported_and_corrected(caplog: pytest.LogCaptureFixture) -> None:
    with torch.device("meta"):
        network = timm.create_model("tresnet_m", num_classes=0)  # declares a first map of stride 2, which has 4
    with caplog.at_level(logging.WARNING):
        stages = declared_stages(network)
    assert "stride 2, but its map has 64 channels and stride 4" in caplog.text
    assert [stage.stride for stage in stages.values()] == [4, 8, 16, 32]


def test_the_maps_are_those_of_timms_own_feature_extractor(exported: Exported) -> None:
    backbone = load(exported, *CONVNEXT, image_mean=[0, 0, 0], image_std=[1, 1, 1])
    reference = timm.create_model("test_convnext", features_only=True)
    state = {name.removeprefix("network."): tensor for name, tensor in backbone.body.state_dict().items()}
    reference.load_state_dict(
        {name.replace("stages.", "stages_").replace("stem.", "stem_"): t for name, t in state.items()}
    )
    images = random_images(96, 128)
    with torch.no_grad():
        for own, expected in zip(backbone.maps(images).values(), reference.eval()(images), strict=True):
            torch.testing.assert_close(own, expected)


# --- plain vision transformers ------------------------------------------------------------------------


def test_a_plain_transformer_gives_one_map_or_a_pyramid_for_any_size(exported: Exported) -> None:
    height, width = IMAGE
    single, pyramid = load(exported, *VIT), load(exported, *VIT, pyramid=True)
    images = random_images(height, width)
    with torch.no_grad():
        assert single(images).shape[1:] == (64, 13, 21)
        assert sizes(pyramid(images)) == {
            "0": (256, 50, 83), "1": (256, 25, 42), "2": (256, 13, 21), "3": (256, 7, 11), "pool": (256, 4, 6),
        }  # fmt: skip


def test_at_the_training_size_the_map_is_the_normalised_output_of_the_last_block(exported: Exported) -> None:
    run, folder = exported(*VIT)
    backbone = crackdet.load_backbone(folder, image_mean=[0, 0, 0], image_std=[1, 1, 1]).eval()
    model, images = crackdet.load_run(run.id, run.root).model("cpu"), random_images(160, 160)
    with torch.no_grad():
        tokens = model.feature_extractor.forward_features(images)[:, 1:]  # type: ignore[operator]
        torch.testing.assert_close(backbone(images), tokens.transpose(1, 2).reshape(1, 64, 10, 10))


def test_a_stride_of_14_is_resampled_to_16() -> None:
    class Ramp(nn.Module):  # each cell holds its own position in pixels
        feature_info = ({"num_chs": 1, "reduction": 14, "module": "blocks.0"},)

        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([nn.Identity()])

        def prune_intermediate_layers(self, *_: object, **__: object) -> None:
            pass

        def forward_intermediates(self, images: Tensor, **_: object) -> list[Tensor]:
            columns = (torch.arange(images.shape[3] // 14, device=images.device) + 0.5) * 14
            return [columns.expand(1, 1, images.shape[2] // 14, -1)]

    Ramp.feature_info = list(Ramp.feature_info)  # type: ignore[assignment]
    (features,) = Intermediates(Ramp(), multiple=14)(random_images(64, 112)).values()
    assert features.shape == (1, 1, 4, 7)
    torch.testing.assert_close(features[0, 0, 0, :6], (torch.arange(6) + 0.5) * 16)  # the last cell is cut off


def test_a_simple_pyramid_is_shift_equivariant_and_normalised_per_pixel() -> None:
    torch.manual_seed(0)
    pyramid = SimpleFeaturePyramid(8, 16, 16).eval()
    features = torch.rand(1, 8, 12, 12)
    with torch.no_grad():
        maps, shifted = pyramid(features), pyramid(features.roll(2, 3))
    for name, shift in (("0", 8), ("1", 4), ("2", 2), ("3", 1)):
        inner = maps[name].roll(shift, 3)[..., 2 * shift + 2 : -2]
        torch.testing.assert_close(shifted[name][..., 2 * shift + 2 : -2], inner)
        torch.testing.assert_close(maps[name].mean(1), torch.zeros_like(maps[name][:, 0]), atol=1e-4, rtol=0)


def test_a_detector_trains_on_a_plain_transformer(exported: Exported) -> None:
    backbone = load(exported, *VIT, pyramid=True)
    detector = FasterRCNN(
        backbone, num_classes=2, min_size=96, max_size=128, rpn_anchor_generator=backbone.anchors()
    ).train()
    target = {"boxes": torch.tensor([[10.0, 10.0, 60.0, 60.0]]), "labels": torch.tensor([1])}
    losses = detector([random_images(90, 120)[0]], [target])
    torch.stack(list(losses.values())).sum().backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    gradient = backbone.body.get_parameter("network.patch_embed.proj.weight").grad
    assert gradient is not None and gradient.abs().sum() > 0


# --- freezing and other formats -----------------------------------------------------------------------


def test_freezing_leaves_the_last_stages_trainable(exported: Exported) -> None:
    backbone = load(exported, *CONVNEXT, trainable_stages=1)
    trainable = {name.split(".")[2] for name, each in backbone.body.named_parameters() if each.requires_grad}
    assert trainable == {"3"}  # network.stages.3
    assert not any(each.requires_grad for each in load(exported, *CONVNEXT, trainable_stages=0).body.parameters())
    assert all(each.requires_grad for each in load(exported, *CONVNEXT, trainable_stages=4).body.parameters())


def test_frozen_batch_normalization_keeps_the_activation_in_it(exported: Exported) -> None:
    overrides = ("model=timm/test_efficientnet", "model.weights=null", "data.image_size=64")
    frozen, free = load(exported, *overrides), load(exported, *overrides, freeze_batchnorm=False)
    images = random_images(96, 96)
    with torch.no_grad():
        torch.testing.assert_close(frozen.train()(images), free.eval()(images))


def test_a_transformer_is_exported_for_its_training_size(publish: Callable[..., Run], tmp_path: Path) -> None:
    (written,) = export(publish(*VIT), tmp_path / "backbone", torch_export=True).exports  # compared with the network
    assert not written.any_size and written.outputs == ["stride16"]


def test_a_network_of_one_size_is_refused(publish: Callable[..., Run], tmp_path: Path) -> None:
    run = publish("model=timm/test_vit_relpos", "model.weights=null", "data.image_size=160")
    with pytest.raises(UserError, match="test_vit_relpos: accepts square images of one size only"):
        export(run, tmp_path / "backbone")


# --- ten families -------------------------------------------------------------------------------------


def test_networks_of_ten_families_train_a_step_and_load_in_another_process(tmp_path: Path) -> None:
    base = configuration("test_resnet", 64, tmp_path)
    with loader() as process:
        for name in FAMILIES:
            config = replace(base, model=replace(base.model, name=name))
            model = build(config)
            train_step(model, random_images(64, 64, count=2))
            export(publish_run(config, model), tmp_path / name)
        for name, strides in FAMILIES.items():
            maps = process.shapes(tmp_path / name)
            levels = [4, 8, 16, 32] if len(strides) == 1 else strides[-4:]
            *heights, _ = (shape[2] for shape in maps.values())
            off = [height - IMAGE[0] / level for height, level in zip(heights, levels, strict=True)]
            assert all(abs(cells) < 1 for cells in off), (name, heights)
