"""Files that were copied incompletely are refused, whatever stands in place of what is missing."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from crackdet.data.decode import BadImage, decode
from tests.data.image_files import make_pixels

SIZE = 120
SHARES = [0.3, 0.5, 0.8]


def encoded(extension: str, **settings: Any) -> bytes:
    noise = np.random.default_rng(0).integers(-20, 20, (SIZE, SIZE, 3))
    image = Image.fromarray((make_pixels(1, SIZE) + noise).clip(0, 255).astype(np.uint8))
    content = io.BytesIO()
    image.save(content, Image.registered_extensions()[extension], **settings)
    return content.getvalue()


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp", ".avif", ".gif", ".jp2"])
def test_a_file_whose_end_was_never_written_is_refused(extension: str, share: float) -> None:
    content = encoded(extension)
    decode(io.BytesIO(content), 8)
    kept = int(share * len(content))
    with pytest.raises(BadImage, match=r"\w"):
        decode(io.BytesIO(content[:kept] + bytes(len(content) - kept)), 8)


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("restart_marker_rows", [0, 1])
def test_a_cut_jpeg_with_a_mark_of_its_end_is_refused(share: float, restart_marker_rows: int) -> None:
    content = encoded(".jpg", restart_marker_rows=restart_marker_rows)
    with pytest.raises(BadImage, match="its end is missing"):
        decode(io.BytesIO(content[: int(share * len(content))] + b"\xff\xd9"), 8)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("size", [(64, 48), (17, 33), (1, 1)])
def test_a_complete_jpeg_of_one_colour_below_is_read(mode: str, size: tuple[int, int], progressive: bool) -> None:
    image = Image.new("RGB", size, "grey")
    image.paste((200, 30, 60), (0, 0, size[0], size[1] // 2))
    content = io.BytesIO()
    image.convert(mode).save(content, "JPEG", progressive=progressive)
    assert decode(content, 8).shape == (8, 8, 3)


def test_a_complete_file_that_zeros_follow_is_read() -> None:
    for extension in (".jpg", ".png"):
        content = encoded(extension)
        assert np.array_equal(decode(io.BytesIO(content + bytes(512)), 8), decode(io.BytesIO(content), 8))
