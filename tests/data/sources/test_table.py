"""`data=table`: images whose labels, splits, groups and weights are in a table."""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crackdet.config.file_data import TableData
from crackdet.core.errors import UserError
from crackdet.data.records import ImageRecord, fingerprint
from crackdet.data.sources.factory import open_source
from tests.composing import compose
from tests.data.image_files import save_image
from tests.data.sources.conftest import ListRecords, folder_data, labels_and_splits, names_in

Rows = Sequence[Mapping[str, object]]


def table_data(root: Path, **settings: object) -> TableData:
    return replace(TableData(root=str(root), table="labels.csv"), **settings)  # type: ignore[arg-type]


def write_table(file: Path, rows: Rows) -> None:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with file.open("w", newline="") as opened:
        writer = csv.DictWriter(opened, columns)
        writer.writeheader()
        writer.writerows(rows)


def rows_of(root: Path, **columns: object) -> list[dict[str, object]]:
    """A row for each image in class folders, with the same values in more columns."""
    return [{"path": name, "label": name.split("/")[0], **columns} for name in names_in(root)]


@pytest.fixture
def list_table(root: Path, tmp_path: Path) -> Callable[..., tuple[list[ImageRecord], str]]:
    """Writes a table for the images of `root`, lists it, and returns the records and the warnings."""

    def list_table(rows: Rows, **settings: object) -> tuple[list[ImageRecord], str]:
        write_table(root / "labels.csv", rows)
        source = open_source(table_data(root, **settings), tmp_path / "cache")
        return source.list_records(), "\n".join(source.warnings)

    return list_table


ListTable = Callable[..., tuple[list[ImageRecord], str]]


def error_of(list_table: ListTable, rows: Rows, **settings: object) -> str:
    with pytest.raises(UserError) as caught:
        list_table(rows, **settings)
    return str(caught.value)


def test_a_table_of_class_folders_gives_the_records_of_the_folders(
    root: Path, list_records: ListRecords, list_table: ListTable
) -> None:
    assert list_table(rows_of(root)) == (list_records(folder_data(root)), "")


@pytest.mark.parametrize(
    ("crack", "other"),
    [
        ("crack", "noncrack"), ("Crack", "No crack"), ("POSITIVE", "negative"), ("1", "0"), ("1.0", "0.0"),
        ("TRUE", "false"), ("yes", "No"), (" 1 ", "0"),
    ],
)  # fmt: skip
def test_labels_are_read_in_every_usual_form(crack: str, other: str, root: Path, list_table: ListTable) -> None:
    rows = [{**row, "label": crack if row["label"] == "crack" else other} for row in rows_of(root)]
    records, _ = list_table(rows)
    assert all(record.crack is record.name.startswith("crack/") for record in records)


def test_settings_name_the_labels_and_take_precedence(root: Path, list_table: ListTable) -> None:
    rows = [{**row, "label": "0" if row["label"] == "crack" else "-1"} for row in rows_of(root)]
    records, _ = list_table(rows, crack_names=["0"], no_crack_names=["-1"])
    assert all(record.crack is record.name.startswith("crack/") for record in records)


def test_splits_groups_and_weights_are_read(root: Path, list_table: ListTable) -> None:
    rows = rows_of(root, split="train", group="north", weight="")
    rows[0] |= {"split": "Validation", "group": "South", "weight": "2.5"}
    rows[1] |= {"group": "", "weight": 0.5}
    records, warnings = list_table(rows)
    found = {record.name: record[3:] for record in records}
    assert found[str(rows[0]["path"])] == ("valid", "South", 2.5)
    assert found[str(rows[1]["path"])] == ("train", None, 0.5)
    assert list(found.values()).count(("train", "north", 1.0)) == 8
    assert "the images have weights from 0.5 to 2.5 in the training loss" in warnings
    assert f"the column group leaves 1 images without a group, such as {rows[1]['path']}" in warnings


def test_groups_of_the_table_are_compared_as_those_of_a_manifest(root: Path, list_table: ListTable) -> None:
    rows = rows_of(root)
    for number, row in enumerate(rows):
        row["group"] = ["Wall 1", "wall  1", "\uff37all\u200b 1", "Wall 01"][number % 4]
    records, warnings = list_table(rows)
    assert {record.group for record in records} == {"Wall 01", "Wall 1"}
    assert "groups that may be the same number: Wall 01, Wall 1" in warnings


def test_any_column_of_the_table_can_be_the_groups(root: Path, list_table: ListTable) -> None:
    rows = [{**row, "wall": f"w{number % 3}", "group": "x"} for number, row in enumerate(rows_of(root))]
    for groups in ("wall", "column:Wall"):
        records, _ = list_table(rows, groups=groups)
        assert {record.group for record in records} == {"w0", "w1", "w2"}
    assert "data.groups=block: " in error_of(list_table, rows, groups="block")
    assert "has no column block; it has path, label, wall, group" in error_of(list_table, rows, groups="block")


def test_a_table_of_all_labels_after_a_check_replaces_those_that_are_corrected(
    root: Path, list_table: ListTable
) -> None:
    rows = rows_of(root, corrected_label="", suggested_label="", split="", group="", weight="1")
    rows[0]["corrected_label"], rows[1]["corrected_label"] = "no crack", " "
    records, warnings = list_table(rows)
    assert labels_and_splits(records)[str(rows[0]["path"])] == (False, None)
    assert sum(record.crack for record in records) == 4
    assert warnings == "1 labels are those of the column corrected_label"


def test_the_list_of_wrong_labels_of_a_report_is_a_table(root: Path, list_records: ListRecords) -> None:
    text = "path,label,corrected_label\ncrack/000.png,crack,no crack\nnoncrack/001.png,no crack,crack\n"
    (root / "labels.csv").write_text(text)
    assert labels_and_splits(list_records(table_data(root))) == {
        "crack/000.png": (False, None),
        "noncrack/001.png": (True, None),
    }


# --- columns and files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "settings"),
    [
        (("Path", "LABEL"), {}),
        (("filename", "class"), {}),
        (("image", "target"), {}),
        (("Datei", "Riss"), {"path_column": "datei", "label_column": "Riss"}),
    ],
)
def test_columns_are_found_by_usual_names_or_settings(
    columns: tuple[str, str], settings: dict[str, str], root: Path, list_table: ListTable
) -> None:
    rows = [dict(zip(columns, row.values(), strict=True)) for row in rows_of(root)]
    assert len(list_table(rows, **settings)[0]) == 10


def test_settings_name_the_columns_of_splits_and_weights(root: Path, list_table: ListTable) -> None:
    rows = rows_of(root, subset="test", importance="3", split="nonsense", weight="nonsense")
    records, _ = list_table(rows, split_column="subset", weight_column="importance")
    assert {record[3::2] for record in records} == {("test", 3.0)}


def test_missing_columns_are_told_with_the_setting_that_names_them(root: Path, list_table: ListTable) -> None:
    rows = [{"Bild": row["path"], "Riss": row["label"]} for row in rows_of(root)]
    message = error_of(list_table, rows)
    assert message.startswith("data.table=labels.csv: has no column path (or file, filename,")
    assert message.endswith("it has Bild, Riss; name the column with data.path_column")
    assert "no column label (or class" in error_of(list_table, rows, path_column="Bild")
    expected = f"data.weight_column=Gewicht: {root}/labels.csv has no such column; it has Bild, Riss"
    settings = {"path_column": "Bild", "label_column": "Riss", "weight_column": "Gewicht"}
    assert error_of(list_table, rows, **settings) == expected


def test_two_columns_of_one_name_are_refused(root: Path, list_records: ListRecords) -> None:
    (root / "labels.csv").write_text("path,label,Label\n")
    with pytest.raises(UserError, match=r"labels\.csv has several columns named label; rename all but one"):
        list_records(table_data(root))


@pytest.mark.parametrize("separator", ",;\t|")
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("declared", [True, False])
def test_tables_of_spreadsheets_are_read(
    separator: str, encoding: str, declared: bool, root: Path, list_records: ListRecords
) -> None:
    lines = [f"sep={separator}"] * declared + [f"path{separator}label"]
    lines += [f"{row['path']}{separator}{row['label']}" for row in rows_of(root)]
    (root / "labels.csv").write_text("\r\n".join([*lines, separator, ""]), encoding=encoding)
    assert list_records(table_data(root)) == list_records(folder_data(root))


def test_a_parquet_file_gives_the_same_records(root: Path, list_records: ListRecords) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="needs pyarrow: the extra parquet")
    from pyarrow import parquet

    rows = rows_of(root)
    columns = {
        "path": pyarrow.array([row["path"] for row in rows]).dictionary_encode(),
        "label": pyarrow.array([float(row["label"] == "crack") for row in rows]),
        "weight": pyarrow.array([None] * 9 + [2.0]),
        "group": pyarrow.array([1, 2] * 5),
        "split": pyarrow.array([None] * 10, pyarrow.string()),
    }
    parquet.write_table(pyarrow.table(columns), root / "labels.parquet")
    write_table(root / "labels.csv", [
        {**row, "weight": 2 if number == 9 else "", "group": 1 + number % 2} for number, row in enumerate(rows)
    ])  # fmt: skip
    assert list_records(table_data(root, table="labels.parquet")) == list_records(table_data(root))
    (root / "labels.parquet").write_bytes(b"no table")
    with pytest.raises(UserError, match=r"labels\.parquet cannot be read as a Parquet file"):
        list_records(table_data(root, table="labels.parquet"))


@pytest.mark.parametrize(
    ("where", "settings"),
    [
        ("data/labels.csv", {"root": None, "table": "data/labels.csv"}),
        ("data/labels.csv", {"root": "data", "table": "labels.csv"}),
        ("data/labels.csv", {"root": "data", "table": "data/labels.csv"}),
        ("lists/labels.csv", {"root": "data", "table": "lists/labels.csv"}),
        ("lists/labels.csv", {"root": "data", "table": "../lists/labels.csv"}),
    ],
)
def test_the_table_is_relative_to_the_root_or_the_current_folder(
    where: str, settings: dict[str, str], root: Path, list_records: ListRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root.parent)
    Path(where).parent.mkdir(exist_ok=True)
    write_table(Path(where), rows_of(root))
    assert len(list_records(TableData(**settings))) == 10  # type: ignore[arg-type]


def test_a_table_that_does_not_exist_is_one_message(root: Path, list_records: ListRecords) -> None:
    with pytest.raises(UserError, match=r"data\.table=labels\.csv: there is no such file in .*data, nor in the curr"):
        list_records(table_data(root))


def test_the_command_line_needs_the_table_only(root: Path) -> None:
    assert compose(["data=table", f"data.table={root}/labels.csv"]).data.root == str(root)  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=r"data\.table: missing; give it as in data\.table=VALUE"):
        compose(["data=table", f"data.root={root}"])


# --- paths ------------------------------------------------------------------------------------------------------

SPELLINGS: dict[str, Callable[[Path, str], str]] = {
    "backslashes": lambda root, name: name.replace("/", "\\"),
    "a leading dot": lambda root, name: f"./{name}",
    "absolute": lambda root, name: str(root / name),
    "upper case": lambda root, name: name.upper(),
    "spaces": lambda root, name: f"  {name} ",
    "relative to the table": lambda root, name: f"../data/{name}",
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_paths_are_found_in_every_spelling(spelling: str, root: Path, list_records: ListRecords) -> None:
    (root.parent / "lists").mkdir()
    rows = [{**row, "path": SPELLINGS[spelling](root, str(row["path"]))} for row in rows_of(root)]
    write_table(root.parent / "lists" / "labels.csv", rows)
    assert list_records(table_data(root, table="../lists/labels.csv")) == list_records(folder_data(root))


def test_images_outside_the_root_are_read_and_watched(root: Path, tmp_path: Path) -> None:
    outside = save_image(tmp_path / "other" / "a.png", 99)
    rows: list[Mapping[str, object]] = [*rows_of(root), {"path": outside, "label": 1}, {"path": "../other/b.png"}]
    write_table(root / "labels.csv", rows[:11])
    source = open_source(table_data(root), tmp_path / "cache")
    record = next(record for record in source.list_records() if record.name == str(outside))
    with Image.open(outside) as image:
        assert np.array_equal(source.read(record, 12), np.asarray(image))
    assert source.file(record.name) == outside and source.mask(record, 12) is None
    assert set(source.dependencies) == {root, root / "labels.csv", outside}


def test_moving_all_files_does_not_change_the_fingerprint(
    root: Path, list_table: ListTable, list_records: ListRecords
) -> None:
    records, _ = list_table(rows_of(root, weight=2))
    moved = root.rename(root.with_name("moved"))
    (moved / "crack").rename(moved / "a")
    write_table(moved / "labels.csv", [{**row, "path": str(row["path"]).replace("crack/", "a/")}
                                       if row["label"] == "crack" else row for row in
                                       [{"path": f"{c}/{i:03d}.png", "label": c, "weight": 2}
                                        for c in ("crack", "noncrack") for i in range(5)]])  # fmt: skip
    assert fingerprint(list_records(table_data(moved))) == fingerprint(records)


def test_weights_other_than_one_change_the_fingerprint(root: Path, list_table: ListTable) -> None:
    prints = [fingerprint(list_table(rows_of(root, weight=weight))[0]) for weight in ("", "1", "1.0", "2", "3")]
    assert prints[0] == prints[1] == prints[2] and len(set(prints)) == 3


def test_images_that_are_not_in_the_table_are_counted(root: Path, list_table: ListTable) -> None:
    rows = rows_of(root)[2:]
    (root / "notes.txt").touch()
    save_image(root / "masks" / "crack" / "000.png", 77)
    records, warnings = list_table(rows, masks="masks")
    assert len(records) == 8
    assert warnings == "2 images are not in the table and are left out, such as crack/000.png, crack/001.png"


# --- bad rows ---------------------------------------------------------------------------------------------------


def test_all_bad_rows_are_in_one_list(root: Path, list_table: ListTable) -> None:
    (root / "crack" / "deep").mkdir()
    good = rows_of(root, weight=1, split="train")
    bad = [
        {"path": "crack/none.png", "label": "crack"},
        {"path": "crack/deep", "label": "crack"},
        {"path": "", "label": "crack"},
        {"path": "./crack/000.png", "label": "crack"},
        {"path": "crack/000.png", "label": "0"},
        {"path": "crack/001.png", "label": ""},
        {"path": "crack/002.png", "label": "brick"},
        {"path": "crack/003.png", "label": "1", "weight": "-1"},
        {"path": "crack/004.png", "label": "1", "weight": "nan"},
        {"path": "noncrack/000.png", "label": "0", "weight": "heavy"},
        {"path": "noncrack/001.png", "label": "0", "weight": "0"},
        {"path": "noncrack/002.png", "label": "0", "split": "fold 3"},
    ]
    rows: list[Mapping[str, object]] = [good[0], *bad, *good[8:]]
    lines = error_of(list_table, rows).splitlines()
    assert lines[0] == (
        "data.table=labels.csv: 12 rows cannot be used; repair them, or set data.on_bad_image=skip; name the classes, "
        "as in data.crack_names=[crack,brick]"
    )
    assert [line.strip() for line in lines[1:]] == [
        f"row 3: crack/none.png: there is no such file in {root}",
        "row 4: crack/deep: is a folder",
        "row 5: has no path",
        "row 6: ./crack/000.png: has a row above",
        "row 7: crack/000.png: has a row above, with another label",
        "row 8: crack/001.png: has no label",
        "row 9: crack/002.png: the label brick is unknown",
        "row 10: crack/003.png: the weight -1 is no number above 0",
        "row 11: crack/004.png: the weight nan is no number above 0",
        "row 12: noncrack/000.png: the weight heavy is no number above 0",
        "row 13: noncrack/001.png: the weight 0 is no number above 0",
        "row 14: noncrack/002.png: the split fold 3 is none of train, valid and test",
    ]
    records, warnings = list_table(rows, on_bad_image="skip")
    assert len(records) == 3 and "12 rows cannot be used and are skipped" in warnings


def test_rows_are_counted_as_an_editor_counts_lines(root: Path, list_records: ListRecords) -> None:
    (root / "labels.csv").write_text('sep=,\npath,label,note\n"crack/000.png",1,"two\nlines"\n\nnone.png,1,\n')
    with pytest.raises(UserError, match=r"row 6: none\.png"):
        list_records(table_data(root))


def test_unknown_labels_come_with_the_settings_that_name_them(root: Path, list_table: ListTable) -> None:
    rows = [{**row, "label": "Riss" if row["label"] == "crack" else "kein Riss"} for row in rows_of(root)]
    message = error_of(list_table, rows)
    settings = {"crack_names": ["Riss"], "no_crack_names": ["kein Riss"]}
    assert "as in data.crack_names=[Riss] 'data.no_crack_names=[kein Riss]'\n" in message
    assert len(list_table(rows, **settings)[0]) == 10


def test_a_long_list_of_bad_rows_is_cut(root: Path, list_table: ListTable) -> None:
    lines = error_of(list_table, [{"path": f"{i}.png", "label": 1} for i in range(30)]).splitlines()
    assert len(lines) == 22 and lines[-1] == "  and 10 more"


def test_some_splits_empty_is_an_error(root: Path, list_table: ListTable) -> None:
    rows = rows_of(root, split="train")
    rows[3]["split"] = ""
    assert error_of(list_table, rows) == (
        f"data.table=labels.csv: has a split for {rows[0]['path']} and none for {rows[3]['path']}; give all images a "
        "split, or none"
    )


def test_a_table_of_one_class_is_refused_for_training_only(root: Path, list_table: ListTable, tmp_path: Path) -> None:
    rows = [row for row in rows_of(root) if row["label"] == "noncrack"]
    assert "holds no image with a crack; both classes are needed" in error_of(list_table, rows)
    assert len(open_source(table_data(root), tmp_path / "cache").list_records(both_classes=False)) == 5


def test_a_table_without_images_is_refused(root: Path, list_table: ListTable) -> None:
    for rows in ([{"path": "", "label": ""}], [{"path": "a.png", "label": 1}]):
        with pytest.raises(UserError, match="has no row with an image"):
            list_table(rows, on_bad_image="skip")
    (root / "labels.csv").write_text("path,label\n")
    with pytest.raises(UserError, match="has no row with an image"):
        open_source(table_data(root), root / "cache").list_records()
