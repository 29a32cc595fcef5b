"""`data.groups` without a column: by folder, by a pattern in the path, by the time of the photograph."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from crackdet.config.file_data import FilenameLabelsData
from crackdet.core.errors import UserError
from crackdet.data.sources import groups as module
from crackdet.data.sources.factory import open_source
from crackdet.data.sources.groups import assign_groups
from crackdet.data.sources.manifest import merge_spellings
from tests.data.image_files import make_folders, make_pixels, save_image
from tests.data.sources.conftest import folder_data, write_manifest

GroupsOf = Callable[..., dict[str, str | None]]
NOON = datetime(2024, 5, 1, 12, 0, 0)


@pytest.fixture
def groups_of(tmp_path: Path) -> GroupsOf:
    """Lists images in class folders; returns the group of each by name, and keeps the warnings."""

    def groups_of(root: Path, groups: str, **settings: object) -> dict[str, str | None]:
        source = open_source(folder_data(root, groups=groups, **settings), tmp_path / "cache")
        found = {record.name: record.group for record in source.list_records()}
        groups_of.warnings = "\n".join(source.warnings)  # type: ignore[attr-defined]
        return found

    return groups_of


def warnings_of(groups_of: GroupsOf) -> str:
    return str(groups_of.warnings)  # type: ignore[attr-defined]


# --- folders ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["{0}/{1}", "{1}/{0}", "2024/{0}/{1}"])
def test_the_folder_of_a_class_or_a_split_is_no_group(layout: str, tmp_path: Path, groups_of: GroupsOf) -> None:
    folders = [layout.format(name, wall) for name in ("crack", "intact") for wall in ("north", "south")]
    root = make_folders(tmp_path / "data", dict.fromkeys(folders, 2))
    found = groups_of(root, "folder")
    assert {group.rpartition("/")[2] for group in found.values() if group} == {"north", "south"}
    assert all(group and group.rpartition("/")[2] in name for name, group in found.items())
    assert warnings_of(groups_of).count("group") == 0


def test_a_level_takes_a_folder_further_up(tmp_path: Path, groups_of: GroupsOf) -> None:
    walls = [f"{name}/{wall}/{day}" for name in ("crack", "intact") for wall in "ab" for day in ("mon", "tue")]
    root = make_folders(tmp_path / "data", {**dict.fromkeys(walls, 1), "crack/c": 1})
    assert set(groups_of(root, "folder").values()) == {"a/mon", "a/tue", "b/mon", "b/tue", "c"}
    assert groups_of(root, "folder") == groups_of(root, "folder:1")
    assert set(groups_of(root, "folder:2").values()) == {"a", "b", None}
    assert "data.groups=folder:2 leaves 1 images without a group (in no folder" in warnings_of(groups_of)
    with pytest.raises(UserError, match=r"data\.groups=folder:3: the images are in fewer than 3 folders"):
        groups_of(root, "folder:3")


@pytest.mark.parametrize("level", ["0", "x", "-1", "10", ""])
def test_a_level_that_is_none_is_refused(level: str, root: Path, groups_of: GroupsOf) -> None:
    with pytest.raises(UserError, match=rf"data\.groups=folder:{level}: must be folder, or folder:LEVEL|in no folder"):
        groups_of(root, f"folder:{level}")


def test_images_in_class_folders_only_have_no_folder_of_their_own(root: Path, groups_of: GroupsOf) -> None:
    with pytest.raises(UserError, match=r"data\.groups=folder: the images are in no folder but those of classes"):
        groups_of(root, "folder")


def test_a_column_of_such_a_name_is_given_as_a_column(root: Path, groups_of: GroupsOf) -> None:
    names = [path.relative_to(root).as_posix() for path in root.rglob("*.png")]
    for column in ("folder", "time:1"):
        write_manifest(root, {name: name[-5] for name in names}, column)
        assert groups_of(root, f"column:{column}") == {name: name[-5] for name in names}


# --- patterns ---------------------------------------------------------------------------------------------------


def walls(tmp_path: Path, *names: str) -> Path:
    """Images of these names in both classes."""
    for number, name in enumerate(names):
        save_image(tmp_path / "data" / "crack" / name, number)
        save_image(tmp_path / "data" / "intact" / name, 100 + number)
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (r"^(\w+)_", {"wall_a", "wall_b"}),
        (r"^wall_.", {"wall_a", "wall_b"}),
        (r"(wall)_(.)_", {"wall a", "wall b"}),
        (r"wall_(?P<letter>\w)(_x)?", {"a", "b"}),
        (r"(crack|intact)/wall", {"crack", "intact"}),
    ],
)
def test_a_pattern_groups_by_its_groups_or_its_match(
    pattern: str, expected: set[str], tmp_path: Path, groups_of: GroupsOf
) -> None:
    root = walls(tmp_path, "wall_a_1.png", "wall_a_2.png", "wall_b_1.png")
    assert set(groups_of(root, f"regex:{pattern}").values()) == expected


def test_spellings_of_a_pattern_are_merged_and_told(tmp_path: Path, groups_of: GroupsOf) -> None:
    root = walls(tmp_path, "w1_1.png", "W1_2.png", "w01_3.png", "w2_4.png", "loose.png")
    found = groups_of(root, r"regex:^(w\d+)_|^(W\d+)_")
    assert set(found.values()) == {"W1", "w01", "w2", None}
    for expected in (
        "spells a group as W1, w1: used as one group",
        "may be the same number: W1, w01: used as different groups",
        "leaves 2 images without a group (the pattern does not match), such as crack/loose.png",
    ):
        assert expected in warnings_of(groups_of)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", r"is no regular expression \(missing .*\); an example is .data\.groups='regex:\^\(\\w\+\)_'"),
        ("wand", r"matches no file name, such as wall_a_1\.png"),
        ("north/", r"matches no path, such as crack/wall_a_1\.png"),
        ("^wall", "all images are in one group, wall, which cannot be split"),
    ],
)
def test_a_pattern_that_cannot_group_is_refused(
    pattern: str, message: str, tmp_path: Path, groups_of: GroupsOf
) -> None:
    root = walls(tmp_path, "wall_a_1.png", "wall_b_1.png")
    with pytest.raises(UserError, match=rf"data\.groups=regex:.*: {message}"):
        groups_of(root, f"regex:{pattern}")


def test_a_pattern_that_gives_each_image_its_own_group_is_told(tmp_path: Path, groups_of: GroupsOf) -> None:
    groups_of(walls(tmp_path, "wall_a_1.png", "wall_b_1.png"), "regex:.*/.*")
    assert "each image is a group of its own, such as crack/wall_a_1.png" in warnings_of(groups_of)


def test_images_labelled_by_their_file_names_have_groups_as_well(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for number, name in enumerate(["a_noncrack_1", "a_crack_2", "b_noncrack_3", "b_crack_4"]):
        save_image(root / "train" / "images" / f"{name}.png", number)
    data = FilenameLabelsData(root=str(root), groups="regex:^(.)_")
    records = open_source(data, tmp_path / "cache").list_records()
    assert {record.name[13:15]: record.group for record in records} == {"a_": "a", "b_": "b"}


# --- times ------------------------------------------------------------------------------------------------------


def photograph(path: Path, number: int, time: datetime | None, model: str = "X100", serial: str = "") -> None:
    """Save a JPEG photograph with the header of a camera."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Model] = "Fuji\0", model
    exif[ExifTags.Base.DateTime] = "2030:01:01 00:00:00"  # when a program has saved it
    inner = exif.get_ifd(ExifTags.IFD.Exif)
    if time is not None:
        inner[ExifTags.Base.DateTimeOriginal] = f"{time:%Y:%m:%d %H:%M:%S}"
        inner[ExifTags.Base.SubsecTimeOriginal] = f"{time.microsecond // 1000:03d}"
    if serial:
        inner[ExifTags.Base.BodySerialNumber] = serial
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(make_pixels(number)).save(path, exif=exif)


def shots(tmp_path: Path, times: Mapping[str, float | None], **camera: str) -> Path:
    """Photographs in both classes by name, and the seconds after noon at which they were taken."""
    for number, (name, seconds) in enumerate(times.items()):
        time = None if seconds is None else NOON + timedelta(seconds=seconds)
        folder = tmp_path / "data" / ("crack" if number % 2 else "intact")
        photograph(folder / f"{name}.jpg", number + len(list(tmp_path.rglob("*.jpg"))), time, **camera)
    return tmp_path / "data"


def by_stem(found: Mapping[str, str | None]) -> dict[str, str | None]:
    return {Path(name).stem: group for name, group in found.items()}


def test_shots_within_seconds_of_the_last_one_are_a_group(tmp_path: Path, groups_of: GroupsOf) -> None:
    root = shots(tmp_path, {"d": 30.5, "a": 0, "b": 9.5, "c": 19.5, "e": 40.5})
    found = by_stem(groups_of(root, "time:10"))
    assert found["a"] == found["b"] == found["c"] == "Fuji X100 2024-05-01 12:00:00"
    assert found["d"] == found["e"] == "Fuji X100 2024-05-01 12:00:30.500000"
    assert warnings_of(groups_of) == ""


def test_two_cameras_are_grouped_apart(tmp_path: Path, groups_of: GroupsOf) -> None:
    shots(tmp_path, {"a": 0, "b": 1})
    shots(tmp_path, {"c": 0, "d": 1}, model="X200")
    shots(tmp_path, {"e": 0, "f": 1}, serial="7")
    found = by_stem(groups_of(tmp_path / "data", "time:10"))
    assert found["a"] == found["b"] and found["c"] == found["d"] and found["e"] == found["f"]
    assert len(set(found.values())) == 3


def test_shots_of_one_second_are_apart_if_they_are_further_apart_than_allowed(
    tmp_path: Path, groups_of: GroupsOf
) -> None:
    found = by_stem(groups_of(shots(tmp_path, {"a": 0.1, "b": 0.2, "c": 0.7}), "time:0.25"))
    assert found["a"] == found["b"] != found["c"]


def test_photographs_without_a_time_are_alone_and_counted(tmp_path: Path, groups_of: GroupsOf) -> None:
    root = shots(tmp_path, {"a": 0, "b": 1, "c": 99, "d": 99.5, "e": None})
    save_image(root / "crack" / "f.png", 8)
    (root / "crack" / "g.jpg").write_bytes(b"no image")
    found = by_stem(groups_of(root, "time:10"))
    assert {name for name, group in found.items() if group is None} == {"e", "f", "g"}
    assert "data.groups=time:10 leaves 3 images without a group (no EXIF time), such as" in warnings_of(groups_of)


def test_headers_are_read_again_only_if_a_file_has_changed(
    tmp_path: Path, groups_of: GroupsOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = shots(tmp_path, {"a": 0, "b": 1, "c": 99, "d": 100})
    opened: list[str] = []
    original = module._shot
    monkeypatch.setattr(module, "_shot", lambda path: opened.append(path.stem) or original(path))  # type: ignore[func-returns-value]
    before = groups_of(root, "time:10")
    assert sorted(opened) == ["a", "b", "c", "d"]
    assert groups_of(root, "time:10") == before and len(opened) == 4
    photograph(root / "intact" / "a.jpg", 0, NOON + timedelta(seconds=101))
    after = by_stem(groups_of(root, "time:10"))
    assert opened[4:] == ["a"] and after["a"] == after["c"]


@pytest.mark.parametrize("seconds", ["0", "-1", "inf", "nan", "ten", ""])
def test_a_time_that_is_no_number_above_zero_is_refused(seconds: str, root: Path, groups_of: GroupsOf) -> None:
    with pytest.raises(UserError, match=rf"data\.groups=time:{seconds}: must be time:SECONDS, as in time:10"):
        groups_of(root, f"time:{seconds}")


def test_images_without_any_time_are_refused(root: Path, groups_of: GroupsOf) -> None:
    with pytest.raises(UserError, match=r"data\.groups=time:5: no image has an EXIF time, such as"):
        groups_of(root, "time:5")


@given(st.lists(st.floats(0, 300), min_size=2, max_size=12), st.floats(0.5, 60))
@settings(max_examples=60, deadline=None)
def test_two_shots_are_in_one_group_if_no_gap_between_them_is_longer(times: list[float], seconds: float) -> None:
    facts = [["camera", time] for time in times]
    names = [f"{number}.jpg" for number in range(len(times))]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "find_facts", lambda *_: (facts, {}))
        try:
            found, _ = assign_groups(f"time:{seconds}", "", Path(), Path(), names, list, bool)
        except UserError as error:
            assert "all images are in one group" in str(error)
            found = dict.fromkeys(names, "all")
    ordered = sorted(times)
    for first in range(len(times)):
        for second in range(len(times)):
            low, high = sorted((times[first], times[second]))
            between = [time for time in ordered if low <= time <= high]
            chained = all(late - early <= seconds for early, late in pairwise(between))
            assert (found[names[first]] == found[names[second]]) is chained


# --- spellings --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other", ["WALL 1", " wall  1 ", "\uff37\uff41\uff4c\uff4c 1", "Wall\u200b 1", "\ufeffWall 1", "Wall \u00b9"]
)
def test_spellings_that_look_alike_are_one_group(other: str) -> None:
    found, warnings = merge_spellings({"a": "Wall 1", "b": other, "c": "Wall 2"}, "here")
    assert found["a"] == found["b"] != found["c"] and "spells a group as" in "".join(warnings)


@given(st.dictionaries(st.integers(0, 5).map(str), st.text("aA 01\u200b\uff11", max_size=4), max_size=6))
@settings(max_examples=60, deadline=None)
def test_each_image_keeps_one_of_the_spellings_of_its_group(given_groups: dict[str, str]) -> None:
    found, _ = merge_spellings(given_groups, "here")
    assert found.keys() == given_groups.keys()
    spellings = {" ".join(group.split()) for group in given_groups.values()}
    assert set(found.values()) <= spellings | {""}
    for one in given_groups:
        for other in given_groups:
            if " ".join(given_groups[one].split()) == " ".join(given_groups[other].split()):
                assert found[one] == found[other]


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [("1", "01", True), ("wall 2", "Wall 002", True), ("1.05", "1.5", False), ("10", "1", False), ("0", "00", True)],
)
def test_numbers_with_leading_zeros_stay_apart_and_are_told(one: str, other: str, told: bool) -> None:
    found, warnings = merge_spellings({"a": one, "b": other}, "here")
    assert found == {"a": one, "b": other}
    assert ("may be the same number" in "".join(warnings)) is told
