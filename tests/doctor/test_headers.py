"""What is read from the headers of image files."""

from pathlib import Path
from typing import Any

import pytest
from PIL import ExifTags, Image

from crackdet.doctor.headers import Header, read_header, read_headers


def save(path: Path, exif: Image.Exif | None = None, **options: Any) -> Path:
    Image.effect_noise((40, 30), 60).convert("RGB").save(path, exif=exif or Image.Exif(), **options)
    return path


@pytest.mark.parametrize("quality", [1, 10, 49, 50, 51, 75, 80, 93, 95, 100])
def test_the_quality_of_a_jpeg_is_that_it_was_saved_with(tmp_path: Path, quality: int) -> None:
    assert read_header(save(tmp_path / "a.jpg", quality=quality)).quality == quality


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_the_subsampling_of_a_jpeg_is_read(tmp_path: Path, subsampling: str) -> None:
    assert read_header(save(tmp_path / "a.jpg", subsampling=subsampling)).subsampling == subsampling


def test_camera_software_and_hour_come_from_the_exif_data(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Model], exif[ExifTags.Base.Software] = (
        "Canon",
        "Canon EOS 5D",
        "Ver. 1\0",
    )
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2024:05:06 14:30:00"
    header = read_header(save(tmp_path / "a.jpg", exif))
    assert (header.camera, header.software, header.hour) == ("Canon EOS 5D", "Ver. 1", 14.5)
    assert header.has_exif and (header.width, header.height) == (40, 30)


@pytest.mark.parametrize("time", ["", "yesterday", "2024:05:06", "2024:05:06 99:00:00", "2024:05:06 ::"])
def test_a_damaged_time_is_unknown(tmp_path: Path, time: str) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.DateTime] = time
    assert read_header(save(tmp_path / "a.jpg", exif)).hour is None


def test_other_formats_have_no_quality(tmp_path: Path) -> None:
    header = read_header(save(tmp_path / "a.png"))
    assert (header.file_format, header.quality, header.subsampling, header.has_exif) == ("PNG", None, None, False)


def test_a_file_that_is_missing_or_no_image_has_an_empty_header(tmp_path: Path) -> None:
    (tmp_path / "b.jpg").write_bytes(b"text")
    files = {"a": tmp_path / "a.jpg", "b": tmp_path / "b.jpg", "c": None, "d": save(tmp_path / "d.bmp")}
    headers = read_headers(files)
    assert [headers[name] for name in "abc"] == [Header()] * 3 and headers["d"].file_format == "BMP"
