"""The manifest of `data=folder`, which gives images their groups."""

from pathlib import Path

import pytest

from crackdet.core.errors import UserError
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
