"""An exported and loaded backbone computes what the run's feature extractor computes."""

import contextlib
import copy
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead

import crackdet
from crackdet.backbone.description import FORMAT, Description
from crackdet.backbone.network import Backbone
from crackdet.core.errors import UserError
from crackdet.inference.loaded_run import LoadedRun
from crackdet.models.stage import Stage
from crackdet.store.run import Run
from tests.backbone.conftest import CUSTOM, MOBILENET, RESNEXT

Exported = Callable[..., tuple[Run, Path]]
FAMILIES = pytest.mark.parametrize("network", [CUSTOM, RESNEXT, MOBILENET], ids=["custom", "resnext", "mobilenet"])


def random_images(height: int = 96, width: int = 64) -> Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))


def maps_of_the_run(run: Run, images: Tensor) -> list[Tensor]:
    """Outputs of the run's stages for images in [0, 1], normalized with the run's own mean and deviation."""
    model = LoadedRun(run).model("cpu")
    found: dict[Stage, Tensor] = {}
    for stage in model.stages():
        module = model.feature_extractor.get_submodule(stage.name)
        module.register_forward_hook(lambda _m, _i, output, stage=stage: found.__setitem__(stage, output))
    with torch.no_grad():
        model.feature_extractor((images - model.input_mean) / model.input_std)
    return [m if m.shape[1] == stage.channels else m.permute(0, 3, 1, 2) for stage, m in found.items()]


def assert_close(actual: list[Tensor], expected: list[Tensor]) -> None:
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected, strict=True):
        assert one.shape == other.shape
        assert torch.allclose(one, other, atol=1e-4 * max(1.0, float(other.abs().max())))


def small_detector(backbone: Backbone, **options: object) -> FasterRCNN:
    """A detector whose head is small even on the 2048 channels of a ResNeXt."""
    return FasterRCNN(
        backbone,
        min_size=64,
        max_size=96,
        rpn_pre_nms_top_n_train=50,
        rpn_post_nms_top_n_train=20,
        rpn_pre_nms_top_n_test=50,
        rpn_post_nms_top_n_test=20,
        box_batch_size_per_image=16,
        box_head=TwoMLPHead(backbone.out_channels * 49, 8),
        box_predictor=FastRCNNPredictor(8, num_classes=2),
        **options,
    )


def targets() -> list[dict[str, Tensor]]:
    return [{"boxes": torch.tensor([[4.0, 8, 40, 60]]), "labels": torch.tensor([1])} for _ in range(2)]


@FAMILIES
def test_maps_equal_those_of_the_run_on_images_of_another_size(exported: Exported, network: tuple[str, ...]) -> None:
    run, folder = exported(*network)
    expected = maps_of_the_run(run, random_images())
    for freeze in (True, False):
        backbone = crackdet.load_backbone(folder, freeze_batchnorm=freeze, image_mean=[0] * 3, image_std=[1] * 3).eval()
        with torch.no_grad():
            assert_close(list(backbone.maps(random_images()).values()), expected)


def test_the_backbone_of_a_run_is_loaded_by_its_name(exported: Exported, tmp_path: Path) -> None:
    run, folder = exported(*CUSTOM)
    expected = crackdet.load_backbone(folder)
    for backbone in (crackdet.load_backbone(run.id, store=run.root), crackdet.load_backbone(run.directory)):
        assert backbone.description.run == run.id
        assert all(torch.equal(a, b) for a, b in zip(backbone.parameters(), expected.parameters(), strict=True))
    with pytest.raises(UserError, match=r"nothing: is neither a folder that crackdet export .* nor a run"):
        crackdet.load_backbone("nothing", store=run.root)
    with pytest.raises(UserError, match=r"contains no backbone\.json"):
        crackdet.load_backbone(tmp_path)


@pytest.mark.parametrize(
    "normalization", [{}, {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.6, 0.7]}], ids=["default", "own"]
)
def test_a_detector_normalizes_images_exactly_once(exported: Exported, normalization: dict[str, list[float]]) -> None:
    run, folder = exported(*CUSTOM)
    backbone = crackdet.load_backbone(folder, **normalization).eval()  # type: ignore[arg-type]
    detector = small_detector(backbone, rpn_anchor_generator=backbone.anchors(), **normalization).eval()
    with torch.no_grad():
        batch, _ = detector.transform(list(random_images(64, 96)))  # of the detector's size: not resized
        assert_close([backbone(batch.tensors)], maps_of_the_run(run, random_images(64, 96))[-1:])


@pytest.mark.parametrize("network", [CUSTOM, MOBILENET], ids=["custom", "mobilenet"])
@pytest.mark.parametrize("pyramid", [False, True], ids=["map", "pyramid"])
def test_a_detector_trains_only_the_trainable_stages(
    exported: Exported, network: tuple[str, ...], pyramid: bool
) -> None:
    backbone = crackdet.load_backbone(exported(*network)[1], pyramid=pyramid, trainable_stages=1)
    detector = small_detector(backbone, rpn_anchor_generator=backbone.anchors(16)).train()
    before = copy.deepcopy(backbone.state_dict())
    optimizer = torch.optim.SGD([p for p in detector.parameters() if p.requires_grad], lr=1e-3)
    sum(detector(list(random_images()), targets()).values()).backward()
    optimizer.step()
    changed = {name for name, tensor in backbone.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {name for name, p in backbone.body.named_parameters() if f"body.{name}" in changed} == {
        name for name, p in backbone.body.named_parameters() if p.requires_grad
    }
    assert 0 < sum(p.requires_grad for p in backbone.body.parameters()) < len(list(backbone.body.parameters()))
    assert not any("running" in name or ".bn" in name for name in changed)
    found = detector.eval()(list(random_images()))
    assert all(torch.isfinite(image["boxes"]).all() for image in found)


def test_torchvisions_default_anchors_fit_a_pyramid_of_four_stages(exported: Exported) -> None:
    backbone = crackdet.load_backbone(exported(*RESNEXT)[1], pyramid=True)
    detector = small_detector(backbone)
    assert detector.rpn.anchor_generator.sizes == backbone.anchors().sizes
    assert set(detector.train()(list(random_images()), targets())) >= {"loss_classifier", "loss_objectness"}


def test_trainable_stages_are_counted_from_the_last(exported: Exported) -> None:
    for trainable, layers in ((0, set()), (1, {"6"}), (2, {"3", "6"}), (3, {"0", "3", "6"})):
        backbone = crackdet.load_backbone(exported(*CUSTOM)[1], trainable_stages=trainable)
        assert {name.split(".")[0] for name, p in backbone.body.named_parameters() if p.requires_grad} == layers


def test_maps_have_the_declared_channels_and_stride(exported: Exported) -> None:
    backbone = crackdet.load_backbone(exported(*MOBILENET)[1])
    assert backbone.out_channels == backbone.stages[-1].channels == backbone(random_images()).shape[1]
    for stage, found in zip(backbone.stages, backbone.maps(random_images()).values(), strict=True):
        assert found.shape == (2, stage.channels, 96 // stage.stride, 64 // stage.stride)


# --- regions, as in the first R-CNN -------------------------------------------------------------


def test_features_of_unresized_regions_equal_those_of_the_classifier(exported: Exported) -> None:
    run, folder = exported(*CUSTOM)
    with torch.no_grad():
        expected = LoadedRun(run).model("cpu").features(random_images(32, 32))
    found = crackdet.load_backbone(folder).features(random_images(32, 32), grid=None)
    assert torch.allclose(found, expected, atol=1e-4)


def test_features_of_regions_do_not_depend_on_the_batch_size(exported: Exported) -> None:
    backbone = crackdet.load_backbone(exported(*CUSTOM)[1]).train()
    regions = [(random_images(side, 90 - side)[0] * 255).to(torch.uint8) for side in (1, 7, 33, 64, 89)]
    vectors = backbone.features(regions, batch_size=2)
    assert vectors.shape == (5, backbone.out_channels)
    assert torch.allclose(vectors, backbone.features(regions), atol=1e-5)
    assert torch.allclose(vectors, backbone.features([region / 255 for region in regions]), atol=0.02)
    assert backbone.features(regions, grid=2).shape == (5, 4 * backbone.out_channels)
    assert backbone.features([]).shape == (0, backbone.out_channels)
    assert backbone.training and backbone.body.training


@pytest.mark.parametrize(
    ("region", "reason"),
    [
        (torch.zeros(3, 0, 4), "region 1: has shape (3, 0, 4); must be (3, height, width)"),
        (torch.zeros(1, 8, 8), "region 1: has shape (1, 8, 8); must be (3, height, width)"),
        (
            torch.zeros(3, 8, 8, dtype=torch.int64),
            "region 1: is torch.int64; must be uint8, or floating point in [0, 1]",
        ),
    ],
)
def test_an_invalid_region_is_rejected(exported: Exported, region: Tensor, reason: str) -> None:
    with pytest.raises(UserError) as caught:
        crackdet.load_backbone(exported(*CUSTOM)[1]).features([torch.zeros(3, 4, 4), region])
    assert str(caught.value) == reason


# --- invalid input ----------------------------------------------------------------------------------


def test_images_below_the_smallest_size_are_rejected(exported: Exported) -> None:
    backbone = crackdet.load_backbone(exported(*CUSTOM)[1])
    assert backbone(torch.zeros(1, 3, 8, 8)).shape[-2:] == (1, 1)
    with pytest.raises(UserError, match=r"images of 8 x 7 pixels are too small for custom-\w+, which needs 8 x 8"):
        backbone(torch.zeros(1, 3, 8, 7))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_changed_description_is_rejected_or_keeps_its_types(exported_once: Path, data: st.DataObject) -> None:
    content = json.loads((exported_once / "backbone.json").read_text())
    key = data.draw(st.sampled_from(sorted(content)))
    value = data.draw(st.none() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=3))
    with tempfile.TemporaryDirectory() as name:
        Path(name, "backbone.json").write_text(json.dumps({**content, key: value}))
        with contextlib.suppress(UserError):
            assert type(getattr(Description.read(Path(name)), key)) in (type(content[key]), type(value))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"image_size": "64"}, "is corrupt (image_size is '64')"),
        ({"stages": [{"name": "2", "channels": 4}]}, "is corrupt (missing 1 required positional argument: 'stride')"),
        ({"surprise": 1}, "is corrupt (surprise is unknown)"),
        ({"stages": [2]}, "is corrupt (stages.0 is 2)"),
        ({"mean": 0.5}, "is corrupt (mean is 0.5)"),
        ({"format": FORMAT + 1}, f"has format {FORMAT + 1}, but this crackdet reads {FORMAT}"),
        ({"format": FORMAT - 1}, f"has format {FORMAT - 1}, but this crackdet reads {FORMAT}"),
        ({"architecture": {"name": "custom", "conv_out": [0]}}, "model.conv_out"),
        ({"architecture": {"name": "custom", "conv_out": [4, 8, 17]}}, "the weights do not fit the network"),
        ({"architecture": {"name": "nothing_known"}}, "torchvision has no such classification network"),
        (
            {"architecture": {"name": "mine", "_target_": "os.getcwd"}},
            "its network is os.getcwd, which is not part of crackdet",
        ),
        ({"weights_sha256": "0"}, "does not match backbone.json"),
        (
            {"stages": [{"name": "weird", "channels": 4, "stride": 2}]},
            "cannot be traced by torch.fx",
        ),
    ],
)
def test_an_inconsistent_folder_is_rejected(
    exported: Exported, tmp_path: Path, change: dict[str, object], reason: str
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(exported(*CUSTOM)[1], folder)
    content = json.loads((folder / "backbone.json").read_text())
    (folder / "backbone.json").write_text(json.dumps({**content, **change}))
    with pytest.raises(UserError) as caught:
        crackdet.load_backbone(folder)
    assert reason in str(caught.value)


def test_a_folder_without_an_export_or_with_corrupt_weights_is_rejected(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"contains no backbone.json; crackdet export RUN --to FOLDER writes it"):
        crackdet.load_backbone(tmp_path)
    folder = tmp_path / "copy"
    shutil.copytree(exported(*CUSTOM)[1], folder)
    (folder / "backbone.safetensors").write_bytes((folder / "backbone.safetensors").read_bytes()[:100])
    with pytest.raises(UserError, match=r"backbone.safetensors: cannot be read as weights"):
        crackdet.load_backbone(folder)
    (folder / "backbone.json").write_text("{")
    with pytest.raises(UserError, match=r"backbone.json: is corrupt \(missing .*; export the run again"):
        crackdet.load_backbone(folder)


@pytest.mark.parametrize(
    ("normalization", "message"),
    [
        ({"image_std": [0, 0, 0]}, "image_std=[0, 0, 0]: must be three numbers"),
        ({"image_mean": [0.5]}, "image_mean=[0.5]: must be three numbers"),
        ({"image_mean": [123.7, 116.3, 103.5]}, "for red, green and blue in [0, 1]"),
    ],
)
def test_an_invalid_normalization_is_rejected(exported: Exported, normalization: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        crackdet.load_backbone(exported(*CUSTOM)[1], **normalization)
    assert message in str(caught.value)


def test_more_trainable_stages_than_exist_are_rejected(exported: Exported) -> None:
    with pytest.raises(UserError, match="trainable_stages=4: must be from 0 to 3, the number of stages"):
        crackdet.load_backbone(exported(*CUSTOM)[1], trainable_stages=4)


@pytest.fixture(scope="module")
def exported_once(exported: Exported) -> Path:
    return exported(*CUSTOM)[1]
