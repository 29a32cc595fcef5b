"""`crackdet export` as a user starts it, and what it refuses."""

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

import crackdet
from crackdet.backbone.export import export
from crackdet.config.schema import UserModel
from crackdet.core.errors import UserError
from crackdet.inference.loaded_run import LoadedRun
from crackdet.store.run import Run
from tests.backbone.conftest import CUSTOM, MOBILENET, Publish

FRESH = """
import sys, torch, crackdet
backbone = crackdet.load_backbone(sys.argv[1]).eval()
torch.save(backbone.features(torch.load(sys.argv[2]), grid=None), sys.argv[3])
"""


def run_crackdet(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    line = [sys.executable, "-m", "crackdet", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, timeout=300)


def refusal(action: Callable[[], object]) -> str:
    with pytest.raises(UserError) as refused:
        action()
    return str(refused.value)


def test_a_backbone_leaves_the_store_and_works_in_a_fresh_process_without_it(publish: Publish, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    run = publish(*CUSTOM)
    store, folder = tmp_path / "runs", tmp_path / "out" / "backbone"
    shutil.copytree(run.directory, store / run.id)
    done = run_crackdet("export", run.id[:9], "--store", store, "--to", folder, "--onnx", "--torch-export")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{run.id} in {folder}: 4 channels at stride 2, 8 channels at stride 4, 16 channels")
    shutil.rmtree(store)
    assert {path.name for path in folder.iterdir()} == {
        "README.md", "backbone.json", "backbone.onnx", "backbone.pt2", "backbone.safetensors",
    }  # fmt: skip
    images = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        expected = LoadedRun(run).model("cpu").features(images)
    torch.save(images, tmp_path / "images.pt")
    line = [sys.executable, "-c", FRESH, str(folder), str(tmp_path / "images.pt"), str(tmp_path / "features.pt")]
    subprocess.run(line, check=True, timeout=300, cwd=tmp_path)
    assert torch.allclose(torch.load(tmp_path / "features.pt"), expected, atol=1e-4)
    assert_copies_agree(folder)


def assert_copies_agree(folder: Path) -> None:
    """For images of a size and number that the export has not tried."""
    import onnxruntime

    images = torch.rand(4, 3, 52, 75)
    backbone = crackdet.load_backbone(folder, image_mean=[0] * 3, image_std=[1] * 3).eval()
    with torch.no_grad():
        expected = list(backbone.maps(images).values())
        program = torch.export.load(folder / "backbone.pt2").module()(images)
    session = onnxruntime.InferenceSession(folder / "backbone.onnx", providers=["CPUExecutionProvider"])
    onnx = [torch.from_numpy(found) for found in session.run(None, {"images": images.numpy()})]
    assert [output.name for output in session.get_outputs()] == ["stride2", "stride4", "stride8"]
    for one, other, third in zip(expected, program, onnx, strict=True):
        assert torch.allclose(one, other, atol=1e-4) and torch.allclose(one, third, atol=1e-4)


def test_the_description_says_where_the_weights_come_from(publish: Publish, tmp_path: Path) -> None:
    run = publish(*MOBILENET)
    export(run, tmp_path / "backbone", license="CC0-1.0")
    content = json.loads((tmp_path / "backbone" / "backbone.json").read_text())
    assert content["run"] == run.id and content["accuracy"] == 0.75 and content["image_size"] == 32
    assert content["architecture"] == {"name": "mobilenet_v3_small"}
    assert content["licence"] == "CC0-1.0" and content["initial_weights"] is None
    text = (tmp_path / "backbone" / "README.md").read_text()
    assert run.id in text and "CC0-1.0" in text and 'load_backbone("backbone")' in text


# --- what is refused ----------------------------------------------------------------------------------


def test_a_run_without_weights_or_result_is_refused_and_leaves_no_folder(publish: Publish, tmp_path: Path) -> None:
    shutil.copytree(publish(*CUSTOM).directory, tmp_path / publish(*CUSTOM).id)
    run, folder = Run(tmp_path, publish(*CUSTOM).id), tmp_path / "backbone"
    run.weights_file.write_bytes(b"other")
    assert "is damaged" in refusal(lambda: export(run, folder))
    run.weights_file.unlink()
    assert "has been removed; runtime.retrain=true trains the run again" in refusal(lambda: export(run, folder))
    run.result_file.unlink()
    assert "not finished" in refusal(lambda: export(run, folder))
    assert {path.name for path in tmp_path.iterdir()} == {run.id}


def test_a_folder_with_something_in_it_is_refused_and_an_empty_one_is_filled(publish: Publish, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "note.txt").write_text("mine")
    (tmp_path / "empty").mkdir()
    run = publish(*CUSTOM)
    assert refusal(lambda: export(run, tmp_path / "full")).endswith("exists and is not empty; name a new folder")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["note.txt"]
    export(run, tmp_path / "empty")
    assert crackdet.load_backbone(tmp_path / "empty").out_channels == 16


def test_a_missing_package_is_named_before_anything_is_written(
    publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # as if it were not installed
    message = refusal(lambda: export(publish(*CUSTOM), tmp_path / "backbone", onnx=True))
    assert message == "--onnx: needs onnxruntime; uv pip install -e '.[onnx]'"
    assert not (tmp_path / "backbone").exists()


def test_a_network_for_images_of_one_size_is_refused(publish: Publish, tmp_path: Path) -> None:
    run = publish("model=torchvision", "model.name=vit_b_32", "model.weights=null", "data.image_size=224")
    message = refusal(lambda: export(run, tmp_path / "backbone"))
    assert message.startswith("vit_b_32: takes square images of one size only")


# --- networks of one's own ----------------------------------------------------------------------------


class Branching(nn.Module):
    """Decides by the size of its input, which torch.fx cannot follow."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3, stride=2)

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.convolution(images)
        return maps if images.shape[-1] < 500 else 2 * maps


class Residual(nn.Module):
    """Two resolutions, and parameters of its own beside those of its modules."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, widths[0], 3, 2, 1), nn.Conv2d(widths[0], widths[1], 3, 2, 1)
        self.scale = nn.Parameter(torch.rand(widths[1], 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(images))) * self.scale


class Patches(nn.Module):
    """Its only map is made by the first of its layers."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.mix = nn.Conv2d(3, 8, 8, 8), nn.Linear(8, 800)

    def forward(self, images: Tensor) -> Tensor:
        tokens: Tensor = self.mix(self.patches(images).flatten(2).transpose(1, 2))
        return tokens.mean(1)


class ChannelsLast(nn.Module):
    """Its map is (N, H, W, C), as Swin's are."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.order, self.mix = nn.Conv2d(3, 5, 4, 4), Permute((0, 2, 3, 1)), nn.Linear(5, 7)

    def forward(self, images: Tensor) -> Tensor:
        return self.mix(self.order(self.convolution(images)))


class UpAgain(nn.Module):
    """Goes back up in resolution, as a U-Net does."""

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
    """Calls one of its modules several times."""

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
    """Calls a part of itself as crackdet calls what a network may say of its resolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 6, 3, 2, 1))

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.stages(images)
        return maps.mean((2, 3))


@pytest.fixture
def own(tmp_path: Path, publish: Publish) -> Callable[[str], Run]:
    def published(name: str) -> Run:
        arguments = {"widths": [4, 6]} if name == "Residual" else {}
        network = UserModel(name="mine", linear_features=8, target=f"{__name__}.{name}", arguments=arguments)
        return publish("data.image_size=32", model=network)

    return published


def test_the_weights_of_ones_own_network_are_not_given_to_other_code(
    own: Callable[[str], Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = own("ChannelsLast")
    export(run, tmp_path / "backbone", trust=True)
    monkeypatch.setattr("crackdet.store.code_digest.code_digest", lambda _: "that of edited code")
    for action in (
        lambda: export(run, tmp_path / "another", trust=True),
        lambda: LoadedRun(run, trust=True).model("cpu"),
        lambda: crackdet.load_backbone(tmp_path / "backbone", trust=True),
    ):
        assert "is not the code that its weights were trained with" in refusal(action)


def test_ones_own_network_is_exported_and_loaded_by_who_trusts_it(own: Callable[[str], Run], tmp_path: Path) -> None:
    run = own("Residual")
    assert "say --trust where you know it" in refusal(lambda: export(run, tmp_path / "backbone"))
    export(run, tmp_path / "backbone", trust=True)
    assert "say trust=True where you know it" in refusal(lambda: crackdet.load_backbone(tmp_path / "backbone"))
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
def test_each_map_is_that_of_the_module_that_it_is_called_by(
    own: Callable[[str], Run], tmp_path: Path, name: str, expected: list[tuple[str, int, int]]
) -> None:
    run = own(name)
    export(run, tmp_path / "backbone", trust=True)
    backbone = crackdet.load_backbone(tmp_path / "backbone", trust=True)
    assert [(stage.name, stage.channels, stage.stride) for stage in backbone.stages] == expected
    model, images, found = LoadedRun(run, trust=True).model("cpu"), torch.rand(1, 3, 64, 96), {}
    for stage in backbone.stages:
        model.feature_extractor.get_submodule(stage.name).register_forward_hook(
            lambda _module, _inputs, output, name=stage.name: found.__setitem__(name, output)
        )
    with torch.no_grad():
        model.feature_extractor(images)
    for stage in backbone.stages:
        own_map = backbone.maps_of(images)[stage.name]
        assert own_map.shape == (1, stage.channels, 64 // stage.stride, 96 // stage.stride)
        assert torch.allclose(own_map, found[stage.name], atol=1e-6)


def test_maps_with_their_channels_last_are_turned(own: Callable[[str], Run], tmp_path: Path) -> None:
    description = export(own("ChannelsLast"), tmp_path / "backbone", torch_export=True, trust=True)
    backbone = crackdet.load_backbone(tmp_path / "backbone", trust=True)
    assert backbone(torch.rand(2, 3, 64, 96)).shape == (2, 7, 16, 24)
    assert [copy.any_size for copy in description.copies] == [False]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Branching", "the network cannot be followed from the image to its stages (symbolically traced variables"),
        ("Patches", "of its work goes into maps, the rest would be lost to a detector"),
    ],
)
def test_ones_own_network_that_is_no_backbone_is_refused(
    own: Callable[[str], Run], tmp_path: Path, name: str, reason: str
) -> None:
    assert reason in refusal(lambda: export(own(name), tmp_path / "backbone", trust=True))


def test_a_copy_of_a_network_whose_deepest_map_was_one_pixel_takes_larger_images(
    publish: Publish, tmp_path: Path
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    folder = tmp_path / "backbone"
    export(
        publish("model=torchvision", "model.name=resnet18", "model.weights=null", "data.image_size=32"),
        folder,
        onnx=True,
    )
    session = onnxruntime.InferenceSession(folder / "backbone.onnx", providers=["CPUExecutionProvider"])
    deepest = session.get_outputs()[-1]
    assert not any(isinstance(side, int) for side in deepest.shape[2:]), "not declared to be of one size"
    *_, found = session.run(None, {"images": torch.rand(1, 3, 96, 64).numpy()})
    assert found.shape[2:] == (3, 2)
