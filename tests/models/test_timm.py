"""Networks of timm: built, with their published or local weights, their names and the sizes of their images."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from huggingface_hub import constants
from hydra.core.object_type import ObjectType
from safetensors.torch import save_file
from timm.data.config import resolve_data_config
from timm.data.transforms_factory import create_transform
from torch import Tensor

from crackdet.config import composing
from crackdet.config.timm_names import timm_names
from crackdet.core.errors import UserError
from crackdet.models.classifier import Classifier
from crackdet.models.factory import architecture, build, validate_initial_weights, validate_model
from crackdet.running.command_cache import dependencies
from hydra_plugins.crackdet_timm.config_source import TimmConfigSource
from tests.composing import compose
from tests.jobs import job_of
from tests.models.helpers import random_images

LITE0 = Path(__file__).parents[3] / "shared" / "data" / "weights" / "tf_efficientnet_lite0_fp16.safetensors"
CONVNEXT, TAG = "test_convnext", "r160_in1k"
SMALL = ("model.linear_features=8", "data.image_size=64")


def build_timm(name: str, *overrides: str) -> Classifier:
    return build(compose([f"model=timm/{name}", *SMALL, *overrides])).eval()


def error_message(action: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def features(network: torch.nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        pooled: Tensor = network.eval()(images)
    return pooled


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Weights of timm's own network, saved by timm's names."""
    torch.manual_seed(1)
    file = tmp_path / "weights.safetensors"
    save_file(timm.create_model(CONVNEXT).state_dict(), file)
    return file


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The empty cache of the Hugging Face hub; torch's is empty too, and there is no network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "torch"))
    return tmp_path / "hub"


def put_into_hub(hub: Path, weights: Path, repository: str = f"timm/{CONVNEXT}.{TAG}") -> None:
    folder = hub / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0" * 40)
    (folder / "snapshots" / ("0" * 40)).mkdir(parents=True)
    shutil.copy(weights, folder / "snapshots" / ("0" * 40) / "model.safetensors")


# --- names --------------------------------------------------------------------------------------------


def test_the_names_found_without_importing_timm_are_those_that_timm_lists() -> None:
    assert timm_names() == set(timm.list_models())


def test_a_name_may_have_the_tag_of_the_weights() -> None:
    by_tag = compose(["model=timm", "model.name=resnet50.a1_in1k"])
    assert (by_tag.model.name, by_tag.model.weights) == ("resnet50", "a1_in1k")
    assert (
        by_tag == compose(["model=timm/resnet50", "model.weights=a1_in1k"]) == compose(["model=timm/resnet50.a1_in1k"])
    )


def test_the_default_weights_are_identified_by_timms_default_tag() -> None:
    named, default = compose(["model=timm/resnet50.a1_in1k"]), compose(["model=timm/resnet50"])
    assert job_of(default).config.model.weights == "a1_in1k"
    assert job_of(default).run.id == job_of(named).run.id
    assert job_of(named).run.id != job_of(compose(["model=resnet50", "model.weights=IMAGENET1K_V2"])).run.id


def test_the_shell_completes_names_of_timm_only_after_its_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMP_LINE", "python train.py seed=1 model=timm/tf_efficientnet_l")
    assert "timm/tf_efficientnet_lite0" in TimmConfigSource("crackdet", "timm://").list("model", ObjectType.CONFIG)
    monkeypatch.setenv("COMP_LINE", "python train.py model=")
    assert TimmConfigSource("crackdet", "timm://").list("model", ObjectType.CONFIG) == []
    monkeypatch.delenv("COMP_LINE")
    assert TimmConfigSource("crackdet", "timm://").list("model", ObjectType.CONFIG) == []


def test_skipping_a_run_depends_on_the_version_of_timm_or_on_the_file(weights: Path) -> None:
    version = str(Path(timm.__file__).with_name("version.py"))
    assert version in dependencies(compose(["model=timm/resnet18.a1_in1k"]))
    assert version not in dependencies(compose(["model=timm/resnet18", "model.weights=null"]))
    assert str(weights) in dependencies(compose(["model=timm/resnet18", f"model.weights={weights}"]))


def test_without_timm_a_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.delitem(sys.modules, "crackdet.models.timm", raising=False)
    config = compose(["model=timm/resnet18", "model.weights=null"])
    message = "model=timm: timm is not installed; uv pip install -e '.[timm]' installs it"
    assert error_message(lambda: validate_model(config)) == message


def test_a_run_keeps_its_id() -> None:
    config = compose(["model=timm/resnet18", "model.weights=null"])
    assert job_of(config).run.id == "resnet18-cb69e5bf8ba5"


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["model=timm/resnet50.a1_in1k", "model.weights=null"], ["names the weights a1_in1k", "model.name=resnet50"]),
        (["model=timm/resnet50.a1_in1k", "model.weights=a2_in1k"], ["model.weights=a2_in1k", "model.name=resnet50"]),
        (
            ["model=timm/resnet18", "model.name=resnet34"],
            ["contradicts model=timm/resnet18", "model=timm/resnet34"],
        ),
        (["model=timm/resnet", "model.conv_out=[8]"], ["model.conv_out: unknown key"]),
        (["model=convnextv2_atto"], ["no such option", "give model=timm/convnextv2_atto"]),
    ],
)
def test_names_that_contradict_or_miss_the_library_are_refused(overrides: list[str], parts: list[str]) -> None:
    message = error_message(lambda: composing.compose(overrides))
    assert all(part in message for part in parts), message


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["model=timm/resnet5"], ["model.name=resnet5: timm has no such network; did you mean resnet50?"]),
        (["model=timm/tv_resnet34"], ["model.name=tv_resnet34: this network is resnet34.tv_in1k now"]),
        (["model=timm/resnet18", "model.weights=IMAGENET1K_V1"], ["must be one of a1_in1k, ", "for resnet18"]),
        (["model=timm/test_byobnet.none"], ["model.weights=none: must be one of r160_in1k for test_byobnet"]),
        (["model=timm/hgnetv2_b6", "model.weights=x"], ["model.weights=x"]),
        (["model=torchvision", "model.name=convnextv2_atto"], ["timm has: give model=timm/convnextv2_atto"]),
    ],
)
def test_unknown_names_are_refused_with_what_is_right(overrides: list[str], parts: list[str]) -> None:
    message = error_message(lambda: validate_model(compose([*overrides, "data.image_size=224"])))
    assert all(part in message for part in parts), message


# --- sizes --------------------------------------------------------------------------------------------


def test_a_network_of_one_size_names_it() -> None:
    config = compose(["model=timm/mixer_s32_224", "model.weights=null", "data.image_size=64"])
    message = error_message(lambda: validate_model(config))
    assert message == "data.image_size=64: mixer_s32_224 does not accept images of this size; it accepts 224"


@pytest.mark.parametrize("name", ["test_vit", "swin_tiny_patch4_window7_224"])
def test_transformers_accept_other_sizes_if_they_can(name: str) -> None:
    overrides = [f"model=timm/{name}", "model.weights=null", "data.image_size=96"]
    assert validate_model(compose(overrides)) == timm.create_model(name, num_classes=0).num_features


# --- weights ------------------------------------------------------------------------------------------


def test_a_file_gives_the_features_of_timms_own_network(weights: Path) -> None:
    model, images = build_timm(CONVNEXT, f"model.weights={weights}"), random_images()
    reference: Any = timm.create_model(CONVNEXT, checkpoint_path=weights)
    reference.reset_classifier(0)
    published = resolve_data_config(model=reference)
    normalize = create_transform(**published).transforms[-1]
    torch.testing.assert_close(model.features(images), features(reference, normalize(images)))


def test_the_real_weights_of_efficientnet_lite0_give_timms_logits_and_features() -> None:
    if not LITE0.exists():
        pytest.skip(f"{LITE0} is absent")
    model, images = build_timm("tf_efficientnet_lite0", f"model.weights={LITE0}"), random_images()
    reference: Any = timm.create_model("tf_efficientnet_lite0", checkpoint_path=LITE0)
    logits = features(reference, images * 2 - 1)
    reference.reset_classifier(0)
    pooled = model.features(images)
    assert torch.equal(pooled, features(reference, images * 2 - 1))
    whole: Any = timm.create_model("tf_efficientnet_lite0", checkpoint_path=LITE0)
    assert torch.equal(whole.get_classifier()(pooled), logits)


def test_the_names_of_the_original_files_are_converted_as_timm_does(weights: Path, tmp_path: Path) -> None:
    state = timm.create_model(CONVNEXT, checkpoint_path=weights).state_dict()
    original = {}
    for name, tensor in state.items():
        name = name.replace("stem.", "downsample_layers.0.").replace("head.norm", "norm").replace("head.fc", "head")
        for stage in range(4):
            name = name.replace(f"stages.{stage}.blocks", f"stages.{stage}")
            name = name.replace(f"stages.{stage}.downsample", f"downsample_layers.{stage}")
        original[name.replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv")] = tensor
    assert original.keys() != state.keys()
    save_file(original, tmp_path / "original.safetensors")
    overlay = {"file": str(tmp_path / "original.safetensors")}
    reference: Any = timm.create_model(CONVNEXT, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=0)
    model, images = build_timm(CONVNEXT, f"model.weights={overlay['file']}"), random_images()
    assert torch.equal(model.features(images), features(reference, (images - model.input_mean) / model.input_std))


def test_the_weights_of_another_network_are_refused(weights: Path) -> None:
    message = error_message(lambda: build_timm("test_convnext2", f"model.weights={weights}"))
    assert "do not fit the network" in message


def test_published_weights_are_found_in_the_cache_of_the_hub(hub: Path, weights: Path) -> None:
    put_into_hub(hub, weights)
    found, expected = build_timm(CONVNEXT), build_timm(CONVNEXT, f"model.weights={weights}")
    images = random_images()
    assert torch.equal(found.features(images), expected.features(images))
    assert torch.equal(found.input_std.flatten(), torch.tensor([0.5, 0.5, 0.5]))


def test_published_weights_are_found_in_torchs_cache(hub: Path) -> None:
    torch.manual_seed(1)
    network = timm.create_model("legacy_seresnet18")
    published = architecture(compose(["model=timm/legacy_seresnet18"]).model)
    file = Path(torch.hub.get_dir()) / "checkpoints" / "seresnet18-4bb0ce65.pth"
    file.parent.mkdir(parents=True)
    torch.save(network.state_dict(), file)
    assert published.published_weights("in1k")[0] == file


def test_weights_that_cannot_be_downloaded_say_where_they_are_looked_for(hub: Path) -> None:
    config = job_of(compose([f"model=timm/{CONVNEXT}", *SMALL])).config
    message = error_message(lambda: validate_initial_weights(config))
    for part in (
        f"model.weights={TAG}: model.safetensors of timm/{CONVNEXT}.{TAG} cannot be downloaded",
        f"hf download timm/{CONVNEXT}.{TAG}", str(hub / f"models--timm--{CONVNEXT}.{TAG}"), "model.weights=FILE",
        "model.weights=null",
    ):  # fmt: skip
        assert part in message


def test_the_licence_is_that_of_the_tag() -> None:
    family = architecture(compose(["model=timm/convnextv2_atto"]).model)
    assert family.license("fcmae").startswith("cc-by-nc-4.0 (convnextv2_atto.fcmae of timm")
    assert family.license("sha256:0").startswith("unknown")


def test_a_local_file_has_the_normalisation_that_all_published_weights_share(tmp_path: Path) -> None:
    def mean(name: str) -> list[float] | None:
        return architecture(compose([f"model=timm/{name}"]).model).normalization_of(tmp_path).mean

    assert mean("tf_efficientnet_lite0") == [0.5] * 3
    assert mean("resnet50") == [0.485, 0.456, 0.406]
    assert mean("vit_base_patch16_224") is None  # its weights were trained with different ones
