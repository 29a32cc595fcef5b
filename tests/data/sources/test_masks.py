"""`data=masks`: tiles of photographs, labelled by masks of their cracks."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given, reject, settings
from hypothesis import strategies as st
from PIL import Image

from crackdet.config.schema import Runtime
from crackdet.core.errors import UserError
from crackdet.data import decode
from crackdet.data.dataset import list_splits, load_splits
from crackdet.data.records import ImageRecord, fingerprint
from crackdet.data.sources import tiled
from crackdet.data.sources.factory import open_source
from crackdet.data.tiles import make_grid, parse_digest, parse_name
from tests.data.sources.conftest import ListRecords
from tests.data.walls import (
    SIZE,
    TILE,
    Mask,
    make_painted_walls,
    make_walls,
    masks_data,
    paint,
    render_wall,
    save_mask,
    save_photograph,
)

in_one_folder = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_walls(tmp_path_factory.mktemp("rendered"))


@pytest.fixture
def walls(rendered: Path, tmp_path: Path) -> Path:
    """Eight photographs in `images` with masks in `masks`, which the test may change."""
    return Path(shutil.copytree(rendered, tmp_path / "walls"))


def photographs_of(records: list[ImageRecord]) -> set[str]:
    return {parse_name(record.name)[0] for record in records}


def warnings_of(root: Path, tmp_path: Path, **changes: object) -> str:
    source = open_source(masks_data(root, **changes), tmp_path / "cache")
    source.list_records()
    return "\n".join(source.warnings)


# --- labels -------------------------------------------------------------------------------------------

masks = st.lists(
    st.tuples(st.integers(0, 39), st.integers(0, 29), st.integers(1, 12), st.integers(1, 12)), min_size=1, max_size=4
).map(lambda boxes: paint((40, 30), *((x, y, x + width, y + height) for x, y, width, height in boxes)))


@in_one_folder
@given(mask=masks, tile=st.integers(8, 30), stride=st.integers(2, 40), share=st.sampled_from([0, 0.01, 0.1, 0.5, 1]))
@example(mask=paint((40, 30), (0, 0, 8, 8)), tile=8, stride=8, share=1)
@example(mask=paint((40, 30), (0, 0, 1, 1)), tile=10, stride=10, share=0.01)
def test_the_label_of_a_tile_is_that_of_the_mask_inside_it(
    mask: Mask, tile: int, stride: int, share: float, tmp_path: Path
) -> None:
    expected = {}
    for box in make_grid((40, 30), tile, stride).boxes:
        left, top, right, bottom = box.corners
        cracked = mask[top:bottom, left:right].sum()
        if not cracked or cracked >= share * tile**2:
            expected[f"wall.png#{box}"] = bool(cracked)
    assume(expected)
    shutil.rmtree(tmp_path / "data", ignore_errors=True)
    data = masks_data(
        make_painted_walls(tmp_path / "data", {"wall": mask}), tile=tile, stride=stride, min_crack_share=share
    )
    records = open_source(data, tmp_path / "cache").list_records(both_classes=False)
    assert {record.name: record.crack for record in records} == expected
    assert len({record.group for record in records}) == 1


def test_tiles_that_are_hardly_crack_are_left_out_with_their_number(tmp_path: Path) -> None:
    walls = {"wall": paint((64, 32), (0, 0, 20, 20), (32, 0, 33, 1))} | clean()
    warning = "1 of 4 tiles are left out, because less than data.min_crack_share=0.005 of each, but not none, is crack"
    assert warning in warnings_of(make_painted_walls(tmp_path / "data", walls), tmp_path)


def clean(name: str = "clean") -> dict[str, Mask]:
    return {name: paint((64, 32))}


def cracked(name: str = "cracked") -> dict[str, Mask]:
    return {name: paint((64, 32), (0, 0, 20, 20))}


def test_a_mask_is_turned_with_its_photograph(tmp_path: Path, list_records: ListRecords) -> None:
    """A camera stores a photograph lying on its side; masks are drawn upright, or in the orientation of the file."""
    upright = paint((32, 64), (0, 32, 32, 64))
    found = []
    for name, mask in (("upright", upright), ("raw", np.rot90(upright))):
        root = tmp_path / name
        root.mkdir()
        photograph = Image.fromarray(np.rot90(render_wall(0).image[:, :32]))  # (32, 64): turned to the left
        exif = Image.Exif()
        exif[0x0112] = 6  # turn it to the right
        photograph.save(root / "wall.jpg", exif=exif)
        save_mask(root / "wall_mask.png", mask)
        found.append({record.name: record.crack for record in list_records(masks_data(root))})
    assert found == [{"wall.jpg#0,0,32x32": False, "wall.jpg#0,32,32x32": True}] * 2


# --- pixels -------------------------------------------------------------------------------------------


def test_a_tile_has_the_pixels_and_the_mask_of_its_photograph(walls: Path, tmp_path: Path) -> None:
    source = open_source(masks_data(walls), tmp_path / "cache")
    for record in source.list_records():
        photograph, box = parse_name(record.name)
        assert box is not None
        left, top, right, bottom = box.corners
        pixels, mask = (np.asarray(Image.open(walls / f)) for f in (photograph, photograph.replace("images", "masks")))
        assert np.array_equal(source.read(record, TILE), pixels[top:bottom, left:right])
        found = source.mask(record, TILE)
        assert found is not None and np.array_equal(found, mask[top:bottom, left:right] > 0)
        assert source.file(record.name) == walls / photograph


def test_a_tile_is_resized_like_any_image(walls: Path, tmp_path: Path) -> None:
    source = open_source(masks_data(walls), tmp_path / "cache")
    record = source.list_records()[0]
    expected = Image.fromarray(source.read(record, TILE)).resize((20, 20), Image.Resampling.BILINEAR)
    assert np.array_equal(source.read(record, 20), np.asarray(expected))


def test_each_photograph_is_decoded_once_for_all_its_tiles(
    walls: Path, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []

    def open_rgb(*args: Any) -> Image.Image:
        opened.append(args)
        return decode.open_rgb(*args)

    monkeypatch.setattr(tiled, "open_rgb", open_rgb)
    data = masks_data(walls, stride=4)
    splits = load_splits(data, runtime)
    assert sum(map(len, splits.values())) > 64 * 8  # more than one chunk of a worker
    assert len(opened) <= 8
    load_splits(data, runtime)
    assert len(opened) <= 8


def test_streamed_and_cached_tiles_have_the_same_pixels(walls: Path, runtime: Runtime) -> None:
    cached = load_splits(masks_data(walls), runtime)["train"]
    streamed = load_splits(masks_data(walls), replace(runtime, cache_gib=0))["train"]
    assert streamed.pixels.file is None
    for record in cached.records:
        assert np.array_equal(cached.pixels.read(record), streamed.pixels.read(record))


def test_a_photograph_that_has_changed_since_it_was_listed_is_an_error(walls: Path, tmp_path: Path) -> None:
    source = open_source(masks_data(walls), tmp_path / "cache")
    record = next(record for record in source.list_records() if record.name.startswith("images/0"))
    save_photograph(walls / "images" / "0.png", render_wall(99).image)
    with pytest.raises(decode.BadImage, match="has changed since"):
        source.read(record, TILE)


# --- groups, splits, identity -------------------------------------------------------------------------


@in_one_folder
@given(seed=st.integers(0, 1000), fraction=st.floats(0.2, 0.3))
def test_tiles_of_one_photograph_are_never_in_two_splits(
    seed: int, fraction: float, rendered: Path, tmp_path: Path
) -> None:
    data = masks_data(rendered, split_seed=seed, valid_fraction=fraction, test_fraction=0.2)
    try:
        splits, warnings = list_splits(data, Runtime(cache=str(tmp_path / "cache")))
    except UserError:  # a split of so few photographs may lack a class
        reject()
    in_split = {name: {parse_digest(record.digest)[0] for record in members} for name, members in splits.items()}
    for first, second in (("train", "valid"), ("train", "test"), ("valid", "test")):
        assert not in_split[first] & in_split[second]
    assert warnings == []


def test_a_copy_of_a_photograph_is_in_its_group(walls: Path, list_records: ListRecords) -> None:
    for kind in ("images", "masks"):
        shutil.copy(walls / kind / "0.png", walls / kind / "copy.png")
    groups = {parse_name(record.name)[0]: record.group for record in list_records(masks_data(walls))}
    assert groups["images/0.png"] == groups["images/copy.png"]
    assert len(set(groups.values())) == 8


def test_a_coarser_group_is_that_of_all_tiles_of_its_photographs(walls: Path, list_records: ListRecords) -> None:
    records = list_records(masks_data(walls, groups="regex:^([0-3])"))
    groups = {parse_name(record.name)[0]: record.group for record in records}
    assert {groups[f"images/{i}.png"] for i in range(4)} == {"0", "1", "2", "3"}
    assert len({groups[f"images/{i}.png"] for i in range(4, 8)}) == 4  # each photograph is a group


def test_split_folders_give_the_splits(walls: Path, list_records: ListRecords) -> None:
    for kind, number in product(("images", "masks"), range(8)):
        folder = walls / ("train" if number < 6 else "val") / kind
        folder.mkdir(parents=True, exist_ok=True)
        (walls / kind / f"{number}.png").rename(folder / f"{number}.png")
    splits = {parse_name(record.name)[0]: record.split for record in list_records(masks_data(walls))}
    assert splits == {f"train/images/{i}.png": "train" for i in range(6)} | {
        f"val/images/{i}.png": "valid" for i in (6, 7)
    }


def rename_all(root: Path) -> None:
    for kind, number in product(("images", "masks"), range(8)):
        (root / kind / f"{number}.png").rename(root / kind / f"wall {9 - number}#1,2,3x4.png")


def suffix_masks(root: Path) -> None:
    for number in range(8):
        (root / "images" / f"{number}.png").rename(root / f"{number}.png")
        (root / "masks" / f"{number}.png").rename(root / f"{number}_mask.png")
    (root / "masks").rmdir()


def store_masks_as_ones(root: Path) -> None:
    for file in (root / "masks").iterdir():
        save_photograph(file, np.asarray(Image.open(file)) // 255)


def store_masks_as_bmp(root: Path) -> None:
    for file in list((root / "masks").iterdir()):
        Image.open(file).convert("RGB").save(file.with_suffix(".bmp"))
        file.unlink()


@pytest.mark.parametrize("change", [rename_all, suffix_masks, store_masks_as_ones, store_masks_as_bmp])
def test_names_places_and_formats_of_files_do_not_count_in_the_fingerprint(
    change: Callable[[Path], None], walls: Path, list_records: ListRecords
) -> None:
    before = fingerprint(list_records(masks_data(walls)))
    change(walls)
    assert fingerprint(list_records(masks_data(walls))) == before


def paint_another_crack(root: Path) -> None:
    save_mask(root / "masks" / "3.png", paint(SIZE, (0, 0, 20, 20)))


def change_a_pixel(root: Path) -> None:
    pixels = render_wall(0).image.copy()
    pixels[0, 0] ^= 1
    save_photograph(root / "images" / "0.png", pixels)


@pytest.mark.parametrize("change", [paint_another_crack, change_a_pixel])
def test_another_mask_or_pixel_changes_the_fingerprint(
    change: Callable[[Path], None], walls: Path, list_records: ListRecords
) -> None:
    before = fingerprint(list_records(masks_data(walls)))
    change(walls)
    assert fingerprint(list_records(masks_data(walls))) != before


# --- values of masks ----------------------------------------------------------------------------------


def save_values(root: Path, values: Callable[[Mask], Image.Image]) -> None:
    for file in (root / "masks").iterdir():
        values(np.asarray(Image.open(file)) > 0).save(file)


def grey(crack: int, other: int) -> Callable[[Mask], Image.Image]:
    return lambda mask: Image.fromarray(np.where(mask, crack, other).astype(np.uint8))


def coloured(crack: tuple[int, int, int], other: tuple[int, int, int]) -> Callable[[Mask], Image.Image]:
    return lambda mask: Image.fromarray(np.where(mask[..., None], crack, other).astype(np.uint8))


def palette(mask: Mask) -> Image.Image:
    image = Image.fromarray(mask.astype(np.uint8) * 2)
    image.putpalette([0, 0, 0, 9, 9, 9, 128, 0, 0])  # dark red, as in Pascal VOC
    return image


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        (grey(0, 255), "black"),
        (grey(76, 0), ">=50"),
        (grey(76, 0), "76"),
        (grey(1, 2), "1"),
        (grey(200, 100), ">=150"),
        (coloured((255, 0, 0), (0, 0, 0)), "#ff0000"),
        (coloured((250, 10, 5), (255, 255, 255)), "#FF0000"),
        (palette, "white"),
        (palette, "2"),
        (palette, "1, 2"),
    ],
)
def test_crack_can_have_any_value(
    values: Callable[[Mask], Image.Image], rule: str, walls: Path, list_records: ListRecords
) -> None:
    before = fingerprint(list_records(masks_data(walls)))
    save_values(walls, values)
    assert fingerprint(list_records(masks_data(walls, mask_value=rule))) == before


def test_masks_without_any_crack_are_refused_with_their_values(walls: Path, list_records: ListRecords) -> None:
    save_values(walls, grey(76, 0))
    with pytest.raises(UserError, match=r"data\.mask_value=white: none of the 8 masks has a crack.* 0 \(.*76 \("):
        list_records(masks_data(walls))


def test_the_number_of_empty_masks_is_said(walls: Path, tmp_path: Path) -> None:
    assert "2 of 8 masks are empty: their photographs show no crack" in warnings_of(walls, tmp_path)


@pytest.mark.parametrize("value", ["red", ">=", "#ff00", "1;2", "-1", ""])
def test_an_unknown_value_of_masks_is_rejected(value: str, walls: Path, list_records: ListRecords) -> None:
    with pytest.raises(UserError, match=r"data\.mask_value=.*must be white, black"):
        list_records(masks_data(walls, mask_value=value))


# --- photographs and masks that cannot be used --------------------------------------------------------


def damage(root: Path) -> None:
    """Damage all photographs and masks but numbers 3, 6 and 7."""
    content = (root / "masks" / "0.png").read_bytes()
    (root / "masks" / "0.png").write_bytes(content[: len(content) // 2])
    save_mask(root / "masks" / "1.png", paint((SIZE[0], SIZE[1] - 1)))
    save_mask(root / "masks" / "2_mask.png", paint(SIZE))
    (root / "masks" / "4.png").write_bytes(b"")
    (root / "images" / "5.png").write_text("no image")
    save_mask(root / "masks" / "old.png", paint(SIZE))
    save_photograph(root / "images" / "new.png", render_wall(10).image)


PROBLEMS = {
    "images/0.png": "its mask cannot be used",
    "images/1.png": "it has 96x63 pixels, but its photograph has 96x64",
    "images/2.png": "has several masks: masks/2.png, masks/2_mask.png",
    "images/4.png": "its mask cannot be used",
    "images/5.png": "cannot be read as an image",
    "masks/old.png": "is a mask of no photograph",
    "1 photographs have no annotation, such as images/new.png": "data.unannotated=clean",
}


def test_all_bad_masks_and_photographs_are_in_one_list(walls: Path, list_records: ListRecords) -> None:
    damage(walls)
    with pytest.raises(UserError) as error:
        list_records(masks_data(walls))
    lines = str(error.value).splitlines()
    assert "data.on_bad_image=skip" in lines[0]
    assert len(lines) == 1 + len(PROBLEMS)
    for name, problem in PROBLEMS.items():
        assert any(line.startswith(f"  {name}: ") and problem in line for line in lines), name


def test_bad_masks_can_be_skipped_and_then_no_tile_of_their_photographs_is_used(walls: Path, tmp_path: Path) -> None:
    damage(walls)
    source = open_source(masks_data(walls, on_bad_image="skip"), tmp_path / "cache")
    assert photographs_of(source.list_records()) == {f"images/{number}.png" for number in (3, 6, 7)}
    assert all(f"{name}: " in "\n".join(source.warnings) for name in PROBLEMS)


def test_a_repaired_mask_is_read_again(walls: Path, list_records: ListRecords) -> None:
    before = list_records(masks_data(walls))
    (walls / "masks" / "0.png").write_bytes(b"")
    with pytest.raises(UserError, match="its mask cannot be used"):
        list_records(masks_data(walls))
    save_mask(walls / "masks" / "0.png", render_wall(0).mask)
    assert list_records(masks_data(walls)) == before


def test_photographs_without_masks_are_an_error_or_left_out_or_clean(walls: Path, tmp_path: Path) -> None:
    (walls / "masks" / "0.png").unlink()
    with pytest.raises(UserError, match=r"1 photographs have no annotation, such as images/0\.png: .*unannotated=skip"):
        open_source(masks_data(walls), tmp_path / "cache").list_records()
    assert "1 photograph without an annotation" in warnings_of(walls, tmp_path, unannotated="skip")
    skipping, counting = (
        open_source(masks_data(walls, unannotated=way), tmp_path / "cache").list_records() for way in ("skip", "clean")
    )
    added = [record for record in counting if record not in skipping]
    assert photographs_of(added) == {"images/0.png"}
    assert len(added) == 6
    assert not any(record.crack for record in added)


def test_a_folder_without_masks_is_rejected(walls: Path, list_records: ListRecords) -> None:
    shutil.rmtree(walls / "masks")
    with pytest.raises(UserError, match=r"found 8 photographs, but no mask of a photograph.*data\.masks"):
        list_records(masks_data(walls))


def test_a_missing_folder_of_masks_is_rejected(walls: Path, list_records: ListRecords) -> None:
    with pytest.raises(UserError, match=r"data\.masks=nowhere: there is no such folder"):
        list_records(masks_data(walls, masks="nowhere"))


# --- sizes and scale ----------------------------------------------------------------------------------


def test_photographs_smaller_than_a_tile_are_left_out_with_a_warning(tmp_path: Path) -> None:
    root = make_painted_walls(tmp_path / "data", cracked() | clean() | {"small": paint((31, 64), (0, 0, 9, 9))})
    warning = "1 photographs are smaller than a tile of data.tile=32 and are left out, such as small.png"
    assert warning in warnings_of(root, tmp_path)


def test_photographs_that_are_all_smaller_than_a_tile_are_an_error_that_says_so(
    walls: Path, list_records: ListRecords
) -> None:
    with pytest.raises(UserError, match=r"data\.tile=65: all 8 photographs are smaller than a tile, such as images/0"):
        list_records(masks_data(walls, tile=65))


def write_scales(root: Path, scales: dict[str, str]) -> None:
    lines = [f"{name},{scale}" for name, scale in scales.items()]
    (root / "manifest.csv").write_text("\n".join(["path,pixels_per_mm", *lines]))


def test_tiles_of_all_photographs_show_as_many_millimetres(tmp_path: Path, list_records: ListRecords) -> None:
    root = make_painted_walls(tmp_path / "data", cracked("near") | clean("far"))
    write_scales(root, {"near.png": "4", "far.png": "2"})
    records = list_records(masks_data(root, tile=32, scale=4))
    assert {(parse_name(r.name)[0], str(parse_name(r.name)[1]).rpartition(",")[2]) for r in records} == {
        ("near.png", "32x32"),
        ("far.png", "16x16"),
    }
    assert sum(record.name.startswith("far") for record in records) == 8


@pytest.mark.parametrize("scale", ["0", "-1", "nan", "inf", "two", ""])
def test_a_scale_that_is_no_positive_number_is_rejected(scale: str, tmp_path: Path, list_records: ListRecords) -> None:
    root = make_painted_walls(tmp_path / "data", cracked() | clean())
    write_scales(root, {"cracked.png": "4", "clean.png": scale})
    with pytest.raises(UserError, match=rf"data\.scale: .*has pixels_per_mm={scale} for clean\.png; must be > 0"):
        list_records(masks_data(root, scale=4))


def test_a_scale_needs_a_manifest_with_its_column(walls: Path, list_records: ListRecords) -> None:
    with pytest.raises(UserError, match=r"manifest\.csv"):
        list_records(masks_data(walls, scale=4))
    (walls / "manifest.csv").write_text("path,wall\nimages/0.png,a")
    with pytest.raises(UserError, match=r"data\.scale: .*has no column pixels_per_mm; it has path, wall"):
        list_records(masks_data(walls, scale=4))
