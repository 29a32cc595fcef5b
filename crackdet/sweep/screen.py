"""`sweep.top=8`: the best candidates of a screen become the networks of the next sweep.

The screen is the finished runs with `trainer.probe=true` on the same images. Candidates are ranked by the accuracy of
the probe, then by its log loss. Each brings the settings of its network, but not those of the probe.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from statistics import fmean
from typing import Any

from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import HydraContext
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from crackdet.config.groups import NAMED_NETWORKS, PATHS
from crackdet.config.hydra_errors import explain_hydra_error
from crackdet.config.overrides import override_value
from crackdet.config.parsing import parse_group
from crackdet.config.schema import Data, Runtime, Sweep, flatten
from crackdet.core.errors import UserError
from crackdet.core.files import expand_home
from crackdet.data.dataset import data_fingerprint
from crackdet.store.identity import read_identity
from crackdet.store.run_folder import RunFolder
from crackdet.store.run_store import RunStore
from crackdet.store.snapshot import RunSnapshot, Status
from crackdet.sweep.composition import CachedComposer

log = logging.getLogger(__name__)

# Settings of `model` that the next sweep does not take: those of the frozen run, and what the option implies.
LEFT_OUT = ("name", "library", "_target_", "freeze_features", "linear_features", "_source_", "_weights_")
SHOWN = {
    "accuracy": "accuracy {:.4f}",
    "loss": "log loss {:.4f}",
    "knn_accuracy": "k-NN accuracy {:.4f}",
    "logme": "LogME {:.3f}",
}


@dataclass(frozen=True)
class Candidate:
    """A network of a screen, with its probe runs: one per seed."""

    overrides: tuple[str, ...]  # model=OPTION, and what differs from the option
    runs: Sequence[RunSnapshot]

    @property
    def text(self) -> str:
        """The overrides without `model=`, as a value of the setting `model`."""
        return " ".join(self.overrides).removeprefix("model=")

    def mean(self, name: str) -> float | None:
        """Return the mean of a field of the results; None if a run has none."""
        values = [(run.result or {}).get(name) for run in self.runs]
        return None if None in values else fmean(map(float, values))  # type: ignore[arg-type]

    def describe(self) -> str:
        """Return the candidate with its results and the id of its first run."""
        results = {name: self.mean(name) for name in SHOWN}
        shown = [SHOWN[name].format(value) for name, value in results.items() if value is not None]
        return f"model={self.text}: {', '.join(shown)} ({self.runs[0].id})"


def best_candidates(
    settings: Sweep, overrides: Sequence[Override], config: DictConfig, context: HydraContext
) -> list[Candidate]:
    """Return the best `sweep.top` candidates, the best first, and log them; empty if the setting is null.

    Args:
        settings: Of the sweep.
        overrides: Those of the command, with which each candidate will be trained.
        config: The composed configuration of the sweep, whose data the screen must have seen.
        context: Hydra's, which composes the options of `model`.

    Raises:
        UserError: If there is no such screen, or several, or the overrides choose networks themselves.
    """
    if settings.top is None:
        if settings.screen is not None:
            raise UserError(f"sweep.screen={settings.screen}: needs sweep.top=NUMBER, how many candidates to train")
        return []
    option = f"sweep.top={settings.top}"
    keys = {override.key_or_group for override in overrides}
    for override in overrides:
        if override.key_or_group in ("model", "model.name"):
            raise UserError(
                f"{option}: takes the networks from a screen, which contradicts {override.input_line}; leave one out"
            )
    runtime: Runtime = parse_group("runtime", config.get("runtime"))
    data: Data = parse_group("data", config.get("data"))
    if swept := [each for each in overrides if each.is_sweep_override() and _chooses_images(each.key_or_group)]:
        raise UserError(f"{option}: needs one data set, that of the screen; give {swept[0].key_or_group} one value")
    path = expand_home(settings.screen or runtime.store)
    folder = RunFolder.open(path, "sweep.screen=") if settings.screen else RunFolder(path, RunStore(path))
    runs = _choose_screen(_probe_runs(folder, data_fingerprint(data, runtime), option), data, option)
    names = context.config_loader.get_group_options("model")
    found = _ranked(runs, _ModelOptions(CachedComposer(context.config_loader, config), names), keys)
    chosen = found[: settings.top]
    if len(found) < settings.top:
        log.warning("%s: the screen has %d candidates; all of them are trained", option, len(found))
    lines = [f"{rank}. {candidate.describe()}" for rank, candidate in enumerate(chosen, 1)]
    log.info("%s: the best of %d candidates of the screen:\n  %s", option, len(found), "\n  ".join(lines))
    return chosen


def check_no_points(points: Sequence[Sequence[str]], settings: Sweep) -> None:
    """Raise UserError if a grid has both candidates of a screen and points of its own."""
    if settings.top is not None and points:
        raise UserError(f"sweep.top={settings.top}: not possible together with hydra.sweeper.points; leave one out")


def _chooses_images(key: str) -> bool:
    """Return whether a setting decides which images there are, rather than how they are split and read."""
    group, _, name = key.partition(".")
    return group == "data" and name.partition(".")[0] not in {item.name for item in fields(Data)} - {"name"}


def _probe_runs(folder: RunFolder, fingerprint: str, option: str) -> list[RunSnapshot]:
    """Return the finished probe runs on these images."""
    found, num_others = [], 0
    for run in folder.runs():
        content = read_identity(run)
        if not content.get("trainer", {}).get("probe"):
            continue
        if content["fingerprint"] != fingerprint:
            num_others += 1
        elif (snapshot := run.snapshot()).status is Status.FINISHED:
            found.append(snapshot)
    if not found:
        others = f"; {num_others} such runs are on other images" if num_others else ""
        raise UserError(
            f"{option}: {folder.path if folder.is_sweep else folder.store.root} has no finished run with "
            f"trainer.probe=true on these images{others}. Screen candidates on the same data first: "
            "python train.py -m experiment=screen model=NAME,NAME"
        )
    return found


def _choose_screen(runs: Sequence[RunSnapshot], data: Data, option: str) -> list[RunSnapshot]:
    """Return the runs of one screen: those that differ in the network and the seed only.

    Of several screens it is the one with the data settings of the sweep, such as the image size.

    Raises:
        UserError: If several screens are left.
    """
    screens: dict[str, list[RunSnapshot]] = {}
    for run in runs:
        rest = {group: values for group, values in run.settings.items() if group not in ("model", "seed")}
        key = json.dumps([(run.result or {}).get("valid_digest"), _without_paths(rest)], sort_keys=True)
        screens.setdefault(key, []).append(run)
    if len(screens) == 1:
        return list(runs)
    own = _without_paths({"data": asdict(data)})
    same = [each for each in screens.values() if own.items() <= _without_paths(each[0].settings).items()]
    if len(same) == 1:
        return same[0]
    settings = [_without_paths(each[0].settings) for each in screens.values()]
    names = {name for one in settings for name in one if not name.startswith("model.") and name != "seed"}
    different = sorted(name for name in names if len({json.dumps(one.get(name)) for one in settings}) > 1)
    raise UserError(
        f"{option}: there are {len(screens)} screens on these images, which differ in "
        f"{', '.join(different) or 'their validation images'}; choose one with sweep.screen=FOLDER, the folder of its "
        "sweep, such as multirun/DATE/TIME"
    )


def _without_paths(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings by dotted key, without those that name a location or are null."""
    return {key: value for key, value in flatten(tree).items() if key not in PATHS and value is not None}


def _ranked(runs: Sequence[RunSnapshot], options: "_ModelOptions", given: set[str]) -> list[Candidate]:
    """Return the candidates of a screen, the best first; settings that the command gives replace theirs."""
    by_network: dict[tuple[str, ...], list[RunSnapshot]] = {}
    for run in runs:
        overrides = options.overrides(run)
        kept = tuple(text for text in overrides if text.partition("=")[0].lstrip("+") not in given)
        by_network.setdefault(kept, []).append(run)
    candidates = [Candidate(overrides, found) for overrides, found in by_network.items()]
    return sorted(candidates, key=lambda one: (-(one.mean("accuracy") or 0), one.mean("loss") or 0, one.overrides))


class _ModelOptions:
    """Finds the overrides that choose the network of a run."""

    def __init__(self, composer: CachedComposer, names: Sequence[str]) -> None:
        self._composer, self._names = composer, names

    def overrides(self, run: RunSnapshot) -> tuple[str, ...]:
        """Return `model=OPTION` and the settings of the network that differ from those of the option.

        Raises:
            UserError: If no option of `model` has the class of the network.
        """
        model = dict(run.settings["model"])
        option = self._option(model, run.id)
        default = self._model(option)
        settings = {key: value for key, value in model.items() if key not in LEFT_OUT}
        if default.get("name") != model["name"]:
            settings = {"name": model["name"], **settings}
        changed = {key: value for key, value in settings.items() if default.get(key) != value}
        texts = (f"{'' if key in default else '+'}model.{key}={override_value(each)}" for key, each in changed.items())
        return (f"model={option}", *texts)

    def _option(self, model: Mapping[str, Any], run_id: str) -> str:
        name = str(model.get("name"))
        if target := model.get("_target_"):
            for option in self._names:
                if self._model(option).get("_target_") == target and self._model(option).get("name") == name:
                    return option
            raise UserError(
                f"sweep.top: {run_id} has the network {target}, but no option of model has this class and the name "
                f"{name}; give the folder of its file with --config-dir"
            )
        if model.get("library") == "timm":
            return f"timm/{name}"
        return name if name in NAMED_NETWORKS else "torchvision"

    def _model(self, option: str) -> Mapping[str, Any]:
        try:
            model = self._composer.composition((f"model={option}",)).tree["model"]
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(explain_hydra_error(error)) from None
        return model if isinstance(model, Mapping) else {}
