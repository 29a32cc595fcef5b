"""`--license`: the runs whose initial weights have a permitted license."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from crackdet.analysis.run_names import resolve_run
from crackdet.cli.main import app
from crackdet.core.errors import UserError
from crackdet.core.licenses import RANDOM
from tests.analysis.runs import LABELS, publish, with_mistakes

NOTE = (
    "--license: 3 of 5 runs are permitted; the initial weights of 1 have another license; the license of 1 is unknown"
)
WANTED = ("--license", "mit, Apache-2.0")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs with ever more mistakes: non-commercial, permitted, random, an old result of each kind of weights."""
    root = tmp_path_factory.mktemp("licenses") / "runs"
    runs = [
        ("cc-by-nc-4.0 (a of timm)", "a"),
        ("apache-2.0 (b of timm)", "b"),
        (RANDOM, None),
        (None, "c"),
        (None, None),
    ]
    for width, (license, weights) in enumerate(runs):
        publish(root, LABELS, with_mistakes(5 * width), width=width, license=license, weights=weights)
    return root


def invoke(command: str, *arguments: object) -> str:
    result = CliRunner().invoke(app, [command, *map(str, arguments)], env={"COLUMNS": "140"})
    assert result.exit_code == 0, result.output
    return result.stdout


def best(store: Path, *options: str) -> str:
    return str(json.loads(invoke("summary", store, *options, "--json"))["best"])


def test_the_summary_ranks_and_decides_among_permitted_runs(store: Path) -> None:
    text = invoke("summary", store, *WANTED)
    assert NOTE in text
    assert "Of 3 trained networks" in text.replace("\n", " ")
    found = json.loads(invoke("summary", store, *WANTED, "--json"))
    assert [run["license"] for run in found["runs"]] == ["apache-2.0 (b of timm)", RANDOM, None]
    assert found["best"] != best(store) and found["runs"][0]["rank"] == 1


def test_runs_are_listed_by_license(store: Path) -> None:
    text = invoke("runs", store, *WANTED)
    assert NOTE in text and "3 runs: 3 finished" in text
    assert "--license" not in invoke("runs", store)


def test_best_can_mean_the_best_permitted_run(store: Path) -> None:
    assert resolve_run("best", store).run.id == best(store)
    assert resolve_run("best", store, licenses=["MIT", "Apache"]).run.id == best(store, *WANTED)
    only = store.parent / "only"
    publish(only, LABELS, with_mistakes(3), license="cc-by-nc-4.0", weights="a")
    with pytest.raises(UserError, match=f"no run in {only} is finished and has initial weights under MIT"):
        resolve_run(f"best:{only}", store, licenses=["MIT"])


def test_a_table_has_a_column_of_licenses_if_they_differ(store: Path, tmp_path: Path) -> None:
    text = invoke("summary", store)
    assert "license" in text and "│ cc-by-nc-4.0 " in text and "│ random " in text
    for width in range(2):
        publish(tmp_path / "same", LABELS, with_mistakes(5 * width), width=width, license=RANDOM)
    assert "license" not in invoke("summary", tmp_path / "same")


def test_a_summary_without_a_permitted_run_says_so(store: Path) -> None:
    only = store.parent / "unknown"
    publish(only, LABELS, with_mistakes(3), weights="a")
    assert invoke("summary", only, "--license", "MIT").splitlines() == [
        "--license: 0 of 1 runs are permitted; the license of 1 is unknown"
    ]


def test_a_report_shows_permitted_runs_and_their_licenses(store: Path, tmp_path: Path) -> None:
    invoke("report", store, *WANTED, "--to", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert NOTE in page and "apache-2.0" in page and "cc-by-nc" not in page
