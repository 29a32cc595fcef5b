"""Thumbnails in a report."""

import base64
import hashlib
import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from crackdet.data.records import ImageRecord
from crackdet.data.sources.factory import open_source
from crackdet.data.tiles import parse_name
from crackdet.report.galleries import MAX_OF_PHOTOGRAPH, GalleryBuilder
from crackdet.report.thumbnails import SIDE, NoThumbnail, Thumbnails
from crackdet.store.config_file import write_config
from crackdet.store.predictions import Predictions
from crackdet.store.run import Run
from tests.composing import compose
from tests.data.walls import SIZE, TILE, make_walls, render_wall, save_photograph


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


def run_on_walls(folder: Path) -> tuple[Run, list[ImageRecord]]:
    """Return a run on tiles of the photographs in `walls`, and the records of the tiles."""
    root = make_walls(folder / "walls")
    config = compose(["data=masks", f"data.root={root}", f"data.tile={TILE}", f"runtime.cache={folder / 'cache'}"])
    run = Run(folder, "custom-0123456789ab")
    run.directory.mkdir()
    write_config(run, config)
    return run, open_source(config.data, folder / "cache").list_records()


def test_a_tile_is_shown_with_its_place_in_the_photograph(tmp_path: Path) -> None:
    run, records = run_on_walls(tmp_path)
    for record in records[:3]:
        thumbnail = Thumbnails(run).get(record.name, record.digest)
        photograph, box = parse_name(record.name)
        assert box is not None and thumbnail.context is not None
        tile = Image.open(tmp_path / "walls" / photograph).crop(box.corners)
        assert difference(read_uri(thumbnail.uri), tile.resize((SIDE, SIDE))) < 5  # WebP is lossy
        context = read_uri(thumbnail.context)
        scale = SIDE / SIZE[0]
        assert context.size == (SIDE, round(SIZE[1] * scale))
        place = context.crop(tuple(round(side * scale) for side in box.corners))  # type: ignore[arg-type]
        inside = (10, 10, place.width - 10, place.height - 10)
        assert difference(place.crop(inside), tile.resize(place.size).crop(inside)) < 8
        edge = np.asarray(place, float)[12:-12, 1]
        assert (edge[:, 0] - edge[:, 2]).mean() > 100  # orange


def test_a_photograph_that_has_changed_has_no_thumbnails_of_its_tiles(tmp_path: Path) -> None:
    run, records = run_on_walls(tmp_path)
    save_photograph(tmp_path / "walls" / parse_name(records[0].name)[0], render_wall(50).image)
    with pytest.raises(NoThumbnail, match=r"#.* has changed since the run was evaluated on it"):
        Thumbnails(run).get(records[0].name, records[0].digest)


@pytest.mark.parametrize("folder", ["..", "images/../..", "{absolute}"])
def test_a_tile_of_a_photograph_outside_the_root_is_not_read(folder: str, tmp_path: Path) -> None:
    """The names come from a store, which may be another user's."""
    run, _ = run_on_walls(tmp_path)
    secret = save_photograph(tmp_path / "secret.png", render_wall(0).image)
    digest = hashlib.sha256(secret.read_bytes()).hexdigest()
    name = f"{folder.format(absolute=tmp_path)}/secret.png"
    with pytest.raises(NoThumbnail, match=r"secret\.png is not in"):
        Thumbnails(run).get(f"{name}#0,0,32x32", f"{digest}:0,0,32x32")


def test_a_gallery_shows_few_tiles_of_one_photograph(tmp_path: Path) -> None:
    run, records = run_on_walls(tmp_path)
    tiles = sorted(records, key=lambda record: record.name)
    of_first = [record for record in tiles if record.name.startswith("images/0")]
    others = [record for record in tiles if record not in of_first][:3]
    shown = [*of_first, *others]
    predictions = Predictions(
        [record.name for record in shown],
        [record.digest for record in shown],
        None,
        np.zeros(len(shown), np.bool_),
        np.linspace(3, 1, len(shown)),  # all are mistakes
    )
    gallery = GalleryBuilder(SimpleNamespace(run=run, id=run.id)).hardest(predictions)  # type: ignore[arg-type]
    assert [picture.path for picture in gallery.pictures] == [
        record.name for record in (*of_first[:MAX_OF_PHOTOGRAPH], *others)
    ]
    assert len(of_first) > MAX_OF_PHOTOGRAPH
    assert "the 7 most confident mistakes, at most 4 of one photograph" in gallery.introduction


def read_uri(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB")


def difference(first: Image.Image, second: Image.Image) -> float:
    """Return the mean difference of two images in grey levels."""
    return float(np.abs(np.asarray(first, float) - np.asarray(second, float)).mean())
