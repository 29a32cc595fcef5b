"""Images with more than 8 bits per sample: they are decoded correctly, or refused."""

import io
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from crackdet.config.file_data import FolderData
from crackdet.data.bit_depth import is_deep_file
from crackdet.data.decode import BadImage, decode
from crackdet.data.masks import decode_mask
from crackdet.data.sources.factory import open_source
from tests.data.image_files import make_folders
from tests.data.tiff_files import ByteOrder, tiff

SIZE = 16
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, CMYK, NOT_INTEGER = 0, 1, 2, 5, "f"
MAX_SAMPLE_VALUE, NEW_SUBFILE_TYPE = 281, 254


def picture(channels: int = 1, number: int = 0) -> NDArray[np.uint8]:
    """Noise over the full range, (SIZE, SIZE) or (SIZE, SIZE, channels)."""
    pixels = np.random.default_rng(number).integers(0, 256, (SIZE, SIZE, channels), dtype=np.uint8)
    pixels[0, :2] = [[0], [255]]
    return pixels[..., 0] if channels == 1 else pixels


def read(content: bytes, white_level: float | None = None) -> NDArray[np.uint8]:
    return decode(io.BytesIO(content), SIZE, white_level)


def grey(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(pixels[..., None], 3, axis=2)


def as_dtype(pixels: NDArray[np.uint8], dtype: str) -> NDArray[Any]:
    """The same picture in the full range of another type; from 0 to its maximum, or to 1."""
    kind = np.dtype(dtype)
    if kind.kind == NOT_INTEGER:
        return (pixels / 255).astype(kind)
    return (pixels.astype(np.float64) * (np.iinfo(kind).max / 255)).round().astype(kind)


BYTE_ORDERS: tuple[ByteOrder, ...] = ("<", ">")
LAYOUTS = [(1, BLACK_IS_ZERO), (1, WHITE_IS_ZERO), (2, BLACK_IS_ZERO), (3, RGB), (4, CMYK)]  # channels, photometric


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8"])
def test_a_tiff_comes_out_as_it_looks_or_is_refused(dtype: str) -> None:
    for (channels, photometric), planar, byte_order, compression in product(LAYOUTS, [1, 2], BYTE_ORDERS, [1, 8]):
        upright = picture(channels)
        stored = as_dtype(255 - upright if photometric == WHITE_IS_ZERO else upright, dtype)
        tags = {338: 2} if channels == 2 else {}  # the second one is the opacity
        content = tiff(
            stored, photometric=photometric, planar=planar, byte_order=byte_order, compression=compression, tags=tags
        )
        try:
            pixels = read(content)
        except BadImage as error:
            unknown_to_pillow = channels == 2 or (photometric == WHITE_IS_ZERO and byte_order == ">")
            assert dtype not in ("u1", "u2") or planar == 2 or unknown_to_pillow, error  # else it need not be refused
            continue
        views: dict[int, Callable[[Any], Any]] = {1: grey, 2: on_white, 3: np.asarray, 4: from_cmyk}
        expected = views[channels](upright)
        assert np.abs(pixels.astype(int) - expected).max() <= 1, (channels, photometric, planar, byte_order)


def on_white(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    level, alpha = pixels[..., 0].astype(float), pixels[..., 1] / 255
    return grey((level * alpha + 255 * (1 - alpha)).round().astype(np.uint8))


def from_cmyk(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    colours = 255 - pixels.astype(float)
    return (colours[..., :3] * colours[..., 3:] / 255).round().astype(np.uint8)


@pytest.mark.parametrize(
    ("photometric", "byte_order"), [(BLACK_IS_ZERO, "<"), (BLACK_IS_ZERO, ">"), (WHITE_IS_ZERO, "<")]
)
def test_a_16_bit_grey_tiff_comes_out_as_it_looks(photometric: int, byte_order: ByteOrder) -> None:
    stored = 255 - picture() if photometric == WHITE_IS_ZERO else picture()
    content = tiff(as_dtype(stored, "u2"), photometric=photometric, byte_order=byte_order)
    assert np.array_equal(read(content), grey(picture()))


def test_a_12_bit_tiff_declares_its_white() -> None:
    packed = tiff(picture().astype(np.uint16) << 4, bits=12)
    declared = tiff(picture().astype(np.uint16) << 4, tags={MAX_SAMPLE_VALUE: 4095})
    assert np.array_equal(read(packed), grey(picture()))
    assert np.array_equal(read(declared), grey(picture()))
    assert np.array_equal(read(packed, white_level=65535), grey(picture()))


def test_a_maximum_of_the_pixels_is_not_taken_for_the_depth() -> None:
    content = tiff(as_dtype(picture() // 2, "u2"), tags={MAX_SAMPLE_VALUE: 32639})
    assert np.array_equal(read(content), grey(picture() // 2))


@pytest.mark.parametrize("maxval", [255, 1023, 4095, 65535])
def test_a_pgm_and_a_ppm_declare_their_white(maxval: int) -> None:
    for magic, expected in ((b"P5", picture()), (b"P6", picture(3))):
        stored = (expected.astype(np.float64) * maxval / 255).round().astype(">u2" if maxval > 255 else "u1")
        content = magic + b"\n%d %d\n%d\n" % (SIZE, SIZE, maxval) + stored.tobytes()
        shown = grey(expected) if magic == b"P5" else expected
        assert np.abs(read(content).astype(int) - shown).max() <= 1


@pytest.mark.parametrize(("bits", "maximum"), [(8, 255), (10, 1023), (12, 4095)])
@pytest.mark.parametrize("extension", ["tif", "png"])
def test_few_bits_in_16_are_refused_without_a_white_level(
    bits: int, maximum: int, extension: str, tmp_path: Path
) -> None:
    path = tmp_path / f"camera.{extension}"
    Image.fromarray(picture().astype(np.uint16) << (bits - 8)).save(path)
    with pytest.raises(
        BadImage, match=rf"set data\.white_level={maximum} if this value is white .*=65535 if .* really dark"
    ):
        decode(path, SIZE)
    assert np.array_equal(decode(path, SIZE, maximum), grey(picture()))
    assert decode(path, SIZE, 65535).max() < 16


@pytest.mark.parametrize("white_level", [None, 4095])
def test_hot_pixels_do_not_change_the_other_pixels(white_level: float | None) -> None:
    levels = picture().astype(np.uint16) << 4
    hot = levels.copy()
    hot[3, 4] = 65535
    assert outcome(hot, white_level)[3:, 5:].tolist() == outcome(levels, white_level)[3:, 5:].tolist()
    bright = picture() / 255
    hot_float = bright.astype(np.float32)
    hot_float[3, 4] = 1000
    assert outcome(hot_float, None)[3:, 5:].tolist() == outcome(bright.astype(np.float32), None)[3:, 5:].tolist()


def outcome(levels: NDArray[Any], white_level: float | None) -> NDArray[np.uint8]:
    """The pixels, or one number if the file is refused."""
    try:
        return read(tiff(levels), white_level)
    except BadImage:
        return np.zeros((SIZE, SIZE), np.uint8)


@settings(max_examples=40, deadline=None)
@given(exposure=st.floats(0.02, 1), number=st.integers(0, 3), dtype=st.sampled_from(["u2", "f4"]))
def test_a_darker_photograph_of_a_set_comes_out_darker_or_is_refused(exposure: float, number: int, dtype: str) -> None:
    full = as_dtype(picture(number=number), dtype)
    dark = (full * exposure).astype(dtype)
    try:
        pixels = read(tiff(dark))
    except BadImage:
        return
    assert np.abs(pixels - read(tiff(full)) * exposure).max() <= 2


@pytest.mark.parametrize("dtype", ["i2", "i4", "u4"])
def test_integers_without_a_white_are_refused_without_a_white_level(dtype: str) -> None:
    content = tiff(picture().astype(dtype))
    with pytest.raises(BadImage, match=r"do not define which value is white; set data\.white_level"):
        read(content)
    assert np.array_equal(read(content, 255), grey(picture()))
    full = as_dtype(picture(), dtype)
    assert np.abs(read(tiff(full), np.iinfo(dtype).max).astype(int) - grey(picture())).max() <= 1


@pytest.mark.parametrize("low_high", [(0, 255), (-1, 1), (-2, 2), (0, 65535)])
def test_floats_outside_0_and_1_are_refused_without_a_white_level(low_high: tuple[float, float]) -> None:
    low, high = low_high
    levels = (low + (high - low) * (picture() / 255)).astype(np.float32)
    with pytest.raises(BadImage, match=r"float samples from .* set data\.white_level"):
        read(tiff(levels))


def test_floats_that_are_no_numbers_become_black_and_white() -> None:
    levels = np.full((SIZE, SIZE), 0.6, np.float32)
    levels[0, :4] = np.nan, np.inf, -np.inf, -9999
    assert read(tiff(levels))[0, :5, 0].tolist() == [0, 255, 0, 0, 153]


def test_an_all_black_deep_image_is_black() -> None:
    for dtype in ("u2", "f4"):
        assert read(tiff(np.zeros((SIZE, SIZE), dtype))).max() == 0


def test_16_bit_colours_keep_their_upper_bits(tmp_path: Path) -> None:
    content = tiff(as_dtype(picture(3), "u2"), photometric=RGB)
    assert np.array_equal(read(content), picture(3))
    assert np.array_equal(read(content, 65535), picture(3))
    with pytest.raises(BadImage, match=r"16-bit colours with white at 4095 are not supported"):
        read(content, 4095)
    with pytest.raises(BadImage, match=r"16-bit colour samples that do not exceed 12 bits"):
        read(tiff(picture(3).astype(np.uint16) << 4, photometric=RGB))


@pytest.mark.parametrize("planar", [1, 2])
@pytest.mark.parametrize("channels", [3, 4])
def test_8_bit_planes_come_out_as_they_look(channels: int, planar: int) -> None:
    content = tiff(picture(channels), photometric=RGB if channels == 3 else CMYK, planar=planar)
    assert np.abs(read(content).astype(int) - (picture(3) if channels == 3 else from_cmyk(picture(4)))).max() <= 1


def test_16_bit_planes_are_refused() -> None:
    with pytest.raises(BadImage, match="separate planes of 16-bit samples are not supported; save"):
        read(tiff(as_dtype(picture(3), "u2"), photometric=RGB, planar=2))


def test_a_thumbnail_of_a_raw_file_is_refused() -> None:
    with pytest.raises(BadImage, match="the first page is a thumbnail"):
        read(tiff(picture(), tags={NEW_SUBFILE_TYPE: 1}))


def test_a_tiff_that_pillow_cannot_read_is_named() -> None:
    with pytest.raises(BadImage, match="a TIFF with samples that are not supported"):
        read(tiff(picture().astype(np.float64)))


def test_a_transparent_grey_of_16_bits_becomes_white(tmp_path: Path) -> None:
    levels = as_dtype(picture(), "u2")
    Image.fromarray(levels).save(tmp_path / "image.png", transparency=0)
    assert decode(tmp_path / "image.png", SIZE)[0, :2, 0].tolist() == [255, 255]


@pytest.mark.parametrize("dtype", ["u2", "i4", "f4"])
@pytest.mark.parametrize("white", [1, 255, 4095, 65535])
def test_a_deep_mask_is_read_whatever_its_white(dtype: str, white: int, tmp_path: Path) -> None:
    crack = picture() > 127
    (tmp_path / "mask.tif").write_bytes(tiff((crack * white).astype(dtype)))
    assert np.array_equal(decode_mask(tmp_path / "mask.tif", SIZE), crack)


def test_only_deep_files_have_a_mark_in_their_digest(tmp_path: Path) -> None:
    root = make_folders(tmp_path / "data", {"crack": 2, "noncrack": 2})
    deep = root / "crack" / "deep.png"
    Image.fromarray(as_dtype(picture(), "u2")).save(deep)
    assert is_deep_file(deep)
    assert not is_deep_file(root / "crack" / "000.png")
    digests = [digests_of(root, white_level, tmp_path) for white_level in (None, 65535, 4095)]
    assert [len({found[name] for found in digests}) for name in ("crack/deep.png", "crack/000.png")] == [3, 1]
    assert len(digests[0]["crack/000.png"]) == 64


def digests_of(root: Path, white_level: float | None, tmp_path: Path) -> dict[str, str]:
    source = open_source(FolderData(root=str(root), white_level=white_level), tmp_path / "cache")
    records = source.list_records()
    for record in records:
        assert source.read(record, 8).shape == (8, 8, 3)
    return {record.name: record.digest for record in records}
