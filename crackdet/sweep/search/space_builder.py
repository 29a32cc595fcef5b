"""Overrides -> search space: which keys are fixed, which are parameters, and under which options they exist."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from math import prod
from types import MappingProxyType
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.types import HydraContext

from crackdet.config.groups import PATHS
from crackdet.config.overrides import parse_overrides
from crackdet.config.parsing import check_network_name
from crackdet.config.schema import setting_at
from crackdet.core.errors import UserError
from crackdet.running.job import Job
from crackdet.sweep.composition import Composition
from crackdet.sweep.conditional import explain
from crackdet.sweep.counting import num_values
from crackdet.sweep.search.described import parse_described
from crackdet.sweep.search.job_factory import JobFactory
from crackdet.sweep.search.parameter import Parameter, is_integer, parse_parameter
from crackdet.sweep.search.space import SEED, ConditionalSpace, ReferenceRun, Space
from crackdet.sweep.selection import is_sweep_setting

log = logging.getLogger(__name__)

# Settings whose value in an identity is another than in the override, or absent.
NORMALISED_KEYS = {"model.name", "model.weights", "model._target_", "trainer.compile", *PATHS}
MAX_DATA_SETS = 16  # data sets that are listed to know their fingerprints


def build_space(
    arguments: Sequence[str],
    search_space: Mapping[str, Any],
    context: HydraContext,
    factory: JobFactory,
    networks: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Space:
    """Return the space that the overrides in `arguments` span.

    Args:
        search_space: `hydra.sweeper.search_space`: more parameters, if the overrides do not set them.
        factory: Composes the overrides.
        networks: Choices of the network, by name, that take several overrides each, the option of `model` first.

    Raises:
        UserError: If a key exists under none of the options, its values cannot be searched, or some options cannot be
            trained with any value; all such options are named.
    """
    parser = OverridesParser.create(config_loader=context.config_loader)
    overrides = [_without_choice(override) for override in parse_overrides(arguments, parser)]
    return _SpaceBuilder(parse_overrides(overrides, parser), search_space, factory, networks).build()


class _SpaceBuilder:
    def __init__(
        self,
        overrides: Sequence[Override],
        search_space: Mapping[str, Any],
        factory: JobFactory,
        networks: Mapping[str, Sequence[str]],
    ) -> None:
        self._factory = factory
        self._networks = networks
        names = tuple(networks)
        self._groups = [Parameter("model", "choice", names, names)] if names else []  # choices of config groups
        self._values: dict[str, Override] = {}  # other parameters
        self._described: dict[str, Parameter] = {}  # of `search_space`, which are not groups
        self._fixed: dict[str, Override] = {}
        self._seeds: list[str] = []
        self._compositions: list[Composition] = []  # of each choice of options
        latest: dict[str, Override] = {}
        for override in overrides:
            if not is_sweep_setting(override):
                latest.pop(override.key_or_group, None)  # the later of two overrides of a key counts
                latest[override.key_or_group] = override
        for name, override in latest.items():
            if not override.is_sweep_override():
                self._fixed[name] = override
            elif name == SEED:
                if override.is_interval_sweep():
                    raise UserError(f"{override.input_line}: replicates need single seeds, as in seed=0,1,2")
                num_values(override)  # refuses too many
                self._seeds = list(dict.fromkeys(override.sweep_string_iterator()))
            elif factory.is_group(name):
                if override.is_interval_sweep():
                    raise UserError(f"{override.input_line}: must be options of the config group {name}")
                self._groups.append(parse_parameter(override, None))
            else:
                self._values[name] = override
        for name, content in search_space.items():
            if networks and name in ("model", "model.name"):
                raise UserError(f"hydra.sweeper.search_space.{name}: contradicts sweep.top; leave one of them out")
            if name.lstrip("+") not in latest:
                parameter = parse_described(name, content)
                if factory.is_group(name):
                    if parameter.kind != "choice":
                        raise UserError(f"hydra.sweeper.search_space.{name}: needs type categorical, with choices")
                    self._groups.append(parameter)
                else:
                    self._described[name] = parameter
        # keys that none of the options looked at so far has, with their text
        self._unmatched = {name: str(each.input_line) for name, each in {**self._values, **self._fixed}.items()}
        self._unmatched |= {name: name for name in self._described}

    def build(self) -> Space:
        branches: list[ConditionalSpace] = []
        problems = []
        for texts in product(*(group.suggestions for group in self._groups)):
            choices = [self._choice(group, text) for group, text in zip(self._groups, texts, strict=True)]
            options = {group.name: text for group, text in zip(self._groups, texts, strict=True)}
            try:
                branches += self._branch(options, choices)
            except UserError as error:
                problems.append(f"{' '.join(choices) or 'every suggestion'}\n    {error}")
        if problems:
            raise UserError("the search cannot begin:\n  " + "\n  ".join(problems))
        if self._unmatched:
            line = next(iter(self._unmatched.values()))
            check_network_name([f"model={self._compositions[0].options['model']}", line])
            raise UserError(f"{line}: {self._explain_unmatched(line)}")
        self._log_conditional()
        if not branches:
            raise UserError("sweep.exclude: excludes every suggestion")
        if not self._groups and not any(branch.parameters for branch in branches):
            raise UserError(
                "there is nothing to search over; give parameters as in model.linear_features=range(64,1025,64), or in "
                "hydra.sweeper.params"
            )
        space = Space(self._groups, branches, self._seeds)
        self._factory.check_exclude(space)
        return space

    def _choice(self, group: Parameter, text: str) -> str:
        return self._networks[text][0] if self._networks and group.name == "model" else f"{group.key}={text}"

    def _branch(self, options: Mapping[str, str], choices: Sequence[str]) -> list[ConditionalSpace]:
        """Return the part of the space under these options; empty if all of it is excluded."""
        fixed_groups = {n: _text(each) for n, each in self._fixed.items() if self._factory.is_group(n)}
        composition = self._factory.composition([*choices, *fixed_groups.values()])
        self._compositions.append(composition)
        of_network = self._networks.get(options.get("model", ""), ())[1:]
        fixed, parameters = [*choices, *fixed_groups.values(), *of_network], []
        matched = list(fixed_groups)
        for name, override in self._fixed.items():
            is_name = name == "model.name" and override.value() == composition.options["model"]
            if name not in fixed_groups and (_adds(override) or is_name or composition.has(name)):
                matched.append(name)
                fixed.append("+" * composition.must_add(name) + _text(override))
        for name, override in self._values.items():
            if _adds(override) or composition.has(name):
                matched.append(name)
                parameters.append(parse_parameter(override, _is_integer(name, composition.tree)))
        for name, parameter in self._described.items():
            if parameter.key.startswith("+") or composition.has(parameter.name):
                matched.append(name)
                parameters.append(parameter)
        parameters = [replace(p, key=f"+{p.key}") if composition.must_add(p.key) else p for p in parameters]
        for name in matched:
            self._unmatched.pop(name, None)
        references = self._references(fixed, parameters)
        return [ConditionalSpace(options, fixed, parameters, references)] if references else []

    def _log_conditional(self) -> None:
        """Log which parameters and fixed settings some of the options do not have."""
        names = [name for name, override in {**self._fixed, **self._values}.items() if not _adds(override)]
        owners = {name: [one for one in self._compositions if one.has(name)] for name in [*names, *self._described]}
        some = {name: found for name, found in owners.items() if 0 < len(found) < len(self._compositions)}
        if some:
            log.info("%s", explain(some))

    def _references(self, overrides: Sequence[str], parameters: Sequence[Parameter]) -> list[ReferenceRun]:
        """Return a run for each choice of the normalised keys that can be trained; empty if all are excluded."""
        normalised = [p for p in parameters if p.kind == "choice" and p.name in NORMALISED_KEYS]
        others = [p for p in parameters if p not in normalised]
        found: list[ReferenceRun] = []
        problem: UserError | None = None
        fingerprints: dict[tuple[str, ...], list[str]] = {}  # by the choice of data
        for texts in product(*(parameter.suggestions for parameter in normalised)):
            choices = [parameter.override(text) for parameter, text in zip(normalised, texts, strict=True)]
            try:
                job = self._reference_job([*overrides, *choices], others)
            except UserError as error:
                problem = problem or error
                continue
            if job is not None:
                params = {parameter.name: text for parameter, text in zip(normalised, texts, strict=True)}
                data = tuple(text for name, text in params.items() if name.startswith("data."))
                if data not in fingerprints:
                    fingerprints[data] = self._fingerprints(job, others)
                found.append(ReferenceRun(params, json.loads(job.identity.canonical), fingerprints[data]))
        if problem and not found:
            raise problem
        return found

    def _reference_job(self, overrides: Sequence[str], parameters: Sequence[Parameter]) -> Job | None:
        """Return a job with the first values of all parameters, or with the last; None if both are excluded."""
        seed = [f"{SEED}={self._seeds[0]}"] if self._seeds else []
        problem: UserError | None = None
        for end in (0, 1):
            line = [*overrides, *(parameter.override(parameter.ends[end]) for parameter in parameters), *seed]
            try:
                return self._factory.job(line)
            except UserError as error:
                if not self._factory.excludes(line):
                    problem = problem or error
        if problem:
            raise problem
        return None

    def _fingerprints(self, job: Job, parameters: Sequence[Parameter]) -> list[str]:
        """Return the fingerprints of all data that the parameters can choose; empty if they choose none or too many."""
        choosing = [parameter for parameter in parameters if parameter.name.startswith("data.")]
        counts = [parameter.count for parameter in choosing]
        if not choosing or None in counts or prod(count for count in counts if count) > MAX_DATA_SETS:
            return []
        found = set()
        for values in product(*(parameter.all() for parameter in choosing)):
            overrides = [parameter.override(value) for parameter, value in zip(choosing, values, strict=True)]
            try:
                found.add(str(self._factory.job([*job.overrides, *overrides]).identity.content["fingerprint"]))
            except UserError:  # these values cannot be trained
                continue
        return sorted(found)

    def _explain_unmatched(self, line: str) -> str:
        """Return what Hydra says about a key that exists under no option."""
        options = [self._choice(group, group.suggestions[0]) for group in self._groups]
        try:
            self._factory.compose([*options, f"{line.partition('=')[0]}=0"])
        except UserError as error:
            return str(error).partition(": ")[2] or str(error)
        return "is no setting under any of the options"


def _text(override: Override) -> str:
    key = override.get_key_element()
    return key if override.is_delete() and override.value() is None else f"{key}={override.get_value_element_as_str()}"


def _without_choice(override: Override) -> str:
    """Return the text of an override, with a choice from one value as this value, which is no parameter."""
    values = list(override.sweep_string_iterator()) if override.is_choice_sweep() else []
    return f"{override.get_key_element()}={values[0]}" if len(values) == 1 else str(override.input_line)


def _adds(override: Override) -> bool:
    """Return whether an override adds or deletes a setting, which need not exist."""
    return override.type is not OverrideType.CHANGE


def _is_integer(name: str, tree: Mapping[str, Any]) -> bool | None:
    """Return whether a setting is an integer: by the schema, else by its value; None if neither tells."""
    if (integer := is_integer(name)) is not None:
        return integer
    value = setting_at(tree, name)
    return isinstance(value, int) if isinstance(value, int | float) and not isinstance(value, bool) else None
