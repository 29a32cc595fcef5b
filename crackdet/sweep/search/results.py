"""The results of a search in its folder: `search.json` for summaries, and the file of hydra-optuna-sweeper."""

import logging
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from omegaconf import OmegaConf

from crackdet.analysis.importance import importances
from crackdet.analysis.latency import pool_latencies, spread_of
from crackdet.analysis.search_results import FILE
from crackdet.config.interpolation import escape
from crackdet.core.files import write_json
from crackdet.sweep.search.history import History
from crackdet.sweep.search.objectives import Objective, pareto_front, values_of
from crackdet.sweep.search.trial import Outcome, Trial

log = logging.getLogger(__name__)


def write_results(history: History, directory: Path) -> None:
    """Write the best trials, the number of trials by outcome, and the importance of the parameters."""
    objectives, space = history.objectives, history.space
    trials = history.complete_trials()
    values, spreads = _pooled_values([trial for trial, _ in trials], objectives)
    front = pareto_front(values, objectives, spreads) if trials else []
    if len(objectives) == 1 and front:  # of equally good trials the cheapest, as in a summary
        front = [min(front, key=lambda index: _cost(trials[index][0]))]
    best: list[dict[str, Any]] = [
        {
            "params": space.values_of(trials[index][0].params),
            "values": values[index],
            "runs": [run.id for run in trials[index][0].runs.values()],
        }
        for index in front
    ]
    settings = [
        {name: _hashable(value) for name, value in space.values_of(trial.params).items()} for trial, _ in trials
    ]
    outcomes = [outcome for _, outcome in history.outcomes() if outcome is not Outcome.PARTIAL]
    content: dict[str, Any] = {
        "schema": 1,
        "objectives": [vars(objective) for objective in objectives],
        "seeds": list(space.seeds),
        "trials": {str(outcome): outcomes.count(outcome) for outcome in dict.fromkeys(outcomes)},
        "best": best,
        "importance": {
            objective.name: importances(settings, [trial_values[i] for trial_values in values])
            for i, objective in enumerate(objectives)
        },
    }
    write_json(directory / FILE, content)
    results: dict[str, Any] = {"name": "optuna"}
    if len(objectives) > 1:
        results["solutions"] = [{"params": item["params"], "values": item["values"]} for item in best]
    elif best:
        results |= {"best_params": best[0]["params"], "best_value": best[0]["values"][0]}
    OmegaConf.save(OmegaConf.create(escape(results)), directory / "optimization_results.yaml")


def warn_of_different_images(history: History) -> None:
    """Warn if the compared runs were evaluated on different validation images."""
    results = [run.result or {} for trial, _ in history.complete_trials() for run in trial.runs.values()]
    if len({str(result.get("valid_digest")) for result in results}) > 1:
        log.warning(
            "the parameters also decide which images are used for validation, so the compared runs were evaluated on "
            "different images: a better value may only mean easier images"
        )


def _pooled_values(
    trials: Sequence[Trial], objectives: Sequence[Objective]
) -> tuple[list[list[float]], list[list[float]]]:
    """Return the objectives of complete trials and their spreads, with one latency for the runs of one network."""
    runs = [run for trial in trials for run in trial.runs.values()]
    pooled = dict(zip([run.id for run in runs], pool_latencies([run.result or {} for run in runs]), strict=True))
    values, spreads = [], []
    for trial in trials:
        results = [pooled[run.id] for run in trial.runs.values()]
        values.append([fmean(column) for column in zip(*(values_of(r, objectives) for r in results), strict=True)])
        spreads.append([max(spread_of(result, one.name) for result in results) for one in objectives])
    return values, spreads


def _cost(trial: Trial) -> tuple[float, float]:
    results = [run.result or {} for run in trial.runs.values()]
    return sum(r.get("feature_flops") or 0 for r in results), sum(r["loss"] for r in results)


def _hashable(value: Any) -> Any:
    return str(value) if isinstance(value, list | dict) or value is None else value
