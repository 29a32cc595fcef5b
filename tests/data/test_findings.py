"""What `check-data` says of images that can be read."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crackdet.config.file_data import FolderData
from crackdet.config.schema import Runtime
from crackdet.data.dataset import load_splits
from crackdet.data.findings import find_problems
from tests.data.image_files import make_folders, make_pixels


def problems(root: Path, runtime: Runtime, cache_gib: float = 16.0) -> list[str]:
    data = FolderData(root=str(root), image_size=12, white_level=65535)
    return find_problems(load_splits(data, replace(runtime, cache_gib=cache_gib)))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_folders(
        tmp_path / "data", {"train/crack": 4, "train/noncrack": 4, "valid/crack": 2, "valid/noncrack": 2}
    )


def test_usual_images_have_no_problem(root: Path, runtime: Runtime) -> None:
    assert problems(root, runtime) == []


@pytest.mark.parametrize("cache_gib", [16.0, 0.0], ids=["cached", "streamed"])
def test_images_without_a_picture_are_named(cache_gib: float, root: Path, runtime: Runtime) -> None:
    folder = root / "train" / "crack"
    Image.new("RGB", (12, 12), (10, 60, 200)).save(folder / "blue.png")
    Image.fromarray(make_pixels(40) // 20).save(folder / "dark.png")
    Image.fromarray(255 - make_pixels(41) // 20).save(folder / "bright.png")
    Image.fromarray(make_pixels(42)[..., 0].astype(np.uint16) << 4).save(folder / "camera.png")  # 12 bits
    assert problems(root, runtime, cache_gib) == [
        "all pixels of one colour: 1 image (train/crack/blue.png)",
        "nearly black: 1 image (train/crack/dark.png)",
        "nearly black (check data.white_level): 1 image (train/crack/camera.png)",
        "nearly white: 1 image (train/crack/bright.png)",
    ]


def test_copies_within_a_split_are_named(root: Path, runtime: Runtime) -> None:
    original = root / "train" / "crack" / "000.png"
    for number in range(12):
        (root / "train" / "crack" / f"copy{number:02d}.png").write_bytes(original.read_bytes())
    (found,) = problems(root, runtime)
    assert found.startswith("copies of another image of the same split: 12 images (train/crack/copy00.png, ")
    assert found.endswith("train/crack/copy09.png and 2 more)")


def test_files_of_several_frames_are_named(root: Path, runtime: Runtime) -> None:
    frames = [Image.fromarray(make_pixels(number)) for number in (50, 51)]
    for name in ("scan.tif", "moving.gif", "moving.png", "moving.webp"):
        frames[0].save(root / "train" / "crack" / name, save_all=True, append_images=frames[1:], lossless=True)
    (found,) = problems(root, runtime)
    assert found.startswith("several frames or pages; only the first is used: 4 images (")
    pixels = load_splits(FolderData(root=str(root), image_size=12), runtime)["train"].pixels
    assert pixels.unreadable == {}
