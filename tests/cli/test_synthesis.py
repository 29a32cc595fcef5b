"""`crackdet synthesize`: what it writes can be trained on."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from typer.testing import CliRunner, Result

from crackdet.cli.main import app
from crackdet.data.records import ImageRecord
from crackdet.data.sources.factory import open_source
from tests.composing import compose

ALL = "masks,coco,yolo,voc"


def synthesize(folder: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["synthesize", str(folder), "--photographs", "4", "--size", "200x150", *options])


def records(folder: Path, cache: Path, *overrides: str) -> list[ImageRecord]:
    config = compose(["data=boxes", f"data.root={folder}", "data.tile=48", *overrides])
    return open_source(config.data, cache).list_records()


def test_masks_and_boxes_of_coco_are_written_and_can_be_read(tmp_path: Path) -> None:
    result = synthesize(tmp_path / "walls")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (tmp_path / "walls").iterdir()) == ["annotations.json", "images", "masks"]
    assert f"data=masks data.root={tmp_path}/walls" in result.output
    assert {record.crack for record in records(tmp_path / "walls", tmp_path / "cache")} == {True, False}
    coco = COCO(str(tmp_path / "walls/annotations.json"))
    for image in coco.loadImgs(coco.getImgIds()):
        mask = np.asarray(Image.open(tmp_path / "walls/masks" / image["file_name"].replace(".jpg", ".png")))
        assert mask.shape == (image["height"], image["width"]) == (150, 200)
        for box in coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]])):
            left, top, width, height = box["bbox"]
            assert mask[top : top + height, left : left + width].any()


def test_the_tiles_are_the_same_in_all_formats_of_boxes(tmp_path: Path) -> None:
    assert synthesize(tmp_path / "walls", "--format", ALL).exit_code == 0
    coco, yolo, voc = (
        records(tmp_path / "walls", tmp_path / "cache", f"data.annotations={name}")
        for name in ("annotations.json", "labels", "Annotations")
    )
    assert coco == yolo == voc and {record.crack for record in coco} == {True, False}


def test_another_seed_gives_other_photographs(tmp_path: Path) -> None:
    for name, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        assert synthesize(tmp_path / name, "--seed", seed).exit_code == 0
    first, again, other = (
        b"".join(path.read_bytes() for path in sorted((tmp_path / name).rglob("*.*"))) for name in "abc"
    )
    assert first == again != other


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--format", "masks,kitti"], "--format masks,kitti: 'kitti' must be one of masks, coco, yolo, voc"),
        (["--format", ""], "must be one of masks, coco, yolo, voc"),
        (["--size", "1024"], "--size 1024: must be WIDTHxHEIGHT, each from 64 to 4096"),
        (["--size", "63x64"], "--size 63x64: must be WIDTHxHEIGHT, each from 64 to 4096"),
    ],
)
def test_unknown_formats_and_sizes_are_refused(tmp_path: Path, options: list[str], expected: str) -> None:
    result = synthesize(tmp_path / "walls", *options)
    assert result.exit_code == 2 and expected in result.output
    assert not (tmp_path / "walls").exists()


def test_a_folder_with_files_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    result = synthesize(tmp_path)
    assert result.exit_code == 2 and "exists and is not empty; give a new folder" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
