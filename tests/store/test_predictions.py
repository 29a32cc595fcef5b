"""Reading `predictions.csv`, whole or damaged."""

from collections.abc import Mapping
from typing import Any

import pytest

from crackdet.core.files import write_csv
from crackdet.store.predictions import Predictions, read_predictions
from crackdet.store.run import Run

ROWS: list[dict[str, Any]] = [
    {"image": "wall/a,1.jpg", "digest": "aa", "crack": 1, "logit": 0.1 + 0.2},
    {"image": "b.jpg", "digest": "bb", "crack": 0, "logit": 1e-9},
    {"image": "c.jpg", "digest": "cc", "crack": 1, "logit": -3},
    {"image": "d.jpg", "digest": "dd", "crack": 0, "logit": -0.0},
]


def read(run: Run, rows: list[dict[str, Any]]) -> Predictions:
    write_csv(run.predictions_file, rows)
    predictions = read_predictions(run)
    assert predictions is not None
    return predictions


def test_each_column_has_its_type_and_keeps_the_order(run: Run) -> None:
    predictions = read(run, ROWS)
    assert len(predictions) == 4
    assert predictions.images == ["wall/a,1.jpg", "b.jpg", "c.jpg", "d.jpg"]
    assert predictions.digests == ["aa", "bb", "cc", "dd"]
    assert predictions.labels.tolist() == [True, False, True, False]
    assert predictions.logits.tolist() == [0.1 + 0.2, 1e-9, -3.0, 0.0]
    assert predictions.predicted.tolist() == [True, True, False, False], "a crack above probability 0.5 only"
    assert predictions.groups is None


def test_an_image_without_a_group_is_a_group_of_its_own(run: Run) -> None:
    groups = ["wall", "", "wall", ""]
    found = read(run, [{**row, "group": group} for row, group in zip(ROWS, groups, strict=True)]).groups
    assert found is not None
    assert found[0] == found[2] and sorted(set(found.tolist())) == [0, 1, 2]


def without(name: str) -> list[Mapping[str, Any]]:
    return [{key: value for key, value in row.items() if key != name} for row in ROWS]


@pytest.mark.parametrize(
    "rows", [[], *(without(name) for name in ROWS[0]), [{**ROWS[0], "logit": "much"}]], ids=lambda rows: str(rows)[:20]
)
def test_a_file_that_no_run_writes_gives_nothing(run: Run, rows: list[dict[str, Any]]) -> None:
    write_csv(run.predictions_file, rows)
    assert read_predictions(run) is None


@pytest.mark.parametrize("content", [b"", b"\xff\x00", b"image,digest,crack,logit\na.jpg,aa,1\n"])
def test_a_damaged_file_gives_nothing(run: Run, content: bytes) -> None:
    run.predictions_file.write_bytes(content)
    assert read_predictions(run) is None


def test_a_missing_file_gives_nothing(run: Run) -> None:
    assert read_predictions(run) is None
