"""Which photographs are meant by paths, folders and patterns; and that no file is written over by accident."""

import csv
import json
import os
from pathlib import Path

import pytest

from crackdet.core.errors import UserError
from crackdet.inference.files import RowFormat, find_images, refuse_existing, row_format, row_writer


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("a/2.jpg", "a/1.PNG", "a/deep/3.tif", "a/notes.txt", "b/4.jpg", "strange[1].jpg", "a/.hidden/5.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_folders_patterns_and_files_are_found_once_and_in_order(tree: Path) -> None:
    def found(*paths: str) -> list[str]:
        return [path.relative_to(tree).as_posix() for path in find_images([str(tree / path) for path in paths])]

    assert found("a") == ["a/1.PNG", "a/2.jpg", "a/deep/3.tif"]
    assert found("b", "a/2.jpg", "a") == ["b/4.jpg", "a/2.jpg", "a/1.PNG", "a/deep/3.tif"]
    assert found("**/*.jpg") == ["a/2.jpg", "b/4.jpg", "strange[1].jpg"]
    assert found("[ab]") == ["a/1.PNG", "a/2.jpg", "a/deep/3.tif", "b/4.jpg"]
    assert found("strange[1].jpg") == ["strange[1].jpg"], "a name that looks like a pattern"
    assert found("a/notes.txt") == ["a/notes.txt"], "what is named is taken as it is"


def test_links_to_folders_are_followed_and_not_in_circles(tree: Path) -> None:
    (tree / "a" / "more").symlink_to(tree / "b")
    (tree / "b" / "round").symlink_to(tree / "a")
    found = [path.relative_to(tree).as_posix() for path in find_images([str(tree / "a")])]
    assert found == ["a/1.PNG", "a/2.jpg", "a/deep/3.tif", "a/more/4.jpg"]


@pytest.mark.parametrize(
    ("path", "complaint"),
    [("c", "no such file or folder"), ("a/*.gif", "holds no image"), ("empty", "holds no image")],
)
def test_a_path_to_nothing_is_refused(tree: Path, path: str, complaint: str) -> None:
    (tree / "empty").mkdir()
    with pytest.raises(UserError, match=complaint):
        find_images([str(tree / "a"), str(tree / path)])


def test_a_file_is_written_over_only_by_force(tree: Path) -> None:
    with pytest.raises(UserError, match="exists; give another file, or --force"):
        refuse_existing(tree / "a" / "notes.txt", force=False)
    refuse_existing(tree / "a" / "notes.txt", force=True)
    refuse_existing(tree / "a" / "new.csv", force=False)
    for path in (tree / "a", tree / "nowhere" / "new.csv"):
        with pytest.raises(UserError, match="folder"):
            refuse_existing(path, force=True)


def test_the_format_is_as_wished_or_as_the_name_ends() -> None:
    assert row_format(None, None) is RowFormat.CSV
    assert row_format(Path("x.JSONL"), None) is RowFormat.JSONL
    assert row_format(Path("x.txt"), "csv") is RowFormat.CSV
    for output, wished in ((Path("x.txt"), None), (None, "xml")):
        with pytest.raises(UserError, match="must"):
            row_format(output, wished)


@pytest.mark.parametrize("kind", list(RowFormat))
def test_rows_are_read_back_as_they_were(tmp_path: Path, kind: RowFormat) -> None:
    rows = [
        {"path": "comma, \"quote\"\nand line.jpg", "probability": 0.1 + 0.2},
        {"path": os.fsdecode(b"latin-\xe9.jpg"), "probability": 1e-300},
    ]  # fmt: skip
    file = tmp_path / "rows"
    with row_writer(file, kind, ("path", "probability")) as write:
        for row in rows:
            write(row)
        assert not file.exists(), "it appears whole"
    with file.open(newline="", encoding="utf-8", errors="surrogateescape") as text:
        back = [json.loads(line) for line in text] if kind is RowFormat.JSONL else list(csv.DictReader(text))
    assert [{**row, "probability": float(row["probability"])} for row in back] == rows
