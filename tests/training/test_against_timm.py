"""Recipes compared with timm's own: rates by depth, mixing, RandAugment, averaged weights and optimizers."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import auto_augment
from timm.data.mixup import Mixup
from timm.loss import SoftTargetCrossEntropy
from timm.optim import create_optimizer_v2, list_optimizers, param_groups_layer_decay
from timm.utils import ModelEmaV3
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from crackdet.config.optimization import AdamW, TimmOptimizer
from crackdet.core.errors import UserError
from crackdet.data.augment_operations import GREY, OPERATIONS
from crackdet.data.mixing import mix_images, mix_labels, smooth_labels
from crackdet.training.averaging import WeightAverage
from crackdet.training.optimizers import build_optimizer, optimizer_slots
from crackdet.training.param_groups import param_groups


class Network(nn.Module):
    """A feature extractor of timm and a head, as in a classifier of crackdet."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.feature_extractor = timm.create_model(name, num_classes=0)
        self.classifier = nn.Linear(self.feature_extractor.num_features, 1)


@pytest.mark.parametrize("name", ["test_vit", "test_resnet", "test_convnext", "test_efficientnet", "test_mambaout"])
def test_layer_decay_and_weight_decay_are_those_of_timm(name: str) -> None:
    ours = Network(name)
    settings = AdamW(weight_decay=0.05, layer_decay=0.7, decay_norm_and_bias=False)
    names = {parameter: name for name, parameter in ours.named_parameters()}
    groups = param_groups(settings, ours)
    found = {
        names[parameter].removeprefix("feature_extractor."): (group["lr_scale"], group["weight_decay"])
        for group in groups
        for parameter in group["params"]
        if names[parameter].startswith("feature_extractor.")
    }
    whole = timm.create_model(name)
    whole_names = {parameter: name for name, parameter in whole.named_parameters()}
    excluded = whole.no_weight_decay() if hasattr(whole, "no_weight_decay") else ()
    expected = {
        whole_names[parameter]: (group["lr_scale"], group["weight_decay"])
        for group in param_groups_layer_decay(whole, 0.05, excluded, layer_decay=0.7)
        for parameter in group["params"]
    }
    common = found.keys() & expected.keys()
    assert len(common) == len(list(ours.feature_extractor.parameters()))
    for name in common:
        assert found[name] == pytest.approx(expected[name]), name
    assert groups[0]["lr_scale"] == 1.0 and groups[0]["params"][0] is ours.classifier.weight


def test_the_rate_of_the_backbone_is_that_of_its_uppermost_layer() -> None:
    ours = Network("test_vit")
    settings = AdamW(learning_rate=1e-3, backbone_learning_rate=1e-4, layer_decay=0.5)
    scales = sorted({group["lr_scale"] for group in param_groups(settings, ours)}, reverse=True)
    assert scales == pytest.approx([1.0, *(0.1 * 0.5**above for above in range(7))])  # six blocks and the stem


def test_mixup_and_soft_labels_are_those_of_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = torch.rand(6, 3, 8, 8), torch.tensor([0.0, 1, 1, 0, 0, 1])
    reference = Mixup(mixup_alpha=1.0, num_classes=2, label_smoothing=0.1)
    monkeypatch.setattr(reference, "_params_per_batch", lambda: (0.3, False))
    mixed, targets = reference(images.clone(), labels.long())
    params = torch.tensor([0.3, 0.3, 0, 0, 0, 0])
    torch.testing.assert_close(mix_images(images, params), mixed)
    soft = smooth_labels(mix_labels(labels, None, params)[0], 0.1)
    torch.testing.assert_close(soft, targets[:, 1])
    logits = torch.randn(6)
    loss = SoftTargetCrossEntropy()(torch.stack([torch.zeros(6), logits], 1), targets)
    torch.testing.assert_close(binary_cross_entropy_with_logits(logits, soft), loss)


LEVELS = {  # timm's function of each level; the operations without one have no magnitude
    name: auto_augment.LEVEL_TO_ARG[name] for name in auto_augment._RAND_TRANSFORMS
}
ENHANCED = ("AutoContrast", "Color", "Contrast", "Brightness", "Sharpness")  # rounded in another way
INTERPOLATED = ("Rotate", "ShearX", "ShearY", "TranslateXRel", "TranslateYRel")


@pytest.mark.parametrize("number", range(len(OPERATIONS)))
@pytest.mark.parametrize("level", [0.26, 0.43, 1.0])
@pytest.mark.parametrize("sign", [-1, 1])
def test_an_operation_of_rand_augment_is_that_of_timm(
    number: int, level: float, sign: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = auto_augment._RAND_TRANSFORMS[number]
    rows, columns = np.mgrid[:40, :48]
    pixels = np.stack([3 * rows + columns, 5 * columns, 200 - 2 * rows], 2).clip(0, 255).astype(np.uint8)
    monkeypatch.setattr(auto_augment, "_randomly_negate", lambda value: sign * value)
    arguments = LEVELS[name](10 * level, {}) if LEVELS[name] else ()
    fill: dict[str, Any] = {"fillcolor": (int(GREY[0]),) * 3, "resample": Image.Resampling.BILINEAR}
    expected = np.asarray(auto_augment.NAME_TO_OP[name](Image.fromarray(pixels), *arguments, **fill))
    # translation is in the other direction, and its sign is random
    direction = -sign if name.startswith("Translate") else sign
    found = OPERATIONS[number](torch.from_numpy(pixels).permute(2, 0, 1), level, direction)
    difference = np.abs(found.permute(1, 2, 0).numpy().astype(int) - expected)
    if name in INTERPOLATED:  # at the border, torchvision mixes the last pixel with the fill
        assert np.quantile(difference, 0.85) <= 8
    else:
        assert difference.max() <= (2 if name in ENHANCED else 0)


def test_the_average_of_weights_is_that_of_timm() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    average, reference = WeightAverage(model, 0.9), ModelEmaV3(model, 0.9)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        model(torch.rand(2, 3, 6, 6)).square().sum().backward()
        optimizer.step()
        average.update()
        reference.update(model)
    torch.testing.assert_close(average.model.state_dict(), reference.module.state_dict())
    assert average.model.state_dict()["1.num_batches_tracked"] == 4
    assert not torch.equal(average.model.state_dict()["0.weight"], model.state_dict()["0.weight"])


@pytest.mark.parametrize(("name", "arguments"), [("lion", {"betas": [0.8, 0.95]}), ("muon", {}), ("nadamw", {})])
def test_an_optimizer_of_timm_computes_as_timm_creates_it(name: str, arguments: dict[str, Any]) -> None:
    ours, theirs = nn.Linear(4, 3), nn.Linear(4, 3)
    theirs.load_state_dict(ours.state_dict())
    settings = TimmOptimizer(name=name, learning_rate=0.01, weight_decay=0.1, arguments=arguments)
    first = build_optimizer(settings, ours)
    second = create_optimizer_v2(list(theirs.parameters()), name, 0.01, 0.1, **copy.deepcopy(arguments))
    for _ in range(3):
        for model, optimizer in ((ours, first), (theirs, second)):
            optimizer.zero_grad()
            model(torch.ones(2, 4)).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (TimmOptimizer(name="lionn"), r"optimizer.name=lionn: timm has no such optimizer; did you mean lion\?"),
        (TimmOptimizer(name="adahessian"), "optimizer.name=adahessian: needs second derivatives"),
        (TimmOptimizer(name="kron"), "optimizer.name=kron: is compiled"),
        (TimmOptimizer(name="lookahead_adam"), "optimizer.name=lookahead_adam: timm has no such optimizer"),
        (TimmOptimizer(arguments={"gamma": 3}), r"optimizer.arguments=\{'gamma': 3\}: cannot be used \(.*gamma"),
        (TimmOptimizer(name="bnbadam"), r"optimizer.name=bnbadam: cannot be used \("),
    ],
)
def test_an_optimizer_that_cannot_train_is_refused(settings: TimmOptimizer, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_optimizer(settings, nn.Linear(2, 2))


def test_an_optimizer_that_does_not_go_on_from_its_state_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    create: Callable[..., Any] = create_optimizer_v2

    def forgetful(*arguments: Any, **options: Any) -> Any:
        optimizer = create(*arguments, **options)
        monkeypatch.setattr(type(optimizer), "load_state_dict", lambda *_: None)
        return optimizer

    monkeypatch.setattr("timm.optim.create_optimizer_v2", forgetful)
    with pytest.raises(UserError, match=r"optimizer.name=lion: does not go on exactly"):
        build_optimizer(TimmOptimizer(), nn.Linear(2, 2))


def test_most_optimizers_of_timm_can_be_used_and_their_memory_is_known() -> None:
    refused, slots = set(), {}
    for name in list_optimizers():
        try:
            slots[name] = optimizer_slots(TimmOptimizer(name=name))
        except UserError:
            refused.add(name)
    assert all(name.startswith(("bnb", "fused", "kron", "adahessian")) for name in refused)
    assert (slots["lion"], slots["adamw"], slots["adan"]) == (1, 2, 4) and slots["adafactor"] < 0.1
