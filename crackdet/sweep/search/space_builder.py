"""Overrides -> search space: which keys are fixed, which are searched over, and under which options they exist."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import HydraContext
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from crackdet.config.composing import explain_hydra_error
from crackdet.config.parsing import resolved
from crackdet.config.schema import PATHS
from crackdet.core.errors import UserError
from crackdet.running.job import Job, make_job
from crackdet.sweep.composition import CachedComposer
from crackdet.sweep.search.parameter import Parameter, described, is_whole, parse_parameter
from crackdet.sweep.search.space import SEED, ConditionalSpace, Params, ReferenceRun, Space, setting_at
from crackdet.sweep.selection import ExcludeFilter, is_sweep_setting

# Settings of which an identity holds more than the setting, something else, or nothing.
HELD_OTHERWISE = {"model.name", "model.weights", "model._target_", "trainer.compile", *PATHS}
MOST_DATA = 16  # sets of images that are listed to know their fingerprints


class JobFactory:
    """Suggestions as jobs, and the branches of a space; what is alike is composed and listed once."""

    def __init__(self, context: HydraContext, config: DictConfig, excluded: ExcludeFilter) -> None:
        self._loader = context.config_loader
        self._composer = CachedComposer(self._loader, config)
        self._excluded = excluded
        self._fingerprints: dict[str, str] = {}
        self._groups: dict[str, bool] = {}  # Hydra looks through its folders, 30 ms each time

    def is_group(self, key: str) -> bool:
        """Whether a key chooses among the options of a config group."""
        if key not in self._groups:
            self._groups[key] = bool(self._loader.get_group_options(key))
        return self._groups[key]

    def tree(self, overrides: Sequence[str]) -> dict[str, Any]:
        """The composed configuration as plain values; raises UserError where there is none."""
        try:
            return resolved(self._composer.compose(list(overrides)))
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(explain_hydra_error(error)) from None

    def excludes(self, overrides: Sequence[str]) -> bool:
        """Whether `sweep.exclude` leaves it out; raises UserError where it cannot be decided."""
        return self._excluded.asks and self._excluded(self.tree(overrides))

    @property
    def has_excluded(self) -> bool:
        """Whether something may be left out."""
        return self._excluded.asks

    def leaves_out(self, space: Space, params: Params) -> bool:
        """Whether one of the runs of a suggestion is excluded, without which it cannot be judged like the others."""
        return any(self.excludes(space.overrides(params, seed)) for seed in space.seeds or [""])

    def check_excluded(self, space: Space) -> None:
        """Raises UserError where `sweep.exclude` speaks of a setting that no run of the space has."""
        for branch in space.branches:
            params = {parameter.name: parameter.first for parameter in branch.parameters}
            with suppress(UserError):  # these values may be none that it can be decided for
                self.leaves_out(space, {**branch.options, **params})
        self._excluded.finish()

    def job(self, overrides: Sequence[str]) -> Job:
        """The run of these overrides, excluded or not.

        Raises:
            UserError: where it could not be trained.
        """
        return make_job(self.tree(overrides), list(overrides), self._fingerprints)


@dataclass(frozen=True)
class _Given:
    """The overrides of a search by what they are; of two of one key the later counts."""

    groups: dict[str, Override]
    values: dict[str, Override]
    fixed: dict[str, Override]
    seeds: list[str]


def build_space(
    arguments: Sequence[str], search_space: Mapping[str, Any], context: HydraContext, planner: JobFactory
) -> Space:
    """The space that these overrides span.

    Raises:
        UserError: for a key that exists under none of the options, for values that cannot be searched over, for
            options that cannot be trained with any value; all of them at once.
    """
    parser = OverridesParser.create(config_loader=context.config_loader)
    given = _sort(parser.parse_overrides(list(arguments)), planner.is_group)
    overridden = {*given.groups, *given.values, *given.fixed}
    extra = {name: described(name, item) for name, item in search_space.items() if name.lstrip("+") not in overridden}
    groups = [parse_parameter(override, None) for override in given.groups.values()]
    groups += [parameter for name, parameter in extra.items() if planner.is_group(name)]
    extra = {name: parameter for name, parameter in extra.items() if not planner.is_group(name)}
    branches, problems, homeless = [], [], {**given.values, **given.fixed, **dict.fromkeys(extra)}
    for texts in product(*(group.texts for group in groups)):
        options = {group.name: text for group, text in zip(groups, texts, strict=True)}
        chosen = [f"{group.key}={text}" for group, text in zip(groups, texts, strict=True)]
        try:
            branch = _branch(options, chosen, given, extra, planner, homeless)
        except UserError as error:
            problems.append(f"{' '.join(chosen) or 'every suggestion'}\n    {error}")
        else:
            branches += [branch] if branch else []
    if problems:
        raise UserError("the search cannot begin:\n  " + "\n  ".join(problems))
    for name, override in homeless.items():
        line = override.input_line if override is not None else name
        raise UserError(f"{line}: {_unknown(str(line), groups, planner)}")
    if not branches:
        raise UserError("sweep.exclude leaves nothing to search over")
    if not groups and not any(branch.parameters for branch in branches):
        raise UserError(
            "there is nothing to search over; give parameters as in model.linear_features=range(64,1025,64), or in "
            "hydra.sweeper.params"
        )
    space = Space(groups, branches, given.seeds)
    planner.check_excluded(space)
    return space


def _sort(overrides: Sequence[Override], is_group: Callable[[str], bool]) -> _Given:
    given = _Given({}, {}, {}, [])
    for override in overrides:
        if is_sweep_setting(override):
            continue
        name = override.key_or_group
        for kind in (given.groups, given.values, given.fixed):
            kind.pop(name, None)
        if name == SEED:
            given.seeds.clear()
        if not override.is_sweep_override():
            given.fixed[name] = override
        elif name == SEED:
            if override.is_interval_sweep():
                raise UserError(f"{override.input_line}: replicates need single seeds, as in seed=0,1,2")
            given.seeds.extend(dict.fromkeys(override.sweep_string_iterator()))
        elif is_group(name):
            given.groups[name] = override
        else:
            given.values[name] = override
    return given


def _branch(
    options: Params,
    chosen: Sequence[str],
    given: _Given,
    extra: Mapping[str, Parameter],
    planner: JobFactory,
    homeless: dict[str, Override | None],
) -> ConditionalSpace | None:
    """The part of the space under these options; None where all of it is excluded.

    Raises:
        UserError: where nothing of it can be trained.
    """
    bare = [_text(override) for name, override in given.fixed.items() if planner.is_group(name)]
    tree = planner.tree([*chosen, *bare])

    def exists(override: Override) -> bool:
        return override.type.name != "CHANGE" or _has(tree, override.key_or_group)

    fixed, parameters = list(bare), []
    for name, override in given.fixed.items():
        if _text(override) in bare:
            homeless.pop(name, None)
        elif exists(override):
            homeless.pop(name, None)
            fixed.append(_text(override))
    for name, override in given.values.items():
        if exists(override):
            homeless.pop(name, None)
            parameters.append(parse_parameter(override, _is_whole(name, tree)))
    for name, parameter in extra.items():
        if parameter.key.startswith("+") or _has(tree, parameter.name):
            homeless.pop(name, None)
            parameters.append(parameter)
    examples = _examples([*chosen, *fixed], parameters, given.seeds, planner)
    return ConditionalSpace(options, fixed, parameters, examples) if examples else None


def _examples(
    overrides: Sequence[str], parameters: Sequence[Parameter], seeds: Sequence[str], planner: JobFactory
) -> list[ReferenceRun]:
    """A run for each choice of the settings that identities hold otherwise, as far as they can be trained.

    Raises:
        UserError: where none can be, and not because all are excluded.
    """
    otherwise = [p for p in parameters if p.kind == "choice" and p.name in HELD_OTHERWISE]
    others = [p for p in parameters if p not in otherwise]
    found: list[ReferenceRun] = []
    problem: UserError | None = None
    fingerprints: dict[tuple[str, ...], list[str]] = {}  # by what is chosen of the data
    for texts in product(*(parameter.texts for parameter in otherwise)):
        chosen = [parameter.override(text) for parameter, text in zip(otherwise, texts, strict=True)]
        try:
            job = _example([*overrides, *chosen], others, seeds, planner)
        except UserError as error:
            problem = problem or error
            continue
        if job is not None:
            params = {parameter.name: text for parameter, text in zip(otherwise, texts, strict=True)}
            data = tuple(text for name, text in params.items() if name.startswith("data."))
            if data not in fingerprints:
                fingerprints[data] = _fingerprints(job, others, planner)
            found.append(ReferenceRun(params, json.loads(job.identity.canonical), fingerprints[data]))
    if problem and not found:
        raise problem
    return found


def _fingerprints(job: Job, parameters: Sequence[Parameter], planner: JobFactory) -> list[str]:
    """Of all data that parameters can choose, where that is not too much to list."""
    deciding = [parameter for parameter in parameters if parameter.name.startswith("data.")]
    counts = [parameter.count for parameter in deciding]
    if not deciding or None in counts or prod(count for count in counts if count) > MOST_DATA:
        return []
    found = set()
    for values in product(*(parameter.all() for parameter in deciding)):
        overrides = [parameter.override(value) for parameter, value in zip(deciding, values, strict=True)]
        try:
            found.add(str(planner.job([*job.overrides, *overrides]).identity.content["fingerprint"]))
        except UserError:  # these values cannot be trained, so there is no run of them
            continue
    return sorted(found)


def _example(
    overrides: Sequence[str], parameters: Sequence[Parameter], seeds: Sequence[str], planner: JobFactory
) -> Job | None:
    """A job with the first values of all parameters, or with the last; None where neither can be and should be."""
    first = [p.override(p.first) for p in parameters]
    last = [p.override(p.texts[-1] if p.kind == "choice" else p.high) for p in parameters]
    seed = [f"{SEED}={seeds[0]}"] if seeds else []
    problem: UserError | None = None
    for values in (first, last):
        given = [*overrides, *values, *seed]
        try:
            return planner.job(given)
        except UserError as error:
            if not planner.excludes(given):
                problem = problem or error
    if problem:
        raise problem
    return None


def _unknown(line: str, groups: Sequence[Parameter], planner: JobFactory) -> str:
    """What Hydra says of a key that exists under no option."""
    options = [f"{group.key}={group.texts[0]}" for group in groups]
    key = line.partition("=")[0]
    try:
        planner.tree([*options, f"{key}=0"])
    except UserError as error:
        return str(error).partition(": ")[2] or str(error)
    return "is no setting under any of the options"


def _text(override: Override) -> str:
    key = override.get_key_element()
    return key if override.is_delete() and override.value() is None else f"{key}={override.get_value_element_as_str()}"


def _has(tree: Mapping[str, Any], name: str) -> bool:
    node: Any = tree
    for part in name.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return False
        node = node[part]
    return True


def _is_whole(name: str, tree: Mapping[str, Any]) -> bool | None:
    """Whether a setting is a whole number: by the schema, else by the value it has; None where neither knows."""
    if (whole := is_whole(name)) is not None:
        return whole
    value = setting_at(tree, name)
    return isinstance(value, int) if isinstance(value, int | float) and not isinstance(value, bool) else None
