"""Thumbnails in a report."""

from pathlib import Path

import numpy as np
from PIL import Image

from crackdet.config.composing import compose
from crackdet.data.sources.factory import open_source
from crackdet.report.thumbnails import Thumbnails
from crackdet.store.config_file import write_config
from crackdet.store.run import Run


def test_images_of_sixteen_bits_have_thumbnails(tmp_path: Path) -> None:
    levels = np.linspace(0, 2**16 - 1, 32 * 32).astype(np.uint16).reshape(32, 32)
    for name in ("cracked", "uncracked"):
        (tmp_path / "images" / name).mkdir(parents=True)
        Image.fromarray(levels).save(tmp_path / "images" / name / "wall.png")
    config = compose(["data=folder", f"data.root={tmp_path / 'images'}", f"runtime.cache={tmp_path / 'cache'}"])
    run = Run(tmp_path, "custom-0123456789ab")
    run.directory.mkdir()
    write_config(run, config)
    records = open_source(config.data, tmp_path / "cache").list_records()
    thumbnails = Thumbnails(run)
    assert all(thumbnails.get(record.name, record.digest).uri.startswith("data:image/webp") for record in records)
