"""What a search has found, into its folder: `search.json` for summaries, and hydra-optuna-sweeper's own file."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from crackdet.analysis.importance import importances
from crackdet.analysis.search_results import FILE
from crackdet.core.files import write_json
from crackdet.sweep.search.history import History, Outcome, Trial, plain
from crackdet.sweep.search.objectives import Objective, pareto_front

log = logging.getLogger(__name__)


def write_report(history: History, objectives: Sequence[Objective], directory: Path) -> None:
    """Writes the best trials, their number and the importance of the parameters."""
    measured = history.measured()
    values = [found for _, found in measured]
    front = pareto_front(values, objectives) if measured else []
    if len(objectives) == 1 and front:  # a tie goes to the cheaper, as in a summary
        front = [min(front, key=lambda index: _cost(measured[index][0]))]
    best: list[dict[str, Any]] = [
        {
            "params": plain(measured[index][0].params, history.space),
            "values": values[index],
            "runs": [run.id for run in measured[index][0].runs.values()],
        }
        for index in front
    ]
    settings = [plain(trial.params, history.space) for trial, _ in measured]
    comparable = [{name: _hashable(value) for name, value in params.items()} for params in settings]
    outcomes = [outcome for _, outcome in history.outcomes() if outcome is not Outcome.PARTIAL]
    content: dict[str, Any] = {
        "schema": 1,
        "objectives": [vars(objective) for objective in objectives],
        "seeds": list(history.space.seeds),
        "trials": {str(outcome): outcomes.count(outcome) for outcome in dict.fromkeys(outcomes)},
        "best": best,
        "importance": {
            objective.name: importances(comparable, [found[i] for found in values])
            for i, objective in enumerate(objectives)
        },
    }
    write_json(directory / FILE, content)
    found: dict[str, Any] = {"name": "optuna"}
    if len(objectives) > 1:
        found["solutions"] = [{"params": item["params"], "values": item["values"]} for item in best]
    elif best:
        found |= {"best_params": best[0]["params"], "best_value": best[0]["values"][0]}
    OmegaConf.save(OmegaConf.create(found), directory / "optimization_results.yaml")


def _cost(trial: Trial) -> tuple[float, float]:
    results = [run.result or {} for run in trial.runs.values()]
    return sum(r.get("feature_flops") or 0 for r in results), sum(float(r["loss"]) for r in results)


def _hashable(value: Any) -> Any:
    return str(value) if isinstance(value, list | dict) or value is None else value


def warn_of_other_images(history: History) -> None:
    """Says it where runs were compared that were not judged by the same images."""
    runs = [run for trial, _ in history.measured() for run in trial.runs.values()]
    if len({str((run.result or {}).get("valid_digest")) for run in runs}) > 1:
        log.warning(
            "the parameters choose the validation images too, and runs on different ones were compared with each "
            "other: what looks better may only have had easier images"
        )
