"""Decoding of image files of every common format."""

import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms.v2 import functional

from crackdet.data.decode import IMAGE_EXTENSIONS, BadImage, decode, open_rgb
from tests.data.image_files import make_pixels

SIZE = 16
LOSSLESS: dict[str, dict[str, Any]] = {".webp": {"lossless": True}} | {
    extension: {} for extension in (".png", ".bmp", ".tif", ".tiff", ".dib", ".jp2", ".j2k", ".jpf", ".jpx", ".ppm")
}
LOSSY: dict[str, dict[str, Any]] = {
    extension: {"quality": 95} for extension in (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".avif", ".webp")
}
OTHER = {".gif", ".pgm", ".pnm", ".pbm", ".heic", ".heif", ".hif"}  # with few colours, or not written by Pillow alone
ORIENTATION = 0x0112
STORED: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {  # pixels as stored, by orientation
    1: lambda upright: upright,
    2: np.fliplr,
    3: lambda upright: np.rot90(upright, 2),
    4: np.flipud,
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: np.rot90(upright, 2).swapaxes(0, 1),
    8: lambda upright: np.rot90(upright, -1),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("decode")


def grey(value: int) -> list[int]:
    return [value] * 3


def colours(path: Path) -> list[list[int]]:
    """The colours of the left and of the right half of a decoded image."""
    pixels = decode(path, SIZE)
    return [pixels[SIZE // 2, 1].tolist(), pixels[SIZE // 2, -2].tolist()]


def halves(mode: str, left: object, right: object) -> Image.Image:
    """Return an image with one colour on the left and another on the right."""
    image = Image.new(mode, (SIZE, SIZE), left)  # type: ignore[arg-type]
    image.paste(right, (SIZE // 2, 0, SIZE, SIZE))  # type: ignore[arg-type]
    return image


def halves16(left: int, right: int, byte_order: str = "<") -> Image.Image:
    """Return 16-bit `halves`: Pillow's `paste` writes only the lower byte."""
    values = np.full((SIZE, SIZE), left, dtype=f"{byte_order}u2")
    values[:, SIZE // 2 :] = right
    return Image.fromarray(values)


@pytest.mark.parametrize("extension", LOSSLESS)
def test_a_lossless_file_keeps_its_pixels(extension: str, tmp_path: Path) -> None:
    path = tmp_path / f"image{extension}"
    Image.fromarray(make_pixels(1, SIZE)).save(path, **LOSSLESS[extension])
    pixels = decode(path, SIZE)
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, make_pixels(1, SIZE))


@pytest.mark.parametrize("extension", LOSSY)
def test_a_lossy_file_keeps_nearly_its_pixels(extension: str, tmp_path: Path) -> None:
    path = tmp_path / f"image{extension}"
    Image.fromarray(make_pixels(1, 64)).save(path, **LOSSY[extension])
    assert np.abs(decode(path, 64).astype(int) - make_pixels(1, 64)).mean() < 4


def test_every_format_that_is_looked_for_is_tested_here() -> None:
    assert set(IMAGE_EXTENSIONS) == LOSSLESS.keys() | LOSSY.keys() | OTHER


@settings(max_examples=25, deadline=None)
@given(width=st.integers(1, 90), height=st.integers(1, 90), size=st.integers(1, 70))
def test_resizing_equals_torchvision(folder: Path, width: int, height: int, size: int) -> None:
    noise = np.random.default_rng(width * 100 + height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "noise.png")
    reference = functional.resize(Image.fromarray(noise), [size, size])  # the preprocessing of the article
    assert np.array_equal(decode(folder / "noise.png", size), np.asarray(reference))


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        pytest.param(halves("L", 10, 200), [grey(10), grey(200)], id="grey"),
        pytest.param(halves("1", 0, 1), [grey(0), grey(255)], id="black and white"),
        pytest.param(halves("RGB", (255, 0, 0), (0, 0, 255)).quantize(2), [[255, 0, 0], [0, 0, 255]], id="palette"),
        pytest.param(halves("RGBA", (9, 80, 7, 255), (9, 80, 7, 0)), [[9, 80, 7], grey(255)], id="transparent"),
        pytest.param(halves("RGBA", (0, 0, 0, 255), (0, 0, 0, 51)), [grey(0), grey(204)], id="half transparent"),
        pytest.param(halves("LA", (50, 255), (50, 0)), [grey(50), grey(255)], id="grey and transparent"),
        pytest.param(halves16(0x1234, 0xFEDC), [grey(0x12), grey(0xFE)], id="16-bit grey"),
    ],
)
def test_a_png_of_any_mode_becomes_rgb(image: Image.Image, expected: list[list[int]], tmp_path: Path) -> None:
    image.save(tmp_path / "image.png")
    assert colours(tmp_path / "image.png") == expected


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        pytest.param(halves("CMYK", (0, 255, 255, 0), (0, 0, 0, 255)), [[255, 0, 0], grey(0)], id="cmyk"),
        pytest.param(halves16(0x1234, 0xFEDC), [grey(0x12), grey(0xFE)], id="16-bit grey"),
        pytest.param(halves16(0x1234, 0xFEDC, ">"), [grey(0x12), grey(0xFE)], id="16-bit grey, big-endian"),
        pytest.param(halves("F", 0.2, 1.0), [grey(51), grey(255)], id="floats up to 1"),
        pytest.param(halves("F", 0.2, float("nan")), [grey(51), grey(0)], id="floats that are none"),
    ],
)
def test_a_tiff_of_any_mode_becomes_rgb(image: Image.Image, expected: list[list[int]], tmp_path: Path) -> None:
    image.save(tmp_path / "image.tif")
    assert colours(tmp_path / "image.tif") == expected


def test_one_bright_pixel_does_not_darken_a_float_image(tmp_path: Path) -> None:
    values = np.full((SIZE, SIZE), 0.6, dtype=np.float32)
    values[0, 0] = 1.2
    Image.fromarray(values).save(tmp_path / "image.tif")
    assert colours(tmp_path / "image.tif") == [grey(153), grey(153)]


def test_a_transparent_colour_becomes_white(tmp_path: Path) -> None:
    halves("RGB", (255, 0, 0), (0, 0, 255)).save(tmp_path / "rgb.png", transparency=(0, 0, 255))
    halves("L", 0, 7).save(tmp_path / "grey.png", transparency=7)
    halves("RGB", (255, 0, 0), (0, 0, 255)).quantize(2).save(tmp_path / "palette.png", transparency=0)
    assert colours(tmp_path / "rgb.png") == [[255, 0, 0], grey(255)]
    assert colours(tmp_path / "grey.png") == [grey(0), grey(255)]
    assert grey(255) in colours(tmp_path / "palette.png")


def test_a_cmyk_jpeg_is_not_inverted(tmp_path: Path) -> None:
    halves("CMYK", (0, 0, 0, 0), (0, 0, 0, 255)).save(tmp_path / "print.jpg", quality=95)
    left, right = colours(tmp_path / "print.jpg")
    assert min(left) > 245
    assert max(right) < 10


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("extension", [".png", ".tif", ".webp"])
def test_an_image_is_turned_upright(orientation: int, extension: str, tmp_path: Path) -> None:
    upright = make_pixels(5, SIZE)
    image = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image.save(tmp_path / f"turned{extension}", exif=exif, **LOSSLESS[extension])
    assert np.array_equal(decode(tmp_path / f"turned{extension}", SIZE), upright)


@pytest.mark.parametrize("orientation", STORED)
def test_a_jpeg_is_turned_upright(orientation: int, tmp_path: Path) -> None:
    upright = make_pixels(5, 64)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = np.ascontiguousarray(STORED[orientation](upright))
    Image.fromarray(stored).save(tmp_path / "phone.jpg", exif=exif, quality=95)
    assert np.abs(decode(tmp_path / "phone.jpg", 64).astype(int) - upright).mean() < 4


def test_a_16_bit_image_is_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 3
    halves16(0x1000, 0x2000).save(tmp_path / "image.png", exif=exif)
    assert colours(tmp_path / "image.png") == [grey(0x20), grey(0x10)]


RESOLUTION_UNIT, GPS, SHORT, LONG = 0x0128, 0x8825, 3, 4


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param((RESOLUTION_UNIT, LONG, 70_000), id="a number that Pillow cannot write"),
        pytest.param((GPS, LONG, 60_000), id="a pointer beyond the end of the file"),
    ],
)
def test_an_image_with_damaged_metadata_is_turned_upright(entry: tuple[int, int, int], tmp_path: Path) -> None:
    upright = make_pixels(5, 64)
    header = b"II*\0" + struct.pack("<IH", 8, 2)
    entries = struct.pack("<HHII", ORIENTATION, SHORT, 1, 6) + struct.pack("<HHII", entry[0], entry[1], 1, entry[2])
    stored = np.ascontiguousarray(STORED[6](upright))
    exif = b"Exif\0\0" + header + entries + struct.pack("<I", 0)
    Image.fromarray(stored).save(tmp_path / "phone.jpg", exif=exif, quality=95)
    assert np.abs(decode(tmp_path / "phone.jpg", 64).astype(int) - upright).mean() < 4


@pytest.mark.filterwarnings("ignore")  # Pillow warns of damaged metadata
@settings(max_examples=150, deadline=None)
@given(noise=st.binary(min_size=1, max_size=80))
def test_random_metadata_do_not_change_the_pixels(folder: Path, noise: bytes) -> None:
    expected = decode(save_jpeg(folder / "plain.jpg"), SIZE)
    assert np.array_equal(
        decode(save_jpeg(folder / "noise.jpg", b"Exif\0\0II*\0\x08\0\0\0\x05\0" + noise), SIZE), expected
    )


def save_jpeg(path: Path, exif: bytes = b"") -> Path:
    Image.new("RGB", (8, 8), (10, 200, 90)).save(path, quality=95, exif=exif)  # any orientation is the same
    return path


def test_an_open_pillow_image_is_not_changed() -> None:
    opened = Image.fromarray(make_pixels(1, SIZE))
    opened.getexif()[ORIENTATION] = 3
    turned = open_rgb(opened)
    assert np.array_equal(np.asarray(turned), np.rot90(make_pixels(1, SIZE), 2))
    assert np.array_equal(np.asarray(opened), make_pixels(1, SIZE))
    plain = Image.fromarray(make_pixels(1, SIZE))
    open_rgb(plain).paste((0, 0, 0), (0, 0, SIZE, SIZE))
    assert np.array_equal(np.asarray(plain), make_pixels(1, SIZE))


@pytest.mark.parametrize("extension", sorted(LOSSLESS.keys() | LOSSY.keys()))
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9])
def test_a_truncated_file_raises_bad_image(extension: str, share: float, tmp_path: Path) -> None:
    path = tmp_path / f"image{extension}"
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(BadImage, match=r"\w"):
        decode(path, SIZE)


def test_a_text_file_raises_bad_image(tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("no image")
    with pytest.raises(BadImage, match="no image of a known format"):
        decode(tmp_path / "notes.jpg", SIZE)


def test_a_missing_file_raises_bad_image(tmp_path: Path) -> None:
    with pytest.raises(BadImage, match="No such file"):
        decode(tmp_path / "gone.jpg", SIZE)


@pytest.mark.filterwarnings("ignore")  # Pillow warns of damaged metadata
@settings(max_examples=150, deadline=None)
@given(
    extension=st.sampled_from([".jpg", ".png", ".bmp", ".webp"]),
    damage=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_a_damaged_file_is_decoded_or_raises_bad_image(
    folder: Path, extension: str, damage: list[tuple[int, int]]
) -> None:
    path = folder / f"damaged{extension}"
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.fromarray(make_pixels(3, 24)).save(path, exif=exif)
    content = bytearray(path.read_bytes())
    for position, value in damage:
        content[position % len(content)] = value
    path.write_bytes(content)
    try:
        pixels = decode(path, SIZE)
    except BadImage:
        return
    assert pixels.shape == (SIZE, SIZE, 3)


def test_an_image_with_too_many_pixels_raises_bad_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (64, 64)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(BadImage, match=r"^has more than 2\.1 billion pixels$"):
        decode(tmp_path / "large.png", 8)


@pytest.mark.parametrize("brand", [b"heic", b"mif1", b"hevc"])
def test_a_heif_file_without_pillow_heif_names_the_extra(
    brand: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    path = tmp_path / "phone.heic"
    path.write_bytes(b"\0\0\0\x18ftyp" + brand + bytes(40))
    with pytest.raises(BadImage, match=r"^HEIC and HEIF images need pillow-heif: uv pip install -e '\.\[heif\]'$"):
        decode(path, SIZE)


def test_a_heif_file_is_read_with_pillow_heif(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.from_pillow(Image.fromarray(make_pixels(1, 64))).save(tmp_path / "phone.jpg", quality=95)
    assert np.abs(decode(tmp_path / "phone.jpg", 64).astype(int) - make_pixels(1, 64)).mean() < 4


def test_a_file_that_pillow_would_pass_to_another_program_is_refused(tmp_path: Path) -> None:
    Image.fromarray(make_pixels(1, SIZE)).save(tmp_path / "picture.eps")
    (tmp_path / "picture.eps").rename(tmp_path / "picture.jpg")
    with pytest.raises(BadImage, match="no image of a known format"):
        decode(tmp_path / "picture.jpg", SIZE)


@pytest.mark.parametrize(("extension", "mode"), [(".gif", "P"), (".pgm", "L"), (".pnm", "L"), (".pbm", "1")])
def test_a_file_of_few_colours_keeps_its_pixels(extension: str, mode: str, tmp_path: Path) -> None:
    image = halves("L", 0, 255).convert(mode)
    image.save(tmp_path / f"image{extension}")
    assert colours(tmp_path / f"image{extension}") == [grey(0), grey(255)]


def test_the_first_frame_of_several_is_used(tmp_path: Path) -> None:
    frames = [halves("L", 10, 200), halves("L", 90, 120)]
    for name in ("scan.tif", "moving.gif", "moving.png"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        assert colours(tmp_path / name) == [grey(10), grey(200)]


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1)])
def test_an_extreme_shape_is_resized(size: tuple[int, int], tmp_path: Path) -> None:
    Image.new("L", size, 77).save(tmp_path / "image.png")
    assert (decode(tmp_path / "image.png", SIZE) == 77).all()


@pytest.mark.parametrize("content", [b"P5 0 4 255\n", b"GIF89a\0\0\0\0\0\0\0", b"BM" + bytes(60)])
def test_an_image_without_pixels_raises_bad_image(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(content)
    with pytest.raises(BadImage, match=r"\w"):
        decode(tmp_path / "image.png", SIZE)


def test_a_big_tiff_keeps_its_pixels(tmp_path: Path) -> None:
    Image.fromarray(make_pixels(1, SIZE)).save(tmp_path / "image.tif", big_tiff=True)
    assert np.array_equal(decode(tmp_path / "image.tif", SIZE), make_pixels(1, SIZE))
