"""The search space: the parameters that exist for each choice of config groups, and which runs lie inside it.

A parameter that the chosen options do not have (`model.conv_out` of ResNeXt-50) is not suggested with them. A run lies
inside the space if its identity is that of a suggestion; nothing is composed to find out.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod
from typing import Any

import optuna
from optuna.distributions import BaseDistribution

from crackdet.config.schema import setting_at
from crackdet.sweep.search.parameter import Parameter

Params = dict[str, Any]  # a suggestion: parameter name -> suggested value
Key = tuple[tuple[str, Any], ...]  # a suggestion as a dictionary key
SEED = "seed"


@dataclass(frozen=True)
class ReferenceRun:
    """A run of a conditional space, with which the identities of other runs are compared."""

    params: Params  # suggestions for normalised keys, whose value in the identity is another than in the override
    content: Mapping[str, Any]  # its identity
    fingerprints: Sequence[str] = ()  # of all data that the other parameters can choose; empty: too many to list


@dataclass(frozen=True)
class ConditionalSpace:
    """One choice of options, and the parameters that exist under it."""

    options: Mapping[str, str]  # config group -> option
    fixed: Sequence[str]  # overrides of every suggestion, the choice of options first
    parameters: Sequence[Parameter]
    references: Sequence[ReferenceRun]  # one for each choice of the normalised keys

    def free_parameters(self, reference: ReferenceRun) -> list[Parameter]:
        """Return the parameters whose values are found in identities as they were suggested."""
        return [parameter for parameter in self.parameters if parameter.name not in reference.params]


@dataclass(frozen=True)
class Match:
    """The suggestion and the seed that a run inside the space belongs to."""

    params: Params
    seed: str


@dataclass(frozen=True)
class Space:
    groups: Sequence[Parameter]  # choices of config groups
    branches: Sequence[ConditionalSpace]
    seeds: Sequence[str]  # of the replicates whose mean is a trial's value; empty: the seed is fixed

    def suggest(self, trial: optuna.trial.Trial) -> Params:
        """Ask for a value of each parameter that exists, config groups first."""
        params = {group.name: group.suggest(trial) for group in self.groups}
        for parameter in self._branch(params).parameters:
            params[parameter.name] = parameter.suggest(trial)
        return params

    def overrides(self, params: Params, seed: str = "") -> list[str]:
        """Return the overrides of a suggestion's job."""
        branch = self._branch(params)
        overrides = list(branch.fixed)
        overrides += [parameter.override(params[parameter.name]) for parameter in branch.parameters]
        return [*overrides, f"{SEED}={seed}"] if self.seeds else overrides

    def distributions(self, params: Params) -> dict[str, BaseDistribution]:
        """Return the distributions that a suggestion was sampled from."""
        return {parameter.name: parameter.distribution() for parameter in self._parameters(params)}

    def values_of(self, params: Params) -> dict[str, Any]:
        """Return a suggestion as the values that configurations hold."""
        return {parameter.name: parameter.value(params[parameter.name]) for parameter in self._parameters(params)}

    @cached_property
    def count(self) -> int | None:
        """The number of different suggestions; None if it is infinite."""
        counts = [[parameter.count for parameter in branch.parameters] for branch in self.branches]
        return None if any(None in row for row in counts) else sum(prod(count or 0 for count in row) for row in counts)

    def all(self) -> list[Params]:
        """Return every suggestion of a space that has a count."""
        return [
            {**branch.options, **dict(zip([p.name for p in branch.parameters], values, strict=True))}
            for branch in self.branches
            for values in product(*(parameter.all() for parameter in branch.parameters))
        ]

    def match_identity(self, content: Mapping[str, Any]) -> Match | None:
        """Return the suggestion that a run with this identity belongs to; None if the run lies outside the space."""
        for keys, references in self._references.items():
            for branch, reference in references.get(_without(content, keys), ()):
                params = {**branch.options, **reference.params}
                for parameter in branch.free_parameters(reference):
                    params[parameter.name] = parameter.find(setting_at(content, parameter.name))
                if None in params.values():
                    continue
                if reference.fingerprints and content.get("fingerprint") not in reference.fingerprints:
                    continue
                seed = str(content.get(SEED, 0))
                if not self.seeds or seed in self.seeds:
                    return Match(params, seed)
        return None

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Space":
        """Return the space whose fields were written as JSON."""
        branches = [
            ConditionalSpace(
                branch["options"],
                branch["fixed"],
                [Parameter.from_json(parameter) for parameter in branch["parameters"]],
                [ReferenceRun(**reference) for reference in branch["references"]],
            )
            for branch in content["branches"]
        ]
        return cls([Parameter.from_json(group) for group in content["groups"]], branches, content["seeds"])

    def _parameters(self, params: Params) -> list[Parameter]:
        return [*self.groups, *self._branch(params).parameters]

    def _branch(self, params: Params) -> ConditionalSpace:
        return self._by_options[tuple(params[group.name] for group in self.groups)]

    @cached_property
    def _by_options(self) -> dict[tuple[str, ...], ConditionalSpace]:
        return {tuple(branch.options[group.name] for group in self.groups): branch for branch in self.branches}

    @cached_property
    def _references(self) -> dict[tuple[str, ...], dict[str, list[tuple[ConditionalSpace, ReferenceRun]]]]:
        """The references by the keys in which identities may differ, then by the rest of the identity."""
        found: dict[tuple[str, ...], dict[str, list[tuple[ConditionalSpace, ReferenceRun]]]] = {}
        for branch in self.branches:
            for reference in branch.references:
                keys = {parameter.name for parameter in branch.free_parameters(reference)}
                keys |= {"fingerprint"} if any(key.startswith("data.") for key in keys) else set()
                keys |= {SEED} if self.seeds else set()
                rest = _without(reference.content, keys)
                found.setdefault(tuple(sorted(keys)), {}).setdefault(rest, []).append((branch, reference))
        return found


def key_of(params: Params) -> Key:
    return tuple(sorted(params.items()))


def _without(content: Mapping[str, Any], keys: Iterable[str]) -> str:
    """Return an identity without these dotted keys, as canonical JSON."""
    tree = json.loads(json.dumps(content))
    for key in keys:
        parent, _, name = key.rpartition(".")
        node = setting_at(tree, parent) if parent else tree
        if isinstance(node, dict):
            node.pop(name, None)
    return json.dumps(tree, sort_keys=True)
