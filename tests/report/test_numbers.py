"""Every number of the page, computed from the runs' files in another way."""

import csv
import json
import math
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binomtest

from crackdet.core.licenses import RANDOM
from crackdet.report.build import write_report
from crackdet.store.run import Run
from tests.report.conftest import Reader, Sweep


def result(run: Run) -> dict[str, Any]:
    return json.loads(run.result_file.read_text())


def shown_result(sweep: Sweep, run: Run) -> dict[str, Any]:
    """Return a result in which the runs of one network have the fastest latency of all of them."""
    own = result(run)
    network = own["settings"]["model"]["conv_out"]
    others = [one for one in map(result, sweep.finished) if one["settings"]["model"]["conv_out"] == network]
    return own | {name: min(one[name] for one in others) for name in ("latency_ms", "feature_latency_ms")}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def figures(page: Reader) -> dict[str, Any]:
    return json.loads(next(page.find("script", _id="figures"))[1])


@pytest.fixture(scope="module")
def ranked(sweep: Sweep) -> list[Run]:
    return sorted(
        sweep.finished,
        key=lambda run: (-result(run)["accuracy"], result(run)["feature_flops"], result(run)["loss"], run.id),
    )


def cells(page: Reader) -> dict[str, dict[str, tuple[str, str]]]:
    """Return (value, text) of each run and column of the table."""
    table: dict[str, dict[str, tuple[str, str]]] = {}
    row = ""
    for tag, attrs, text in page.elements:
        if tag == "tr":
            row = attrs.get("id", "").removeprefix("run-") if "data-words" in attrs else ""
        if tag == "td" and row:
            table.setdefault(row, {})[attrs["data-name"]] = (attrs["data-value"], "".join(text))
    return table


def test_the_table_shows_the_results_by_rank(sweep: Sweep, page: Reader, ranked: list[Run]) -> None:
    table = cells(page)
    assert list(table) == [run.id for run in ranked]
    for rank, run in enumerate(ranked, 1):
        own, shown = shown_result(sweep, run), table[run.id]
        assert shown.pop("rank")[0] == str(rank)
        channels = own["settings"]["model"]["conv_out"]
        assert shown.pop("conv_out")[0] == f"[{channels[0]},{channels[1]}]"
        assert shown.pop("seed")[0] == str(own["settings"]["seed"])
        low, _, high = shown.pop("interval")[1].removesuffix("%").partition("\N{EN DASH}")
        right = round(own["accuracy"] * own["valid_images"])
        method = "wilson" if own["accuracy"] <= 0.99 else "exact"
        reference = binomtest(right, own["valid_images"]).proportion_ci(method=method)
        assert float(low) == pytest.approx(100 * reference.low, abs=0.051)
        assert float(high) == pytest.approx(100 * reference.high, abs=0.051)
        assert {name: float(value) for name, (value, _) in shown.items()} == {name: own[name] for name in shown}
        assert shown["accuracy"][1].startswith(f"{100 * own['accuracy']:.2f}")


def test_cards_show_the_best_and_the_recommended_run(sweep: Sweep, page: Reader, ranked: list[Run]) -> None:
    accuracy, text = next(page.find("p", data_name="accuracy"))
    assert float(accuracy["data-value"]) == result(ranked[0])["accuracy"]
    assert text == f"{100 * result(ranked[0])['accuracy']:.2f}\N{NARROW NO-BREAK SPACE}%"
    by_card: dict[str, set[str]] = defaultdict(set)
    for attrs, _ in page.find("dd"):
        if "data-name" in attrs:
            by_card[attrs["data-name"]].add(attrs["data-value"])
    assert by_card["license"] == {RANDOM}
    for name, values in by_card.items():
        assert values <= {str(result(run)[name]) for run in sweep.finished}, name


def test_confusion_counts_are_those_of_the_predictions(page: Reader, ranked: list[Run]) -> None:
    counted = {
        name: [int(attrs["data-value"]) for attrs, _ in page.find("td", data_name=name)]
        for name in ("hits", "misses", "false_alarms", "rejections")
    }
    predictions = rows(ranked[0].predictions_file)
    expected: dict[tuple[bool, bool], int] = defaultdict(int)
    for row in predictions:
        expected[row["crack"] == "1", 1 / (1 + math.exp(-float(row["logit"]))) > 0.5] += 1
    shown = [counted[name][0] for name in ("hits", "misses", "false_alarms", "rejections")]
    assert shown == [expected[True, True], expected[True, False], expected[False, True], expected[False, False]]
    assert (shown[0] + shown[3]) / len(predictions) == pytest.approx(result(ranked[0])["accuracy"])


def test_combinations_have_the_mean_and_the_deviation_of_their_runs(sweep: Sweep, page: Reader) -> None:
    grouped = defaultdict(list)
    for run in sweep.finished:
        grouped[str(result(run)["settings"]["model"]["conv_out"])].append(result(run)["accuracy"])
    expected = sorted((statistics.mean(values), statistics.stdev(values)) for values in grouped.values())
    means = [float(attrs["data-value"]) for attrs, _ in page.find("td", data_name="mean")]
    deviations = [float(attrs["data-value"]) for attrs, _ in page.find("td", data_name="sd")]
    assert sorted(zip(means, deviations, strict=True)) == [pytest.approx(pair) for pair in expected]


def test_importance_is_the_corrected_correlation_ratio(sweep: Sweep, page: Reader) -> None:
    shown = [float(attrs["data-value"]) for attrs, _ in page.find("td", data_name="importance")]
    results = [result(run) for run in sweep.finished]
    expected = []
    for setting in (lambda r: str(r["settings"]["model"]["conv_out"]), lambda r: r["settings"]["seed"]):
        groups = defaultdict(list)
        for own in results:
            groups[setting(own)].append(own["accuracy"])
        within = sum(statistics.pvariance(values) * len(values) for values in groups.values())
        total = statistics.variance([own["accuracy"] for own in results])
        expected.append(min(max(1 - within / (len(results) - len(groups)) / total, 0), 1))
    assert shown == [pytest.approx(share) for share in sorted(expected, reverse=True)]


@pytest.mark.parametrize("cost", ["feature_latency_ms", "feature_flops", "parameters", "seconds"])
def test_cost_figures_show_every_run_and_the_pareto_front(sweep: Sweep, figures: dict[str, Any], cost: str) -> None:
    points = sorted((shown_result(sweep, run)[cost], result(run)["accuracy"]) for run in sweep.finished)
    front, *groups = figures[f"section1-{cost}"]["data"]
    plotted = sorted(pair for group in groups for pair in zip(group["x"], group["y"], strict=True))
    assert plotted == points
    if cost == "feature_latency_ms":  # the front leaves out what differs by less than the measurements of one network
        assert set(zip(front["x"], front["y"], strict=True)) <= set(points) and max(front["y"]) == max(
            y for _, y in points
        )
        return
    undominated = sorted(
        {
            (x, y)
            for x, y in points
            if not any((a <= x and b > y) or (a < x and b >= y) for a, b in points)
        }
    )  # fmt: skip
    assert sorted(zip(front["x"], front["y"], strict=True)) == undominated


def test_curves_are_the_histories(sweep: Sweep, figures: dict[str, Any]) -> None:
    for column in ("accuracy", "loss"):
        plotted = sorted(trace["y"] for trace in figures[f"section1-curves-{column}"]["data"])
        expected = sorted(
            [float(row[f"{split}_{column}"]) for row in rows(run.history_file)]
            for run in sweep.finished
            for split in ("train", "valid")
        )
        assert plotted == expected


def test_parallel_coordinates_pass_through_each_run(sweep: Sweep, figures: dict[str, Any]) -> None:
    *settings, accuracy = figures["section1-parallel"]["data"][0]["dimensions"]
    plotted = sorted(zip(accuracy["values"], *(axis["values"] for axis in settings), strict=True))
    ticks = [dict(zip(axis.get("tickvals", ()), axis.get("ticktext", ()), strict=True)) for axis in settings]
    named = [(line[0], *(names[place] for names, place in zip(ticks, line[1:], strict=True))) for line in plotted]
    expected = []
    for run in sweep.finished:
        own = result(run)["settings"]
        values = {"conv_out": "[{},{}]".format(*own["model"]["conv_out"]), "seed": str(own["seed"])}
        expected.append((result(run)["accuracy"], *(values[axis["label"]] for axis in settings)))
    assert sorted(named) == sorted(expected)


@pytest.mark.parametrize("metric", ["recall", "roc_auc"])
def test_a_report_can_rank_by_another_metric(sweep: Sweep, tmp_path: Path, metric: str) -> None:
    page = Reader(write_report(sweep.folder, tmp_path / "report.html", metric))
    values = {run.id: result(run)[metric] for run in sweep.finished}
    shown = [float(row[metric][0]) for row in cells(page).values()]
    assert shown == sorted(values.values(), reverse=True)
    title = {"recall": "recall", "roc_auc": "ROC-AUC"}[metric]
    assert next(page.find("h3"))[1].startswith(f"Highest {title}")
    assert float(next(page.find("p", data_name=metric))[0]["data-value"]) == max(values.values())

    figures = json.loads(next(page.find("script", _id="figures"))[1])
    plotted = figures["section1-seconds"]
    assert plotted["layout"]["yaxis"]["title"]["text"] == f"validation {title}"
    assert sorted(y for group in plotted["data"][1:] for y in group["y"]) == sorted(values.values())
    axis = figures["section1-parallel"]["data"][0]["dimensions"][-1]
    assert (axis["label"], sorted(axis["values"])) == (title, sorted(values.values()))

    grouped = defaultdict(list)
    for run in sweep.finished:
        grouped[str(result(run)["settings"]["model"]["conv_out"])].append(values[run.id])
    means = [float(attrs["data-value"]) for attrs, _ in page.find("td", data_name="mean")]
    assert sorted(means) == pytest.approx(sorted(map(statistics.mean, grouped.values())))
