"""A summary of probe runs: their columns, which candidates to fine-tune, and the next command."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from crackdet.analysis.narrative import num_to_fine_tune
from crackdet.analysis.next_steps import next_commands
from crackdet.analysis.ranking import summarize
from crackdet.analysis.tables import View, show
from crackdet.core.files import write_json
from crackdet.report.build import write_report
from tests.analysis.runs import LABELS, decision_of, publish, simulate_logits

QUALITIES = (3.4, 3.3, 3.2, 0.9, 0.7, 0.5)


def publish_screen(store: Path, qualities: tuple[float, ...] = QUALITIES) -> None:
    """Publish a candidate of each quality; the fourth and all later ones are clearly worse than the first."""
    for width, quality in enumerate(qualities):
        logits = simulate_logits(LABELS, quality, width + 1)
        probe = {"knn_accuracy": 0.5 + width / 20, "logme": -0.125 * width, "probe_c": 0.01}
        run = publish(store, LABELS, logits, flops=100 - width, width=width, probe=probe)
        overrides = ["experiment=screen", f"model.width={width}", "data=folder", "data.root=my photos"]
        write_json(run.provenance_file, {"overrides": overrides})


def shown(store: Path, view: View | None = None) -> str:
    out = Console(file=StringIO(), width=160)
    show(summarize(store), view, out)
    return out.file.getvalue()  # type: ignore[attr-defined]


def test_the_table_has_the_measures_of_features_and_the_cost(tmp_path: Path) -> None:
    publish_screen(tmp_path)
    text = shown(tmp_path)
    header = text.splitlines()[1]
    titles = ("accuracy", "loss", "k-NN", "LogME", "FLOPs", "verdict")
    assert [header.index(title) for title in titles] == sorted(header.index(title) for title in titles)
    assert "0.5500" in text and "-0.125" in text
    assert "k-NN" in shown(tmp_path, View(columns=["run", "k-NN", "logme"], sort="knn_accuracy"))


def test_a_screen_says_which_candidates_to_fine_tune_and_recommends_none(tmp_path: Path) -> None:
    publish_screen(tmp_path)
    decision = decision_of(tmp_path)
    best, advice = decision.sentences
    assert best.startswith("Of 6 screened networks, the linear probe on the frozen features of custom-")
    assert advice.startswith("Fine-tune the first three (sweep.top=3)")
    assert "Chance can explain the differences among the first three" in advice
    assert any("Fine-tuning changes the features and may reorder the candidates" in note for note in decision.notes)
    assert "recommended" not in " ".join(decision.verdicts(decision.recommended))
    page = write_report(tmp_path).read_text()
    assert "Highest accuracy" in page
    assert not any(title in page for title in ("and recommended", ">Recommended", "The recommended run"))
    (step,) = next_commands(decision)
    command = "python train.py -m sweep.top=3 optimizer.learning_rate=1e-4,1e-3 data=folder 'data.root=my photos'"
    assert step.command == command


@pytest.mark.parametrize(("qualities", "number"), [((3.0,), 1), ((4.0, 0.5, 0.4, 0.3), 2), ((3.0,) * 9, 9)])
def test_all_candidates_that_may_be_the_best_are_fine_tuned_and_at_least_half(
    tmp_path: Path, qualities: tuple[float, ...], number: int
) -> None:
    publish_screen(tmp_path, qualities)
    assert num_to_fine_tune(decision_of(tmp_path)) == number


def test_runs_that_were_trained_are_no_screen(tmp_path: Path) -> None:
    publish_screen(tmp_path)
    publish(tmp_path, LABELS, simulate_logits(LABELS, 3.5, 30), width=30)
    decision = decision_of(tmp_path)
    assert not decision.is_screen and "trained networks" in decision.sentences[0]


def test_the_report_has_the_measures_of_features(tmp_path: Path) -> None:
    publish_screen(tmp_path)
    page = write_report(tmp_path, tmp_path / "report.html").read_text()
    assert "k-NN" in page and "LogME" in page and "Fine-tune the first three" in page
