"""Where the cracks of photographs are: drawn ones know it, files have masks beside them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crackdet.config.composing import compose
from crackdet.core.errors import UserError
from crackdet.data.dataset import data_fingerprint
from crackdet.data.decode import BadImage, decode_mask, open_rgb
from crackdet.data.sources.factory import open_source
from crackdet.store.identity import identify

LINE = np.zeros((80, 80), dtype=np.uint8)
LINE[:, 33] = 1  # a crack one pixel wide, as masks of hairlines are


@pytest.mark.parametrize("mode", ["grey", "ones", "palette", "bilevel", "colour"])
def test_a_thin_crack_stays_whole_however_its_mask_is_written(tmp_path: Path, mode: str) -> None:
    written = {
        "grey": lambda: Image.fromarray(LINE * 255),
        "ones": lambda: Image.fromarray(LINE),
        "palette": lambda: _palette(LINE),
        "bilevel": lambda: Image.fromarray(LINE * 255).convert("1"),
        "colour": lambda: Image.fromarray(LINE * 255).convert("RGB"),
    }
    written[mode]().save(tmp_path / "mask.png")
    mask = decode_mask(tmp_path / "mask.png", 20)
    assert mask[:, 33 // 4].all()
    assert mask.sum() == 20


def test_what_jpeg_leaves_around_a_mask_is_no_crack(tmp_path: Path) -> None:
    Image.fromarray(LINE * 255).resize((320, 320)).save(tmp_path / "mask.jpg", quality=60)
    mask = decode_mask(tmp_path / "mask.jpg", 80)
    assert mask[:, 33].all()
    assert mask.sum(axis=1).max() <= 2


def test_drawn_cracks_come_with_their_masks(cache: Path) -> None:
    source = open_source(compose(["data.num_images=20"]).data, cache)
    for photograph in source.photographs():
        mask = source.mask(photograph, 48)
        assert mask is not None
        assert mask.any() == photograph.crack


def test_masks_of_a_folder_are_found_by_name_and_rename_no_run(photographs: Path, cache: Path) -> None:
    given = ["data=folder", f"data.root={photographs}", "data.image_size=40"]
    without, with_masks = compose(given), compose([*given, "data.masks=truth"])
    name = sorted((photographs / "Positive").iterdir())[0].stem
    _save_mask(photographs / "truth" / "Positive" / f"{name}.png")
    found = {p.name: open_source(with_masks.data, cache).mask(p, 40) for p in _photographs(with_masks, cache)}
    assert [name for name, mask in found.items() if mask is not None] == [f"Positive/{name}.png"]
    assert open_source(without.data, cache).mask(_photographs(without, cache)[0], 40) is None
    prints = [identify(c, data_fingerprint(c.data, c.runtime)).digest for c in (without, with_masks)]
    assert prints[0] == prints[1]


def test_masks_in_the_layout_of_the_article(tmp_path: Path, cache: Path) -> None:
    for split in ("train", "valid"):
        for number, kind in enumerate(["crack", "noncrack"]):
            (tmp_path / split / "images").mkdir(parents=True, exist_ok=True)
            Image.fromarray(LINE * 100 + 20 * number).save(tmp_path / split / "images" / f"{kind}.jpg")
    _save_mask(tmp_path / "valid" / "masks" / "crack.png")
    config = compose(["data=filename_labels", f"data.root={tmp_path}"])
    found = {p.name: open_source(config.data, cache).mask(p, 40) for p in _photographs(config, cache)}
    assert [name for name, mask in found.items() if mask is not None] == ["valid/images/crack.jpg"]


@pytest.mark.parametrize(("masks", "message"), [("nowhere", "no such folder"), ("broken", "no mask that can be used")])
def test_masks_that_cannot_be_had_are_refused(photographs: Path, cache: Path, masks: str, message: str) -> None:
    config = compose(["data=folder", f"data.root={photographs}", f"data.masks={masks}"])
    photograph = _photographs(config, cache)[0]
    broken = photographs / "broken" / photograph.name
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"no image")
    with pytest.raises(UserError, match=message):
        open_source(config.data, cache).mask(photograph, 40)


def _photographs(config, cache: Path):  # type: ignore[no-untyped-def]
    return open_source(config.data, cache).photographs()


def _save_mask(path: Path) -> None:
    path.parent.mkdir(parents=True)
    Image.fromarray(LINE * 255).save(path)


def _palette(values: np.ndarray) -> Image.Image:
    image = Image.fromarray(values, mode="P")
    image.putpalette([0, 0, 0, 90, 0, 0])
    return image


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_in_a_mask_is_no_crack(tmp_path: Path, mode: str) -> None:
    crack = Image.fromarray(LINE * 255)
    mask = Image.new(mode, crack.size, 0)
    mask.paste("white", mask=crack)
    mask.save(tmp_path / "mask.png")
    found = decode_mask(tmp_path / "mask.png", 20)
    assert found[:, 33 // 4].all() and found.sum() == 20


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
@pytest.mark.parametrize("as_stored", [True, False])
@pytest.mark.parametrize("ending", ["png", "jpg", "tif"])
@pytest.mark.parametrize("height", [60, 78])
def test_a_mask_of_the_photograph_as_it_is_stored_is_turned_with_it(
    tmp_path: Path, orientation: int, as_stored: bool, ending: str, height: int
) -> None:
    stored = np.zeros((height, 80), dtype=np.uint8)
    stored[4:8, 10:70] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    photograph = tmp_path / f"photograph.{ending}"
    Image.fromarray(stored).convert("RGB").save(photograph, exif=exif)
    upright = open_rgb(photograph).convert("L").point(lambda value: 255 * (value > 127))
    mask = Image.fromarray(stored) if as_stored else upright
    mask.resize((mask.width // 2, mask.height // 2)).save(tmp_path / "mask.png")
    found = decode_mask(tmp_path / "mask.png", 20, photograph)
    crack = np.asarray(upright.resize((20, 20), Image.Resampling.BOX)) > 0
    assert (found == crack).mean() > 0.93


def test_a_mask_of_other_proportions_than_its_photograph_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (80, 60)).save(tmp_path / "photograph.jpg")
    Image.new("L", (60, 80)).save(tmp_path / "mask.png")
    with pytest.raises(BadImage, match="60x80 pixels where its photograph has 80x60"):
        decode_mask(tmp_path / "mask.png", 20, tmp_path / "photograph.jpg")


def test_a_square_mask_is_as_the_network_sees_its_photograph(tmp_path: Path) -> None:
    Image.new("RGB", (160, 60)).save(tmp_path / "photograph.jpg")
    Image.fromarray(LINE * 255).save(tmp_path / "mask.png")
    found = decode_mask(tmp_path / "mask.png", 20, tmp_path / "photograph.jpg")
    assert found[:, 33 // 4].all() and found.sum() == 20


def test_a_mask_is_turned_as_its_photograph_is(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # held upright
    Image.fromarray(LINE * 255).save(tmp_path / "mask.png", exif=exif)
    found = decode_mask(tmp_path / "mask.png", 20)
    assert found.sum() == 20 and found.all(axis=1).sum() == 1
