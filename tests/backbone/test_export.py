"""`crackdet export`, and the runs and networks that it rejects."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import Permute
from typer.testing import CliRunner

import crackdet
from crackdet.backbone.export import export
from crackdet.backbone.formats import _max_difference
from crackdet.cli.main import app
from crackdet.config.schema import UserModel
from crackdet.core.errors import UserError
from crackdet.inference.loaded_run import LoadedRun
from crackdet.store.run import Run
from tests.backbone.conftest import CUSTOM, MOBILENET, Publish

PublishNetwork = Callable[[str], Run]

LOAD_SCRIPT = """
import sys, torch, crackdet
backbone = crackdet.load_backbone(sys.argv[1]).eval()
torch.save(backbone.features(torch.load(sys.argv[2]), grid=None), sys.argv[3])
"""


def error_of(action: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        action()
    return str(caught.value)


def test_an_exported_backbone_loads_in_a_new_process_without_the_store(publish: Publish, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    run = publish(*CUSTOM)
    store, folder = tmp_path / "runs", tmp_path / "out" / "backbone"
    shutil.copytree(run.directory, store / run.id)
    arguments = ["export", run.id[:9], "--store", store, "--to", folder, "--onnx", "--torch-export"]
    result = CliRunner().invoke(app, list(map(str, arguments)))  # this process needs onnxruntime, too
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith(
        f"{run.id} in {folder}: 4 channels at stride 2, 8 channels at stride 4, 16 channels"
    )
    shutil.rmtree(store)
    assert {path.name for path in folder.iterdir()} == {
        "README.md", "backbone.json", "backbone.onnx", "backbone.pt2", "backbone.safetensors",
    }  # fmt: skip
    images = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        expected = LoadedRun(run).model("cpu").features(images)
    torch.save(images, tmp_path / "images.pt")
    command = [
        sys.executable,
        "-c",
        LOAD_SCRIPT,
        str(folder),
        str(tmp_path / "images.pt"),
        str(tmp_path / "features.pt"),
    ]
    subprocess.run(command, check=True, timeout=300, cwd=tmp_path)
    assert torch.allclose(torch.load(tmp_path / "features.pt"), expected, atol=1e-4)
    assert_exports_agree(folder)


def assert_exports_agree(folder: Path) -> None:
    """Compare the exports on a size and number of images that the export itself has not tried."""
    import onnxruntime

    images = torch.rand(4, 3, 52, 75)
    backbone = crackdet.load_backbone(folder, image_mean=[0] * 3, image_std=[1] * 3).eval()
    with torch.no_grad():
        expected = list(backbone.maps(images).values())
        program = torch.export.load(folder / "backbone.pt2").module()(images)
    session = onnxruntime.InferenceSession(folder / "backbone.onnx", providers=["CPUExecutionProvider"])
    onnx = [torch.from_numpy(output) for output in session.run(None, {"images": images.numpy()})]
    assert [output.name for output in session.get_outputs()] == ["stride2", "stride4", "stride8"]
    for original, exported, converted in zip(expected, program, onnx, strict=True):
        assert torch.allclose(original, exported, atol=1e-4) and torch.allclose(original, converted, atol=1e-4)


def test_the_description_contains_the_origin_of_the_weights(publish: Publish, tmp_path: Path) -> None:
    run = publish(*MOBILENET)
    export(run, tmp_path / "backbone", license="CC0-1.0")
    content = json.loads((tmp_path / "backbone" / "backbone.json").read_text())
    assert content["run"] == run.id and content["accuracy"] == 0.75 and content["image_size"] == 32
    assert content["architecture"] == {"name": "mobilenet_v3_small"}
    assert content["license"] == "CC0-1.0" and content["initial_weights"] is None
    text = (tmp_path / "backbone" / "README.md").read_text()
    assert run.id in text and "CC0-1.0" in text and 'load_backbone("backbone")' in text


# --- rejected runs ----------------------------------------------------------------------------------


def test_a_run_without_weights_or_result_is_rejected_and_leaves_no_folder(publish: Publish, tmp_path: Path) -> None:
    shutil.copytree(publish(*CUSTOM).directory, tmp_path / publish(*CUSTOM).id)
    run, folder = Run(tmp_path, publish(*CUSTOM).id), tmp_path / "backbone"
    run.weights_file.write_bytes(b"other")
    assert "is corrupt" in error_of(lambda: export(run, folder))
    run.weights_file.unlink()
    assert "has been removed; runtime.retrain=true trains the run again" in error_of(lambda: export(run, folder))
    run.result_file.unlink()
    assert "not finished" in error_of(lambda: export(run, folder))
    assert {path.name for path in tmp_path.iterdir()} == {run.id}


def test_a_folder_with_content_is_rejected_and_an_empty_one_is_filled(publish: Publish, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "note.txt").write_text("mine")
    (tmp_path / "empty").mkdir()
    run = publish(*CUSTOM)
    assert error_of(lambda: export(run, tmp_path / "full")).endswith("exists and is not empty; give a new folder")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["note.txt"]
    export(run, tmp_path / "empty")
    assert crackdet.load_backbone(tmp_path / "empty").out_channels == 16


def test_a_missing_package_is_named_before_anything_is_written(
    publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # as if it were not installed
    message = error_of(lambda: export(publish(*CUSTOM), tmp_path / "backbone", onnx=True))
    assert message == "--onnx: needs onnxruntime; run uv pip install -e '.[onnx]'"
    assert not (tmp_path / "backbone").exists()


# --- networks of the user ----------------------------------------------------------------------------


class Branching(nn.Module):
    """Branches on the size of its input, which torch.fx cannot trace."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3, stride=2)

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.convolution(images)
        return maps if images.shape[-1] < 500 else 2 * maps


class Residual(nn.Module):
    """Two resolutions, and a parameter outside its submodules."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, widths[0], 3, 2, 1), nn.Conv2d(widths[0], widths[1], 3, 2, 1)
        self.scale = nn.Parameter(torch.rand(widths[1], 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(images))) * self.scale


class Patches(nn.Module):
    """Only its first layer computes a map."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.mix = nn.Conv2d(3, 8, 8, 8), nn.Linear(8, 800)

    def forward(self, images: Tensor) -> Tensor:
        tokens: Tensor = self.mix(self.patches(images).flatten(2).transpose(1, 2))
        return tokens.mean(1)


class ChannelsLast(nn.Module):
    """Returns a map (N, H, W, C), as Swin does."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.order, self.mix = nn.Conv2d(3, 5, 4, 4), Permute((0, 2, 3, 1)), nn.Linear(5, 7)

    def forward(self, images: Tensor) -> Tensor:
        return self.mix(self.order(self.convolution(images)))


class UpAgain(nn.Module):
    """Increases the resolution again, as a U-Net does."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (
            nn.Conv2d(3, 4, 3, 2, 1),
            nn.Conv2d(4, 4, 3, 2, 1),
            nn.Conv2d(4, 4, 3, 2, 1),
        )
        self.up, self.last = nn.Upsample(scale_factor=2), nn.Conv2d(4, 4, 3, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        fine = self.second(self.first(images))
        return self.last(self.up(self.third(fine)) + fine)


class OnePool(nn.Module):
    """Calls one pooling module several times."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (
            nn.Conv2d(3, 4, 3, 1, 1),
            nn.Conv2d(4, 4, 3, 1, 1),
            nn.Conv2d(4, 8, 3, 1, 1),
        )
        self.pool, self.relu = nn.MaxPool2d(2), nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        maps = images
        for convolution in (self.first, self.second, self.third):
            maps = self.pool(self.relu(convolution(maps)))
        return maps.mean((2, 3))


class NamedStages(nn.Module):
    """Has a submodule named `stages`, like the method that a network may define."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 6, 3, 2, 1))

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.stages(images)
        return maps.mean((2, 3))


@pytest.fixture
def publish_user_network(publish: Publish) -> PublishNetwork:
    def published(name: str) -> Run:
        arguments = {"widths": [4, 6]} if name == "Residual" else {}
        network = UserModel(name="mine", linear_features=8, target=f"{__name__}.{name}", arguments=arguments)
        return publish("data.image_size=32", model=network)

    return published


def test_weights_of_a_user_network_are_not_loaded_into_changed_code(
    publish_user_network: PublishNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = publish_user_network("ChannelsLast")
    export(run, tmp_path / "backbone", trust=True)
    monkeypatch.setattr("crackdet.store.code_digest.code_digest", lambda _: "digest of edited code")
    for action in (
        lambda: export(run, tmp_path / "another", trust=True),
        lambda: LoadedRun(run, trust=True).model("cpu"),
        lambda: crackdet.load_backbone(tmp_path / "backbone", trust=True),
    ):
        assert "is not the code that its weights were trained with" in error_of(action)


def test_a_user_network_is_exported_and_loaded_with_trust(publish_user_network: PublishNetwork, tmp_path: Path) -> None:
    run = publish_user_network("Residual")
    assert "to execute this code, give --trust" in error_of(lambda: export(run, tmp_path / "backbone"))
    export(run, tmp_path / "backbone", trust=True)
    assert "to execute this code, give trust=True" in error_of(lambda: crackdet.load_backbone(tmp_path / "backbone"))
    backbone = crackdet.load_backbone(tmp_path / "backbone", trust=True, trainable_stages=1)
    assert [(stage.channels, stage.stride) for stage in backbone.stages] == [(4, 2), (6, 4)]
    trainable = {name for name, parameter in backbone.body.named_parameters() if parameter.requires_grad}
    assert trainable == {"second.weight", "second.bias"} | ({"scale"} & set(backbone.body.state_dict()))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("UpAgain", [("first", 4, 2), ("last", 4, 4), ("third", 4, 8)]),
        ("OnePool", [("first", 4, 1), ("second", 4, 2), ("third", 8, 4)]),
        ("NamedStages", [("stages.0", 4, 2), ("stages", 6, 4)]),
    ],
)
def test_each_map_is_the_output_of_the_module_that_its_stage_names(
    publish_user_network: PublishNetwork, tmp_path: Path, name: str, expected: list[tuple[str, int, int]]
) -> None:
    run = publish_user_network(name)
    export(run, tmp_path / "backbone", trust=True)
    backbone = crackdet.load_backbone(tmp_path / "backbone", trust=True)
    assert [(stage.name, stage.channels, stage.stride) for stage in backbone.stages] == expected
    model, images = LoadedRun(run, trust=True).model("cpu"), torch.rand(1, 3, 64, 96)
    found: dict[str, torch.Tensor] = {}
    for stage in backbone.stages:
        model.feature_extractor.get_submodule(stage.name).register_forward_hook(
            lambda _module, _inputs, output, name=stage.name: found.__setitem__(name, output)
        )
    with torch.no_grad():
        model.feature_extractor(images)
    for stage in backbone.stages:
        stage_map = backbone.maps_of_pixels(images)[stage.name]
        assert stage_map.shape == (1, stage.channels, 64 // stage.stride, 96 // stage.stride)
        assert torch.allclose(stage_map, found[stage.name], atol=1e-6)


def test_maps_with_channels_last_are_permuted(publish_user_network: PublishNetwork, tmp_path: Path) -> None:
    description = export(publish_user_network("ChannelsLast"), tmp_path / "backbone", torch_export=True, trust=True)
    backbone = crackdet.load_backbone(tmp_path / "backbone", trust=True)
    assert backbone(torch.rand(2, 3, 64, 96)).shape == (2, 7, 16, 24)
    assert [exported.any_size for exported in description.exports] == [False]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Branching", "the network cannot be traced by torch.fx (symbolically traced variables"),
        ("Patches", "of its operations compute feature maps. A detector uses only the feature maps"),
    ],
)
def test_a_user_network_that_cannot_be_a_backbone_is_rejected(
    publish_user_network: PublishNetwork, tmp_path: Path, name: str, reason: str
) -> None:
    assert reason in error_of(lambda: export(publish_user_network(name), tmp_path / "backbone", trust=True))


@pytest.mark.parametrize(
    ("exported", "message"),
    [
        (torch.zeros(1, 2, 4, 3), "a map has shape (1, 2, 4, 3) instead of (1, 2, 4, 4)"),
        (torch.zeros(1, 2, 1, 1), "a map has shape (1, 2, 1, 1) instead of (1, 2, 4, 4)"),
        (torch.full((1, 2, 4, 4), 0.5), "its maps differ from the network's by 0.5, more than 0.0001"),
        (torch.full((1, 2, 4, 4), torch.nan), "its maps differ from the network's by nan"),
    ],
)
def test_an_export_whose_maps_differ_is_rejected(exported: Tensor, message: str) -> None:
    assert f"--onnx: {message}" in error_of(
        lambda: _max_difference(lambda _: [torch.zeros(1, 2, 4, 4)], lambda _: [exported], [torch.zeros(1)], "--onnx")
    )


def test_an_export_whose_deepest_map_was_one_pixel_accepts_larger_images(publish: Publish, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    folder = tmp_path / "backbone"
    # a smaller network, without the sums of ResNet, is exported for any size in any case
    run = publish("model=torchvision", "model.name=resnet18", "model.weights=null", "data.image_size=32")
    export(run, folder, onnx=True)
    session = onnxruntime.InferenceSession(folder / "backbone.onnx", providers=["CPUExecutionProvider"])
    deepest = session.get_outputs()[-1]
    assert not any(isinstance(side, int) for side in deepest.shape[2:]), "the size is not fixed"
    *_, found = session.run(None, {"images": torch.rand(1, 3, 96, 64).numpy()})
    assert found.shape[2:] == (3, 2)
