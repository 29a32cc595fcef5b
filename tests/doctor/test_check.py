"""`crackdet check-data` as a user calls it: exit status, page, tables, JSON and groups."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from crackdet.data.dataset import list_splits
from tests.cli.conftest import crackdet
from tests.composing import compose
from tests.doctor.test_copies import SIDE, wall


def draw(seed: int, crack: bool) -> Image.Image:
    image = wall(seed)
    if crack:
        rng = np.random.default_rng(seed)
        points = [(x, int(rng.integers(60, 140))) for x in range(0, SIDE + 1, 20)]
        ImageDraw.Draw(image).line(points, fill=(10, 10, 10), width=5)
    return image


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve photographs of each class in training, six in validation; one of these is a mirrored training one."""
    root = tmp_path_factory.mktemp("photographs")
    for split, first, number in (("train", 0, 12), ("valid", 100, 6)):
        for crack in (True, False):
            folder = root / split / ("crack" if crack else "intact")
            folder.mkdir(parents=True)
            for index in range(number):
                draw(first + index + 50 * crack, crack).save(folder / f"{index:02d}.jpg", quality=90)
    draw(53, True).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(root / "valid/crack/copy.jpg", quality=70)
    return root


@pytest.fixture(scope="module")
def settings(root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return [
        "data=folder",
        f"data.root={root}",
        "data.image_size=48",
        f"runtime.cache={tmp_path_factory.mktemp('cache')}",
    ]


@pytest.fixture(scope="module")
def result(settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[int, dict[str, object], Path]:
    """Exit status, JSON and folder of one check."""
    folder = tmp_path_factory.mktemp("check")
    done = crackdet(folder, "check-data", *settings, "--output", "page", "--write-groups", "groups.csv", "--json")
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, json.loads(done.stdout), folder


def test_a_copy_in_the_validation_split_gives_exit_status_1(result: tuple[int, dict[str, object], Path]) -> None:
    status, content, _ = result
    assert status == 1
    assert content["leaks"] is True
    copies = content["copies"]
    assert isinstance(copies, dict)
    assert copies["leaked"] == {"valid": 1}
    assert copies["groups"] == [["train/crack/03.jpg", "valid/crack/copy.jpg"]]


def test_the_page_and_the_tables_name_the_copy(result: tuple[int, dict[str, object], Path]) -> None:
    folder = result[2] / "page"
    page = (folder / "index.html").read_text()
    assert "A split leaks" in page
    assert "valid/crack/copy.jpg" in page
    for title in ("Copies", "Suspect labels", "Confounds", "Drift", "Sizes"):
        assert f"<h2>{title}</h2>" in page
    row = (folder / "copies.csv").read_text().splitlines()[1]
    assert row.startswith("train/crack/03.jpg,valid/crack/copy.jpg,mirrored,")
    assert json.loads((folder / "check.json").read_text())["splits"]["valid"]["cracks"] == 7


def test_the_groups_are_a_manifest_of_the_data(
    result: tuple[int, dict[str, object], Path], settings: list[str]
) -> None:
    config = compose([*settings, "data.groups=group", f"data.manifest={result[2] / 'groups.csv'}"])
    splits, warnings = list_splits(config.data, config.runtime)
    groups = {record.name: record.group for records in splits.values() for record in records}
    assert groups["valid/crack/copy.jpg"] == groups["train/crack/03.jpg"]
    assert any("belong to groups that are also in train" in warning for warning in warnings)


def test_a_quick_check_only_counts(settings: list[str], tmp_path: Path) -> None:
    done = crackdet(tmp_path, "check-data", *settings, "--quick")
    assert done.returncode == 0, done.stderr
    assert "fingerprint" in done.stdout
    assert not (tmp_path / "outputs").exists()
