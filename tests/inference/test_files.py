"""Finding images by paths, folders and patterns; and writing rows without overwriting files by accident."""

import csv
import json
import os
from pathlib import Path

import pytest

from crackdet.core.errors import UserError
from crackdet.core.output_paths import check_output_path
from crackdet.inference.files import RowFormat, choose_row_format, find_images, row_writer


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("a/2.jpg", "a/1.PNG", "a/deep/3.tif", "a/notes.txt", "b/4.jpg", "strange[1].jpg", "a/.hidden/5.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_images_in_files_folders_and_patterns_are_found_once_and_in_order(tree: Path) -> None:
    def found(*paths: str) -> list[str]:
        return [path.relative_to(tree).as_posix() for path in find_images([str(tree / path) for path in paths])]

    assert found("a") == ["a/1.PNG", "a/2.jpg", "a/deep/3.tif"]
    assert found("b", "a/2.jpg", "a") == ["b/4.jpg", "a/2.jpg", "a/1.PNG", "a/deep/3.tif"]
    assert found("**/*.jpg") == ["a/2.jpg", "b/4.jpg", "strange[1].jpg"]
    assert found("[ab]") == ["a/1.PNG", "a/2.jpg", "a/deep/3.tif", "b/4.jpg"]
    assert found("strange[1].jpg") == ["strange[1].jpg"], "an existing name is not a pattern"
    assert found("a/notes.txt") == ["a/notes.txt"], "a named file is accepted whatever its extension"


def test_links_to_folders_are_followed_but_not_in_cycles(tree: Path) -> None:
    (tree / "a" / "more").symlink_to(tree / "b")
    (tree / "b" / "cycle").symlink_to(tree / "a")
    found = [path.relative_to(tree).as_posix() for path in find_images([str(tree / "a")])]
    assert found == ["a/1.PNG", "a/2.jpg", "a/deep/3.tif", "a/more/4.jpg"]


@pytest.mark.parametrize(
    ("path", "message"),
    [("c", "no such file or folder"), ("a/*.gif", "contains no images"), ("empty", "contains no images")],
)
def test_a_path_without_images_is_rejected(tree: Path, path: str, message: str) -> None:
    (tree / "empty").mkdir()
    with pytest.raises(UserError, match=message):
        find_images([str(tree / "a"), str(tree / path)])


def test_a_file_is_overwritten_only_with_force(tree: Path) -> None:
    with pytest.raises(UserError, match="already exists; give another file, or --force"):
        check_output_path(tree / "a" / "notes.txt", force=False)
    check_output_path(tree / "a" / "notes.txt", force=True)
    check_output_path(tree / "a" / "new.csv", force=False)
    for path in (tree / "a", tree / "nowhere" / "new.csv"):
        with pytest.raises(UserError, match="folder"):
            check_output_path(path, force=True)


def test_the_format_is_the_requested_one_or_that_of_the_extension() -> None:
    assert choose_row_format(None, None) is RowFormat.CSV
    assert choose_row_format(Path("x.JSONL"), None) is RowFormat.JSONL
    assert choose_row_format(Path("x.txt"), "csv") is RowFormat.CSV
    for output, requested in ((Path("x.txt"), None), (None, "xml")):
        with pytest.raises(UserError, match="must"):
            choose_row_format(output, requested)


@pytest.mark.parametrize("row_format", list(RowFormat))
def test_written_rows_are_read_back_unchanged(tmp_path: Path, row_format: RowFormat) -> None:
    rows = [
        {"path": "comma, \"quote\"\nand line.jpg", "probability": 0.1 + 0.2},
        {"path": os.fsdecode(b"latin-\xe9.jpg"), "probability": 1e-300},
    ]  # fmt: skip
    file = tmp_path / "rows"
    with row_writer(file, row_format, ("path", "probability")) as write_row:
        for row in rows:
            write_row(row)
        assert not file.exists(), "the file appears once all rows are written"
    with file.open(newline="", encoding="utf-8", errors="surrogateescape") as text:
        read = [json.loads(line) for line in text] if row_format is RowFormat.JSONL else list(csv.DictReader(text))
    assert [{**row, "probability": float(row["probability"])} for row in read] == rows
