"""Suspect labels."""

import csv
from pathlib import Path

import numpy as np
import pytest

from crackdet.data.records import ImageRecord
from crackdet.data.sources.factory import open_source
from crackdet.doctor.labels import Suspect, SuspectLabels, find_suspects, write_relabel_csv
from tests.composing import compose

NUMBER, FLIPPED = 300, 9
NAMES = [f"{index:03}.jpg" for index in range(NUMBER)]


def features_of(labels: np.ndarray, distance: float) -> np.ndarray:
    """Return ten features of each image, one of which depends on its class."""
    features = np.random.default_rng(1).normal(size=(len(labels), 10))
    features[:, 3] += distance * labels
    return features.astype(np.float32)


def find(labels: np.ndarray, distance: float, groups: list[str]) -> SuspectLabels:
    truth = np.arange(len(labels)) % 2 == 0
    found = find_suspects(NAMES, labels, features_of(truth, distance), groups)
    assert found is not None
    return found


@pytest.fixture
def flipped() -> np.ndarray:
    """Labels of which the first nine are wrong."""
    labels = np.arange(NUMBER) % 2 == 0
    labels[:FLIPPED] ^= True
    return labels


def test_wrong_labels_are_the_first_suspects_and_their_number_is_estimated(flipped: np.ndarray) -> None:
    found = find(flipped, 9, NAMES)
    assert {suspect.name for suspect in found.suspects[: FLIPPED + 2]} >= set(NAMES[:FLIPPED])
    assert abs(found.estimated - FLIPPED) <= 2 and found.is_reliable
    first = found.suspects[0]
    assert first.crack is bool(flipped[NAMES.index(first.name)]) and first.probability < 0.1
    assert first.label != first.suggested_label


def test_suspects_are_ordered_by_the_probability_of_their_label(flipped: np.ndarray) -> None:
    probabilities = [suspect.probability for suspect in find(flipped, 2, NAMES).suspects]
    assert probabilities == sorted(probabilities) and probabilities[-1] < 0.5


def test_right_labels_raise_no_suspicion() -> None:
    found = find(np.arange(NUMBER) % 2 == 0, 8, NAMES)
    assert found.estimated == 0 and not found.suspects


def test_a_weak_probe_says_that_it_cannot_tell(flipped: np.ndarray) -> None:
    found = find(flipped, 0.5, NAMES)
    assert not found.is_reliable and "cannot tell a wrong label" in found.verdict


def test_an_image_is_not_judged_by_a_probe_that_has_seen_its_group() -> None:
    rng = np.random.default_rng(0)
    places = np.repeat(np.arange(30), 10)
    labels = places % 2 == 0  # each place has one class, and looks that have nothing to do with it
    features = (5 * rng.normal(size=(30, 40))[places] + rng.normal(size=(300, 40))).astype(np.float32)
    alone = find_suspects(NAMES, labels, features, NAMES)
    grouped = find_suspects(NAMES, labels, features, [str(place) for place in places])
    assert alone is not None and alone.accuracy > 0.95
    assert grouped is not None and grouped.accuracy < 0.8


def test_nothing_is_judged_if_a_class_has_one_group() -> None:
    labels = np.arange(NUMBER) % 2 == 0
    assert find_suspects(NAMES, labels, features_of(labels, 6), ["a" if crack else "b" for crack in labels]) is None


def test_the_relabel_table_is_read_as_data_with_the_corrections_filled_in(photographs: Path, tmp_path: Path) -> None:
    overrides = [f"data.root={photographs}", f"runtime.cache={tmp_path / 'cache'}"]
    config = compose(["data=folder", *overrides])
    records = open_source(config.data, tmp_path / "cache").list_records()
    labels = np.array([record.crack for record in records])
    wrong = labels.copy()
    wrong[0] ^= True
    names = [record.name for record in records]
    given = [record._replace(crack=bool(crack)) for record, crack in zip(records, wrong, strict=True)]
    write_relabel_csv(photographs / "relabel.csv", given, [Suspect(names[0], bool(wrong[0]), 0.1)])

    def read() -> dict[str, bool]:
        table = compose(["data=table", "data.table=relabel.csv", *overrides])
        return {record.name: record.crack for record in open_source(table.data, tmp_path / "cache").list_records()}

    assert read() == {record.name: record.crack for record in given}
    rows = list(csv.DictReader((photographs / "relabel.csv").read_text().splitlines()))
    assert list(rows[0])[:3] == ["path", "label", "corrected_label"] and rows[0]["path"] == names[0]
    rows[0]["corrected_label"] = rows[0]["suggested_label"]
    lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
    (photographs / "relabel.csv").write_text("\n".join(lines))
    assert read() == {record.name: record.crack for record in records}


def test_the_relabel_table_keeps_splits_groups_and_weights(tmp_path: Path) -> None:
    record = ImageRecord("a.jpg", True, "digest", "valid", "wall", 2.5)
    write_relabel_csv(tmp_path / "relabel.csv", [record], [])
    (row,) = csv.DictReader((tmp_path / "relabel.csv").read_text().splitlines())
    assert (row["split"], row["group"], row["weight"], row["suggested_label"]) == ("valid", "wall", "2.5", "")
