"""Near-duplicates: planted copies are found and named, and other photographs are not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from crackdet.core.reading import file_digest
from crackdet.doctor.copies import CopyPair, find_copies
from crackdet.doctor.grouping import chain, group_names, join, report_copies, write_groups
from crackdet.doctor.photographs import Photograph

SIDE = 200
NUM_WALLS = 10


def wall(seed: int) -> Image.Image:
    """Return a photograph with a texture of its own: noise of several sizes."""
    rng = np.random.default_rng(seed)
    layers = [
        np.asarray(Image.fromarray(rng.integers(0, 256, (size, size), dtype=np.uint8)).resize((SIDE, SIDE)), float)
        for size in (12, 25, 50)
    ]
    return Image.fromarray(np.mean(layers, axis=0).astype(np.uint8)).filter(ImageFilter.GaussianBlur(1)).convert("RGB")


CHANGES = {
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "mirrored top to bottom": lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    "rotated by 180 degrees": lambda image: image.transpose(Image.Transpose.ROTATE_180),
    "re-encoded": lambda image: image.point(lambda value: value * 0.8 + 20),
    "cropped": lambda image: image.crop((40, 20, 180, 160)).resize((SIDE, SIDE)),
}


def photograph(file: Path, split: str = "train", group: str | None = None, crack: bool = True) -> Photograph:
    return Photograph(file.name, file_digest(file), split, group, crack, file)


@pytest.fixture(scope="module")
def walls(tmp_path_factory: pytest.TempPathFactory) -> list[Photograph]:
    """Ten walls, and a copy of the first five with one change each."""
    folder = tmp_path_factory.mktemp("walls")
    for number in range(NUM_WALLS):
        wall(number).save(folder / f"wall{number}.jpg", quality=90)
    for number, change in enumerate(CHANGES.values()):
        change(wall(number)).save(folder / f"xcopy{number}.jpg", quality=60)
    (folder / "zsame.jpg").write_bytes((folder / "wall9.jpg").read_bytes())
    return [photograph(file) for file in sorted(folder.iterdir())]


@pytest.fixture(scope="module")
def pairs(walls: list[Photograph]) -> list[CopyPair]:
    return find_copies(walls)


def test_every_planted_copy_is_found_and_nothing_else(walls: list[Photograph], pairs: list[CopyPair]) -> None:
    found = {(walls[pair.first].name, walls[pair.second].name): pair.kind for pair in pairs}
    expected = {(f"wall{n}.jpg", f"xcopy{n}.jpg"): kind for n, kind in enumerate(CHANGES)}
    assert found == expected | {("wall9.jpg", "zsame.jpg"): "identical"}


def test_the_overlap_is_the_share_of_the_smaller_extent(walls: list[Photograph], pairs: list[CopyPair]) -> None:
    by_kind = {pair.kind: pair.overlap for pair in pairs}
    assert by_kind["cropped"] == pytest.approx(1, abs=0.05)  # all that the crop shows
    assert by_kind["mirrored"] == pytest.approx(1, abs=0.02)


def test_copies_in_other_splits_and_with_other_labels_are_reported(
    walls: list[Photograph], pairs: list[CopyPair]
) -> None:
    changed = [
        Photograph(
            w.name, w.digest, "valid" if w.name.startswith("x") else "train", None, w.name != "zsame.jpg", w.file
        )
        for w in walls
    ]
    report = report_copies(changed, pairs)
    assert report.leaked == {"valid": 5}
    assert [(changed[p.first].name, changed[p.second].name) for p in report.contradictory] == [
        ("wall9.jpg", "zsame.jpg")
    ]
    assert sorted(map(len, report.groups)) == [2] * 6


def test_the_proposed_groups_keep_copies_together(
    tmp_path: Path, walls: list[Photograph], pairs: list[CopyPair]
) -> None:
    write_groups(tmp_path / "groups.csv", walls, pairs)
    rows = dict(line.split(",") for line in (tmp_path / "groups.csv").read_text().splitlines()[1:])
    assert all(rows[walls[pair.first].name] == rows[walls[pair.second].name] for pair in pairs)
    assert len(set(rows.values())) == NUM_WALLS
    assert rows == group_names(walls, pairs)


def test_a_given_group_stays_together_with_the_copies_of_its_photographs(
    tmp_path: Path, walls: list[Photograph]
) -> None:
    given = [
        Photograph(w.name, w.digest, w.split, "north" if i < 2 else None, True, w.file) for i, w in enumerate(walls)
    ]
    write_groups(tmp_path / "groups.csv", given, [CopyPair(1, 3, "mirrored", 1.0, 0.9)])
    rows = dict(line.split(",") for line in (tmp_path / "groups.csv").read_text().splitlines()[1:])
    assert len({rows[given[index].name] for index in (0, 1, 3)}) == 1


def test_given_groups_that_copies_chain_to_one_are_not_kept(tmp_path: Path, walls: list[Photograph]) -> None:
    given = [replace(one, group="north" if index < 8 else "south") for index, one in enumerate(walls)]
    pairs = [CopyPair(1, 9, "mirrored", 1.0, 0.9)]
    assert "the given groups are not kept" in write_groups(tmp_path / "groups.csv", given, pairs)
    names = group_names(given, pairs)
    assert names[given[1].name] == names[given[9].name]
    assert len(set(names.values())) == len(walls) - 1


def test_a_large_given_group_without_copies_is_kept(tmp_path: Path, walls: list[Photograph]) -> None:
    given = [replace(one, group="north" if index < 8 else "south") for index, one in enumerate(walls)]
    assert write_groups(tmp_path / "groups.csv", given, []) == f"2 groups of {len(walls)} photographs"


def test_the_chain_of_a_group_names_its_least_certain_pair(walls: list[Photograph]) -> None:
    pairs = [CopyPair(0, 1, "mirrored", 1.0, 0.9), CopyPair(1, 2, "cropped", 0.4, 0.61)]
    words = chain(walls, [0, 1, 2], pairs)
    assert words.startswith("2 pairs (1 mirrored, 1 cropped)")
    assert words.endswith(f"{walls[1].name} and {walls[2].name} (cropped, correlation 0.61)")


def test_photographs_of_one_colour_have_no_copies(tmp_path: Path) -> None:
    for number in range(3):
        Image.new("RGB", (SIDE, SIDE), (number, number, number)).save(tmp_path / f"{number}.png")
    assert find_copies([photograph(file) for file in sorted(tmp_path.iterdir())]) == []


@pytest.mark.parametrize("content", [b"no image", b"\xff\xd8 no JPEG", b""])
def test_an_unreadable_photograph_is_ignored(tmp_path: Path, walls: list[Photograph], content: bytes) -> None:
    (tmp_path / "bad.jpg").write_bytes(content)
    pairs = find_copies([photograph(tmp_path / "bad.jpg"), *walls[:2]])
    assert pairs == []


def test_each_copy_of_a_training_photograph_is_in_a_pair_with_one(tmp_path: Path, walls: list[Photograph]) -> None:
    """Of identical validation files that show a training photograph mirrored, each leaks; so does an identical one."""
    mirrored, original, same = walls[10], walls[0], walls[0]
    members = [
        replace(mirrored, name="a", split="valid"),
        replace(mirrored, name="b", split="valid"),
        replace(same, name="c", split="valid"),
        replace(original, name="d", split="train"),
        replace(same, name="e", split="valid"),
    ]
    assert report_copies(members, find_copies(members)).leaked == {"valid": 4}


def test_joined_positions_are_connected_by_pairs() -> None:
    pairs = [CopyPair(0, 1, "", 1, 1), CopyPair(1, 4, "", 1, 1)]
    assert sorted(map(sorted, join(5, pairs))) == [[0, 1, 4], [2], [3]]
