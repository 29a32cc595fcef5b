"""`crackdet summary` as a user runs it."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from crackdet.cli.main import app
from crackdet.store.run_store import RunStore
from tests.analysis.runs import publish, simulate_logits
from tests.composing import compose
from tests.jobs import Configure, train

LABELS = np.arange(200) % 2 == 0


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("store")
    for width, (quality, flops) in enumerate([(3.0, 4_200_000), (3.1, 41_000), (1.0, 900)]):
        for seed in range(2):
            logits = simulate_logits(LABELS, quality, 10 * width + seed + 1)
            publish(root, LABELS, logits, flops, width=2**width, seed=seed, weights=f"/a/long/path/to/{width}.pth")
    return root


def summary(store: Path, *options: str, status: int = 0) -> str:
    result = CliRunner().invoke(app, ["summary", str(store), *options])
    assert result.exit_code == status, result.output
    return result.output


def rows(output: str) -> list[list[str]]:
    """Return the cells of the tables, a list for each line."""
    found = [[cell.strip() for cell in line.split("│")[1:-1]] for line in output.splitlines() if line.startswith("│")]
    return [cells for cells in found if cells[0]][: len(found)]


def test_the_table_marks_the_best_and_the_recommended_run_without_colour_codes(store: Path) -> None:
    output = summary(store)
    assert "\x1b" not in output and "Traceback" not in output
    verdicts = {cell for cells in rows(output) for cell in cells if cell in ("best", "recommended", "undecided")}
    assert verdicts >= {"best", "recommended"}
    assert "weights=0.pth" in output and "/a/long" not in output
    assert all(len(line) <= 140 for line in output.splitlines() if line.startswith("│"))


def test_the_user_chooses_columns_rows_and_order(store: Path) -> None:
    output = summary(store, "--columns", "run,width,feature_flops,roc_auc", "--sort", "width", "--filter", "width<3")
    cells = [cells for cells in rows(output) if len(cells) == 5]
    assert [row[2:4] for row in cells] == [["1", "4.2M"]] * 2 + [["2", "41k"]] * 2
    assert "4 of 6 runs match the filter" in output
    assert rows(summary(store, "--columns", "run,p,FLOPs")) == rows(
        summary(store, "--columns", "run,p_value,feature_flops")
    )
    reversed_ = summary(store, "--columns", "width", "--sort=-width", "--top", "1")
    assert next(cells for cells in rows(reversed_) if len(cells) == 2)[1] == "4" and "and 5 more" in reversed_


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--by", "beauty"), "--by beauty: must be one of accuracy, f1"),
        (("--sort", "acuracy"), "--sort acuracy: no run has such a metric or setting; did you mean accuracy?"),
        (("--columns", "intervall"), "--columns intervall: no such column; did you mean interval?"),
        (("--filter", "accuracy"), "--filter accuracy: must be a condition such as accuracy>0.95"),
        (("--filter", "accuracy>high"), "--filter accuracy>high: high is not a number"),
        (("--recall", "1.5"), "--recall 1.5: must be a share of the cracks"),
    ],
)
def test_a_wrong_option_is_reported_in_one_message(store: Path, options: tuple[str, ...], message: str) -> None:
    output = summary(store, *options, status=2)
    assert message in output and "Traceback" not in output


def test_the_threshold_for_a_recall_is_printed(store: Path) -> None:
    output = summary(store, "--recall", "1")
    assert "to find 100 % of the 100 validation cracks, use --threshold 0." in output


def test_only_the_best_run_is_tested_and_only_once(tiny: Configure, tmp_path: Path) -> None:
    runs = [train(tiny("data.test_fraction=0.25", f"seed={seed}")) for seed in (0, 1)]
    store = tmp_path / "runs"
    assert "test accuracy" not in summary(store)
    output = summary(store, "--test")
    best = next(run for run in runs if run.id in output.partition("max accuracy ")[2])
    assert f"of {best.id} on 12 images" in output
    for run in runs:
        assert (run.directory / "test.json").exists() is (run.id == best.id)
        run.weights_file.unlink()
    assert [line for line in summary(store, "--test").splitlines() if "test accuracy" in line] == [
        line for line in output.splitlines() if "test accuracy" in line
    ]


def test_the_best_run_is_tested_again_if_the_test_images_change(base_overrides: list[str], photographs: Path) -> None:
    shutil.copytree(photographs, photographs / "test")
    for part in ("train", "valid"):
        (photographs / part).mkdir()
        for name in ("Positive", "Negative"):
            shutil.copytree(photographs / name, photographs / part / name)
    for name in ("Positive", "Negative"):
        shutil.rmtree(photographs / name)
    tiny = ["model.conv_out=[4]", "model.linear_features=8", "trainer.max_epochs=1", "data.image_size=32"]
    run = train(compose(["data=folder", f"data.root={photographs}", *tiny, *base_overrides]))
    assert "on 16 images" in summary(run.root, "--test")
    next((photographs / "test").rglob("*.png")).unlink()
    assert "on 15 images" in summary(run.root, "--test")
    shutil.rmtree(photographs)
    assert "on 15 images" in summary(run.root, "--test"), "the kept result is used if the images are missing"


def test_a_best_run_without_a_test_split_does_not_stop_the_tests_of_others(tiny: Configure, tmp_path: Path) -> None:
    tested = train(tiny("data.test_fraction=0.25", "data.num_images=40"))
    untested = train(tiny("data.num_images=60"))
    output = summary(tmp_path / "runs", "--test", status=2)
    assert f"--test: {untested.id}: data: has no test split" in output
    assert f"of {tested.id} on 10 images" in output


def test_testing_does_not_import_untrusted_code(store: Path, tmp_path: Path) -> None:
    shutil.copytree(store, tmp_path / "runs")
    for run in RunStore(tmp_path / "runs").runs():
        model = {"_target_": "crackdet_strange.Net", "name": "mine"}
        run.config_file.write_text(yaml.safe_dump({"model": model, "data": {"name": "synthetic", "image_size": 32}}))
    assert "to execute this code, give --trust" in summary(tmp_path / "runs", "--test", status=2)


def test_the_table_fits_eighty_columns(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crackdet.analysis.tables.PIPED_WIDTH", 80)
    publish(tmp_path, LABELS, simulate_logits(LABELS, 3.0, 1), width=4, weights="/a/long/path/to/2.pth")
    publish(tmp_path, LABELS, simulate_logits(LABELS, 1.0, 1), width=4, weights="/a/long/path/to/2.pth", seed=1)
    for folder, verdict in ((store, "recommended"), (tmp_path, "best, recommended")):
        lines = [line for line in summary(folder).splitlines() if line[:1] in "│┃┏┡└"]
        assert all(len(line) <= 80 for line in lines)
        table = "\n".join(lines)
        assert all(word in table for word in ("accuracy", "verdict", "best", verdict))
        if folder == store:
            assert "width=4" in table and "weights=2.pth" in table
