"""The page beyond its numbers: texts, escaping, damaged stores, and when it is written."""

import itertools
import logging
import os
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crackdet.analysis.rows import RunRow
from crackdet.core.files import write_json
from crackdet.core.reading import read_csv
from crackdet.report.build import write_report
from crackdet.report.figures import pareto
from crackdet.report.formatting import subsample
from crackdet.report.reproduction import recipe
from crackdet.store.integrity import read_result
from crackdet.store.run_store import RunStore
from crackdet.sweep.finalize import finalize
from tests.conftest import TINY
from tests.preloaded import run_python
from tests.report.conftest import MARKUP, Reader, Sweep

ROOT = Path(__file__).parents[2]


def copy_store(sweep: Sweep, folder: Path) -> Path:
    shutil.copytree(sweep.store.root, folder / "runs")
    return folder / "runs"


def test_the_page_begins_with_the_sentences_of_the_decision(sweep: Sweep, page: Reader) -> None:
    from crackdet.analysis.ranking import summarize

    decision = summarize(sweep.folder).decision
    assert decision is not None
    assert tuple(text for _, text in page.find("p", _class="sentence")) == decision.sentences


def test_the_page_loads_nothing(page: Reader) -> None:
    for tag, attrs, _ in page.elements:
        for name in ("src", "href", "data", "action"):
            assert attrs.get(name, "#").startswith(("#", "data:")), (tag, attrs)
    policy = next(attrs["content"] for attrs, _ in page.find("meta", http_equiv="Content-Security-Policy"))
    assert "default-src 'none'" in policy and "http" not in policy


def test_markup_in_names_and_reasons_is_escaped(page: Reader) -> None:
    assert not [attrs for tag, attrs, _ in page.elements if "onerror" in attrs or attrs.get("src") == "x"]
    assert any(MARKUP in text for _, text in page.find("p", _class="path"))
    assert any(text == f"no space for {MARKUP}" for _, text in page.find("td", _class="reason"))


def test_unfinished_runs_are_listed_with_their_reason(page: Reader) -> None:
    statuses = sorted(text for attrs, text in page.find("span") if attrs.get("class", "").startswith("status"))
    assert statuses == ["failed", "interrupted", "pruned"]
    assert any(text == "worse than the median" for _, text in page.find("td", _class="reason"))


def test_the_hardest_images_are_the_most_confident_mistakes(sweep: Sweep, page: Reader) -> None:
    from crackdet.analysis.ranking import summarize

    decision = summarize(sweep.folder).decision
    assert decision is not None
    wrong = {
        row["image"]: abs(float(row["logit"]))
        for row in read_csv(decision.recommended.run.predictions_file)
        if (float(row["logit"]) > 0) != (row["crack"] == "1")
    }
    paths = [text for _, text in page.find("p", _class="path")]
    shown = paths[: len(wrong)]
    assert set(shown) == set(wrong)
    assert [wrong[name] for name in shown] == sorted(wrong.values(), reverse=True)
    assert sum(1 for _ in page.find("img")) == len(paths), "every image is shown"


def test_disagreements_begin_with_the_most_even_votes(sweep: Sweep, page: Reader) -> None:
    votes = [text for _, text in page.find("p", _class="line") if "runs predict a crack" in text]
    counts = [tuple(map(int, re.findall(r"\d+", text))) for text in votes]
    assert counts and all(0 < cracks < runs for cracks, runs in counts)
    minorities = [min(cracks, runs - cracks) for cracks, runs in counts]
    assert minorities == sorted(minorities, reverse=True)


def test_images_that_are_missing_or_changed_are_not_shown(sweep: Sweep, tmp_path: Path) -> None:
    store = copy_store(sweep, tmp_path)
    aside = sweep.images.with_name("aside")
    sweep.images.rename(aside)
    try:
        missing = Reader(write_report(store, tmp_path / "missing.html"))
        assert not list(missing.find("img"))
        assert any("there is no such folder" in text for _, text in missing.find("p", _class="note"))
        shutil.copytree(aside, sweep.images)
        files = sorted(sweep.images.rglob("*.png"))
        for file in files:
            file.write_bytes(files[0].read_bytes())
        changed = Reader(write_report(store, tmp_path / "changed.html"))
        assert len(list(changed.find("img"))) <= 2, "only the one image that has not changed"
    finally:
        shutil.rmtree(sweep.images, ignore_errors=True)
        aside.rename(sweep.images)


def test_damaged_files_of_a_run_leave_the_rest_of_the_page(sweep: Sweep, tmp_path: Path) -> None:
    store = copy_store(sweep, tmp_path)
    victims = sorted(run.id for run in sweep.finished)[:3]
    for victim, name in zip(victims, ("predictions.csv", "history.csv", "result.json"), strict=True):
        os.truncate(store / victim / name, 20)
    page = Reader(write_report(store))
    failures = [attrs["id"].removeprefix("run-") for attrs, _ in page.find("tr") if attrs.get("id", "")]
    assert set(victims) <= set(failures)
    assert sum(text == "corrupt" for _, text in page.find("span", _class="status corrupt")) == 3


def test_a_store_without_finished_runs_gets_a_page(tmp_path: Path) -> None:
    page = Reader(write_report(tmp_path))
    assert any("No run is finished yet" in text for _, text in page.find("p", _class="note"))


def test_a_report_that_cannot_be_written_is_one_log_line(
    sweep: Sweep, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "sweep"
    shutil.copytree(sweep.folder, folder)
    shutil.copytree(sweep.store.root, tmp_path / "runs")
    (folder / "report.html").unlink()
    (folder / "report.html").mkdir()
    with caplog.at_level(logging.INFO), pytest.raises(SystemExit) as exit:
        finalize(folder, report=True)
    assert exit.value.code == 1, "for the failed run in this sweep, not for the report"
    records = [record for record in caplog.records if "report" in record.getMessage()]
    assert len(records) == 1 and "could not be written" in records[0].getMessage() and records[0].exc_info is None


def test_the_command_prints_the_path_of_the_report(sweep: Sweep, tmp_path: Path) -> None:
    done = run_python(["-m", "crackdet", "report", sweep.folder, "--to", tmp_path / "out.html"], tmp_path)
    assert (done.returncode, done.stdout) == (0, f"report {tmp_path / 'out.html'}\n")
    assert (tmp_path / "out.html").stat().st_size < 6 * 2**20
    wrong = run_python(["-m", "crackdet", "report", "nowhere"], tmp_path)
    assert wrong.returncode == 2 and wrong.stderr.startswith("error: nowhere: ") and wrong.stderr.count("\n") == 1


@given(st.integers(0, 300), st.integers(2, 100))
def test_a_subsample_keeps_the_first_items_and_spreads_the_rest(number: int, limit: int) -> None:
    kept = subsample(range(number), limit)
    assert len(kept) == min(number, limit)
    assert kept == sorted(set(kept))
    if number > limit:
        first, rest = kept[: limit // 2], kept[limit // 2 :]
        assert first == list(range(limit // 2))
        gaps = {b - a for a, b in itertools.pairwise(rest)}
        assert not gaps or max(gaps) - min(gaps) <= 1


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=20))
def test_the_pareto_front_holds_the_points_that_no_other_dominates(points: list[tuple[int, int]]) -> None:
    front = [points[index] for index in pareto([(float(a), float(b)) for a, b in points])]
    undominated = {(x, y) for x, y in points if not any((a <= x and b > y) or (a < x and b >= y) for a, b in points)}
    assert front == sorted(undominated)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 6), st.integers(0, 3)), min_size=1, max_size=20))
def test_the_pareto_front_rests_on_no_difference_within_the_spread(points: list[tuple[int, int, int]]) -> None:
    front = [points[i] for i in pareto([(float(x), float(y)) for x, y, _ in points], [float(z) for *_, z in points])]
    assert max(y for _, y, _ in points) == front[-1][1]
    for (cost, value, spread), (other_cost, other_value, other_spread) in itertools.pairwise(front):
        assert value < other_value and cost < other_cost - max(spread, other_spread)


def test_a_sweep_that_trained_something_ends_with_its_report(tmp_path: Path, cache: Path) -> None:
    def start(name: str) -> str:
        base_overrides = [
            f"runtime.store={tmp_path / 'runs'}",
            f"runtime.cache={cache}",
            f"hydra.sweep.dir={tmp_path / name}",
        ]
        settings = [*TINY, *base_overrides, "runtime.device=cpu", "trainer.max_epochs=1"]
        done = run_python([ROOT / "train.py", "-m", *settings], tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    output = start("trained")
    assert f"report {tmp_path / 'trained' / 'report.html'}" in output
    assert (tmp_path / "trained" / "report.html").exists()
    start("again")
    assert not (tmp_path / "again" / "report.html").exists()


def test_times_of_different_gpus_are_not_compared(sweep: Sweep, tmp_path: Path) -> None:
    store = RunStore(copy_store(sweep, tmp_path))
    for number, run in enumerate(sweep.finished):
        copy = store.run(run.id)
        result = read_result(copy)
        assert result is not None
        gpu = ("NVIDIA T4", "NVIDIA H100 PCIe")[number % 2]
        copy.publish({**result, "device": "cuda", "gpu": gpu})
    page = write_report(store.root).read_text()
    assert "times were measured on different devices (NVIDIA H100 PCIe, NVIDIA T4) and cannot be compared" in page


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        ("train.py --config-dir '/my settings' -m model=mine seed=1,2", "--config-dir '/my settings' "),
        ("train.py -cn other --config-path=conf2 seed=1", "-cn other --config-path=conf2 "),
        ("train.py -m seed=1,2", ""),
        ("train.py 'unfinished", ""),
    ],
)
def test_the_command_of_a_run_keeps_its_configuration_flags(
    sweep: Sweep, tmp_path: Path, command: str, flags: str
) -> None:
    run = sweep.finished[0]
    shutil.copytree(run.directory, tmp_path / run.id)
    other = RunStore(tmp_path).run(run.id)
    provenance = {**run.snapshot().provenance, "command": command, "overrides": ["model=mine", "seed=1"]}
    write_json(other.provenance_file, provenance)
    found = recipe("again", RunRow(other.snapshot()))
    assert found.command == f"python train.py {flags}model=mine seed=1"


def test_the_title_names_the_sweep_or_the_store(sweep: Sweep, tmp_path: Path) -> None:
    timed = tmp_path / "2026-11-30" / "20-15-02"
    shutil.copytree(sweep.folder, timed)
    shutil.copytree(sweep.store.root, tmp_path / "2026-11-30" / "runs")
    for folder, name in ((timed, "Sweep 2026-11-30/20-15-02"), (tmp_path / "2026-11-30" / "runs", "Run store runs")):
        page = Reader(write_report(folder, tmp_path / "page.html"))
        for tag in ("title", "h1"):
            ((_, text),) = page.find(tag)
            assert text.startswith(f"{name}: custom")
