"""The files that a listing depends on, which the cache of commands watches."""

from pathlib import Path

import pytest

from crackdet.config.file_data import BoxesData, FilenameLabelsData, FolderData, MasksData, TableData
from crackdet.config.schema import Data, SyntheticData
from crackdet.data.sources.factory import open_source
from tests.data.image_files import make_folders


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (SyntheticData(), set()),
        (FolderData(root="data"), {"data"}),
        (FolderData(root="data", groups="wall"), {"data", "data/manifest.csv"}),
        (FolderData(root="data", groups="wall", manifest="../walls.csv"), {"data", "walls.csv"}),
        (FolderData(root="data", groups="column:folder"), {"data", "data/manifest.csv"}),
        *((FolderData(root="data", groups=rule), {"data"}) for rule in ("folder", "folder:2", "time:5", "regex:a")),
        (FilenameLabelsData(root="data", groups="wall"), {"data", "data/manifest.csv"}),
        (TableData(root="data", table="../labels.csv"), {"data", "labels.csv", "other/0.png"}),
        (TableData(table="labels.csv"), {".", "labels.csv"}),
        (MasksData(root="data", scale=2.0), {"data", "data/manifest.csv"}),
        (MasksData(root="data", masks="../other"), {"data", "other"}),
        (BoxesData(root="data", annotations="../labels.csv"), {"data", "labels.csv"}),
    ],
)
def test_each_source_tells_the_files_that_it_reads(
    data: Data, expected: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_folders(tmp_path / "data", {"crack": 1})
    make_folders(tmp_path, {"other": 1})
    (tmp_path / "other" / "000.png").rename(tmp_path / "other" / "0.png")
    (tmp_path / "labels.csv").write_text("path,label\ncrack/000.png,1\nother/0.png,0\n../other/0.png,0\nnone.png,1\n")
    found = {path.resolve().relative_to(tmp_path).as_posix() for path in open_source(data, Path("c")).dependencies}
    assert found == expected
