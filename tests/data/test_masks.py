"""Masks of cracks: rendered with synthetic images, read from files beside other images."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crackdet.core.errors import UserError
from crackdet.data.dataset import data_fingerprint
from crackdet.data.decode import BadImage, open_rgb
from crackdet.data.masks import decode_mask
from crackdet.data.sources.factory import open_source
from crackdet.store.identity import identify
from tests.composing import compose

LINE = np.zeros((80, 80), dtype=np.uint8)
LINE[:, 33] = 1  # a crack one pixel wide, like a hairline


@pytest.mark.parametrize("mode", ["grey", "ones", "palette", "bilevel", "colour"])
def test_a_thin_crack_stays_connected_in_every_mask_format(tmp_path: Path, mode: str) -> None:
    masks = {
        "grey": lambda: Image.fromarray(LINE * 255),
        "ones": lambda: Image.fromarray(LINE),
        "palette": lambda: with_palette(LINE),
        "bilevel": lambda: Image.fromarray(LINE * 255).convert("1"),
        "colour": lambda: Image.fromarray(LINE * 255).convert("RGB"),
    }
    masks[mode]().save(tmp_path / "mask.png")
    mask = decode_mask(tmp_path / "mask.png", 20)
    assert mask[:, 33 // 4].all()
    assert mask.sum() == 20


def test_jpeg_artefacts_around_a_crack_are_not_crack(tmp_path: Path) -> None:
    Image.fromarray(LINE * 255).resize((320, 320)).save(tmp_path / "mask.jpg", quality=60)
    mask = decode_mask(tmp_path / "mask.jpg", 80)
    assert mask[:, 33].all()
    assert mask.sum(axis=1).max() <= 2


def test_a_synthetic_image_has_a_mask_of_its_crack(cache: Path) -> None:
    source = open_source(compose(["data.num_images=20"]).data, cache)
    for record in source.list_records():
        mask = source.mask(record, 48)
        assert mask is not None
        assert mask.any() == record.crack


def test_masks_of_a_folder_are_found_by_name_and_do_not_change_the_identity(photographs: Path, cache: Path) -> None:
    settings = ["data=folder", f"data.root={photographs}", "data.image_size=40"]
    without, with_masks = compose(settings), compose([*settings, "data.masks=truth"])
    name = sorted((photographs / "Positive").iterdir())[0].stem
    save_mask(photographs / "truth" / "Positive" / f"{name}.png")
    found = {r.name: open_source(with_masks.data, cache).mask(r, 40) for r in list_records(with_masks, cache)}
    assert [name for name, mask in found.items() if mask is not None] == [f"Positive/{name}.png"]
    assert open_source(without.data, cache).mask(list_records(without, cache)[0], 40) is None
    digests = [identify(c, data_fingerprint(c.data, c.runtime)).digest for c in (without, with_masks)]
    assert digests[0] == digests[1]


def test_masks_of_filename_labels_are_found_beside_the_images(tmp_path: Path, cache: Path) -> None:
    for split in ("train", "valid"):
        for number, name in enumerate(["crack", "noncrack"]):
            (tmp_path / split / "images").mkdir(parents=True, exist_ok=True)
            Image.fromarray(LINE * 100 + 20 * number).save(tmp_path / split / "images" / f"{name}.jpg")
    save_mask(tmp_path / "valid" / "masks" / "crack.png")
    config = compose(["data=filename_labels", f"data.root={tmp_path}"])
    found = {r.name: open_source(config.data, cache).mask(r, 40) for r in list_records(config, cache)}
    assert [name for name, mask in found.items() if mask is not None] == ["valid/images/crack.jpg"]


@pytest.mark.parametrize(("masks", "message"), [("nowhere", "no such folder"), ("broken", "cannot be used as a mask")])
def test_missing_or_unreadable_masks_are_rejected(photographs: Path, cache: Path, masks: str, message: str) -> None:
    config = compose(["data=folder", f"data.root={photographs}", f"data.masks={masks}"])
    record = list_records(config, cache)[0]
    broken = photographs / "broken" / record.name
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"no image")
    with pytest.raises(UserError, match=message):
        open_source(config.data, cache).mask(record, 40)


def list_records(config, cache: Path):  # type: ignore[no-untyped-def]
    return open_source(config.data, cache).list_records()


def save_mask(path: Path) -> None:
    path.parent.mkdir(parents=True)
    Image.fromarray(LINE * 255).save(path)


def with_palette(values: np.ndarray) -> Image.Image:
    image = Image.fromarray(values, mode="P")
    image.putpalette([0, 0, 0, 90, 0, 0])
    return image


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_of_a_mask_are_not_crack(tmp_path: Path, mode: str) -> None:
    crack = Image.fromarray(LINE * 255)
    mask = Image.new(mode, crack.size, 0)
    mask.paste("white", mask=crack)
    mask.save(tmp_path / "mask.png")
    found = decode_mask(tmp_path / "mask.png", 20)
    assert found[:, 33 // 4].all() and found.sum() == 20


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
@pytest.mark.parametrize("is_raw", [True, False])
@pytest.mark.parametrize("extension", ["png", "jpg", "tif"])
@pytest.mark.parametrize("height", [60, 78])
def test_a_mask_in_the_raw_orientation_is_turned_with_its_image(
    tmp_path: Path, orientation: int, is_raw: bool, extension: str, height: int
) -> None:
    stored = np.zeros((height, 80), dtype=np.uint8)
    stored[4:8, 10:70] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    image_path = tmp_path / f"image.{extension}"
    Image.fromarray(stored).convert("RGB").save(image_path, exif=exif)
    upright = open_rgb(image_path).convert("L").point(lambda value: 255 * (value > 127))
    mask = Image.fromarray(stored) if is_raw else upright
    mask.resize((mask.width // 2, mask.height // 2)).save(tmp_path / "mask.png")
    found = decode_mask(tmp_path / "mask.png", 20, image_path)
    crack = np.asarray(upright.resize((20, 20), Image.Resampling.BOX)) > 0
    assert (found == crack).mean() > 0.93


def test_a_mask_with_other_proportions_than_its_image_is_rejected(tmp_path: Path) -> None:
    Image.new("RGB", (80, 60)).save(tmp_path / "image.jpg")
    Image.new("L", (60, 80)).save(tmp_path / "mask.png")
    with pytest.raises(BadImage, match="60x80 pixels, but its image has 80x60"):
        decode_mask(tmp_path / "mask.png", 20, tmp_path / "image.jpg")


def test_a_square_mask_is_stretched_like_its_image(tmp_path: Path) -> None:
    Image.new("RGB", (160, 60)).save(tmp_path / "image.jpg")
    Image.fromarray(LINE * 255).save(tmp_path / "mask.png")
    found = decode_mask(tmp_path / "mask.png", 20, tmp_path / "image.jpg")
    assert found[:, 33 // 4].all() and found.sum() == 20


def test_a_mask_with_an_orientation_is_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(LINE * 255).save(tmp_path / "mask.png", exif=exif)
    found = decode_mask(tmp_path / "mask.png", 20)
    assert found.sum() == 20 and found.all(axis=1).sum() == 1
