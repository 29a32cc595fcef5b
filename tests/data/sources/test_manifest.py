"""The manifest of `data=folder`, which gives images their groups."""

import os
from pathlib import Path

import pytest

from crackdet.core.errors import UserError
from crackdet.data.sources.factory import open_source
from tests.data.sources.conftest import ListRecords, folder_data, names_in, write_manifest


def test_the_manifest_gives_each_image_its_group(root: Path, list_records: ListRecords) -> None:
    walls = {name: f"wall {number % 3}" for number, name in enumerate(names_in(root))}
    write_manifest(root, walls)
    assert {record.name: record.group for record in list_records(folder_data(root, groups="wall"))} == walls


def test_the_manifest_is_not_read_without_data_groups(root: Path, list_records: ListRecords) -> None:
    (root / "manifest.csv").write_bytes(b"\xff\xfe nonsense")
    assert {record.group for record in list_records(folder_data(root))} == {None}


def test_a_manifest_saved_by_a_spreadsheet_is_read(root: Path, list_records: ListRecords) -> None:
    rows = [f'"{name}",x' for name in names_in(root)]
    (root / "manifest.csv").write_text("\r\n".join(["path,wall", *rows, ""]), encoding="utf-8-sig")
    assert {record.group for record in list_records(folder_data(root, groups="wall"))} == {"x"}


@pytest.mark.parametrize(
    ("rows", "message"),
    [("{name}\n", "has no wall for {name}"), ("{name},a\n{name},b\n", "puts {name} into both a and b")],
)
def test_a_manifest_without_a_unique_group_is_rejected(
    root: Path, list_records: ListRecords, rows: str, message: str
) -> None:
    name = names_in(root)[0]
    (root / "manifest.csv").write_text("path,wall\n" + rows.format(name=name))
    with pytest.raises(UserError, match=message.format(name=name)):
        list_records(folder_data(root, groups="wall"))


def test_a_row_without_a_path_is_ignored(root: Path, list_records: ListRecords) -> None:
    rows = "".join(f"{name[:5]},{name}\n" for name in names_in(root))
    (root / "manifest.csv").write_text(f"wall,path\n{rows}north\n")
    assert {record.group for record in list_records(folder_data(root, groups="wall"))} == {
        name[:5] for name in names_in(root)
    }


def test_a_missing_manifest_is_rejected(root: Path, list_records: ListRecords) -> None:
    with pytest.raises(UserError, match=r"data\.manifest=manifest\.csv: .* cannot be read"):
        list_records(folder_data(root, groups="wall"))


@pytest.mark.parametrize("content", [b"path,wall\n\xff\xfe,1\n", b'path,wall\n"a' + b"x" * 140_000 + b'",1\n'])
def test_an_unreadable_manifest_is_rejected(content: bytes, root: Path, list_records: ListRecords) -> None:
    (root / "manifest.csv").write_bytes(content)
    with pytest.raises(UserError, match=r"data\.manifest=manifest\.csv: .* cannot be read"):
        list_records(folder_data(root, groups="wall"))


@pytest.mark.parametrize(
    ("header", "missing"), [("path,block", "wall"), ("file,wall", "path"), ("", "path")], ids=["group", "path", "all"]
)
def test_a_manifest_without_a_column_is_rejected(
    header: str, missing: str, root: Path, list_records: ListRecords
) -> None:
    (root / "manifest.csv").write_text(f"{header}\n")
    with pytest.raises(UserError, match=rf"data\.groups=wall: .* has no column {missing}; it has"):
        list_records(folder_data(root, groups="wall"))


def test_a_manifest_without_a_row_for_an_image_is_rejected(root: Path, list_records: ListRecords) -> None:
    write_manifest(root, {name: "1" for name in names_in(root) if name != "crack/002.png"})
    with pytest.raises(UserError, match=r"data\.manifest=manifest\.csv: has no row for crack/002\.png"):
        list_records(folder_data(root, groups="wall"))


# --- manifests as people write them -------------------------------------------------------------------

SPELLINGS = {
    "backslashes": lambda root, name: name.replace("/", "\\"),
    "a leading dot": lambda root, name: f"./{name}",
    "absolute": lambda root, name: str(root / name),
    "absolute by another way": lambda root, name: f"{root}/../{root.name}/{name}",
    "relative to the manifest": lambda root, name: f"../data/{name}",
    "spaces": lambda root, name: f"  {name} ",
    "upper case": lambda root, name: name.upper(),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_paths_are_found_in_every_spelling(spelling: str, root: Path, list_records: ListRecords) -> None:
    folder = root.parent / "tables"
    folder.mkdir()
    walls = {name: f"wall {number % 3}" for number, name in enumerate(names_in(root))}
    write_manifest(folder, {SPELLINGS[spelling](root, name): wall for name, wall in walls.items()})
    data = folder_data(root, groups="wall", manifest="../tables/manifest.csv")
    assert {record.name: record.group for record in list_records(data)} == walls


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("header", ["path{0}wall", " Path {0} Wall ", "sep={0}\npath{0}wall"])
def test_separators_encodings_and_headers_of_spreadsheets_are_read(
    separator: str, encoding: str, header: str, root: Path, list_records: ListRecords
) -> None:
    lines = [header.format(separator), *(f"{name}{separator}Mauer ä" for name in names_in(root)), ""]
    (root / "manifest.csv").write_text("\n".join(lines), encoding=encoding)
    assert {record.group for record in list_records(folder_data(root, groups="wall"))} == {"Mauer ä"}


@pytest.mark.parametrize("other", ["wall 1", "Wall  1", " Wall 1 ", "WALL 1\t", "Wall\u00a01"])
def test_groups_that_differ_in_case_or_spaces_are_one(
    other: str, root: Path, tmp_path: Path, list_records: ListRecords
) -> None:
    write_manifest(root, {name: "Wall 1" if number % 2 else other for number, name in enumerate(names_in(root))})
    assert len({record.group for record in list_records(folder_data(root, groups="wall"))}) == 1


def test_merged_groups_and_images_without_a_group_are_told(root: Path, tmp_path: Path) -> None:
    names = names_in(root)
    write_manifest(root, dict.fromkeys(names, "Wall") | {names[0]: "wall", names[1]: " "})
    source = open_source(folder_data(root, groups="wall"), tmp_path / "cache")
    source.list_records()
    text = "\n".join(source.warnings)
    assert "spells a group as Wall, wall: used as one group" in text
    assert f"leaves 1 images without a group, such as {names[1]}" in text


def test_equal_rows_are_one(root: Path, list_records: ListRecords) -> None:
    rows = "".join(f"{name},a\n./{name},A\n" for name in names_in(root))
    (root / "manifest.csv").write_text(f"path,wall\n{rows}")
    assert {record.group for record in list_records(folder_data(root, groups="wall"))} == {"a"}


def test_paths_of_another_folder_are_shown(root: Path, list_records: ListRecords) -> None:
    write_manifest(root, {f"/elsewhere/{name}": "1" for name in names_in(root)})
    with pytest.raises(UserError, match=r"no row for crack/000\.png; .*; its first path is /elsewhere/crack/000\.png"):
        list_records(folder_data(root, groups="wall"))


@pytest.mark.parametrize(
    ("kind", "message"),
    [("latin-1", "not UTF-8; save"), ("pipe", "not a regular file"), ("folder", "not a regular file")],
)
def test_a_manifest_that_is_no_text_gives_one_message(
    kind: str, message: str, root: Path, list_records: ListRecords
) -> None:
    path = root / "manifest.csv"
    if kind == "latin-1":
        path.write_bytes("path,wall\nRißbild.png,Mauer ä\n".encode("latin-1"))
    else:
        os.mkfifo(path) if kind == "pipe" else path.mkdir()
    with pytest.raises(UserError, match=rf"data\.manifest=manifest\.csv: .* cannot be read .*{message}"):
        list_records(folder_data(root, groups="wall"))
