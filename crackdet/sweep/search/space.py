"""The search space: parameters, and for each choice of options what else there is to suggest.

A parameter that the chosen options do not have (`model.conv_out` of ResNeXt-50) is not suggested with them. A run
lies inside the space when its identity is that of a suggestion; this is found without composing anything.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any

from crackdet.sweep.search.parameter import Parameter

if TYPE_CHECKING:
    import optuna

Params = dict[str, Any]  # what was suggested, by the name of the parameter
Key = tuple[tuple[str, Any], ...]  # the same, to look up
SEED = "seed"


@dataclass(frozen=True)
class ReferenceRun:
    """A run of a branch."""

    params: Params  # what was suggested for settings that identities hold otherwise: weights by what they are, no paths
    content: Mapping[str, Any]  # its identity
    fingerprints: Sequence[str] = ()  # of the data, where other parameters decide it; empty: too many to know


@dataclass(frozen=True)
class ConditionalSpace:
    """One choice of options, and what it leaves open."""

    options: Mapping[str, str]  # parameter of a config group -> option
    fixed: Sequence[str]  # overrides of every suggestion in it
    parameters: Sequence[Parameter]  # those that its configurations have
    examples: Sequence[ReferenceRun]  # one for each choice of the settings that identities hold otherwise

    def free(self, example: ReferenceRun) -> list[Parameter]:
        """The parameters whose values are found in identities as they were suggested."""
        return [parameter for parameter in self.parameters if parameter.name not in example.params]

    def places(self, example: ReferenceRun, replicated: bool) -> list[str]:
        """The dotted keys in which identities of runs like the example may differ."""
        names = [parameter.name for parameter in self.free(example)]
        data = ["fingerprint"] if any(name.startswith("data.") for name in names) else []
        return sorted([*names, *data, *([SEED] if replicated else [])])


@dataclass(frozen=True)
class Match:
    """A run inside the space: what would have to be suggested, and its seed."""

    params: Params
    seed: str


@dataclass(frozen=True)
class Space:
    groups: Sequence[Parameter]  # choices among the options of config groups
    branches: Sequence[ConditionalSpace]
    seeds: Sequence[str]  # values of `seed`: each suggestion is judged by the mean over them; empty: the seed is fixed

    def suggest(self, trial: "optuna.trial.Trial") -> Params:
        """Asks for a value of each parameter that there is, options first."""
        params = {group.name: group.suggest(trial) for group in self.groups}
        for parameter in self.branch(params).parameters:
            params[parameter.name] = parameter.suggest(trial)
        return params

    def overrides(self, params: Params, seed: str = "") -> list[str]:
        """What a job of this suggestion is started with."""
        branch = self.branch(params)
        given = [f"{group.key}={params[group.name]}" for group in self.groups]
        given += branch.fixed
        given += [parameter.override(params[parameter.name]) for parameter in branch.parameters]
        return [*given, f"{SEED}={seed}"] if self.seeds else given

    def parameters_of(self, params: Params) -> list[Parameter]:
        return [*self.groups, *self.branch(params).parameters]

    def branch(self, params: Params) -> ConditionalSpace:
        return self._by_options[tuple(params[group.name] for group in self.groups)]

    @cached_property
    def count(self) -> int | None:
        """How many different suggestions there are; None where there is no end of them."""
        total = 0
        for branch in self.branches:
            size = 1
            for parameter in branch.parameters:
                if parameter.count is None:
                    return None
                size *= parameter.count
            total += size
        return total

    def all(self) -> list[Params]:
        """Every suggestion of a space that has a count."""
        return [
            {**branch.options, **dict(zip([p.name for p in branch.parameters], values, strict=True))}
            for branch in self.branches
            for values in product(*(parameter.all() for parameter in branch.parameters))
        ]

    def locate(self, content: Mapping[str, Any]) -> Match | None:
        """The suggestion that a run with this identity is of; None where it lies outside."""
        for places, known in self._fixed_parts.items():
            for branch, example in known.get(_without(content, places), ()):
                params = {**branch.options, **example.params}
                for parameter in branch.free(example):
                    params[parameter.name] = parameter.find(setting_at(content, parameter.name))
                if None in params.values():
                    continue
                if example.fingerprints and content.get("fingerprint") not in example.fingerprints:
                    continue
                seed = str(content.get(SEED, 0))
                if not self.seeds or seed in self.seeds:
                    return Match(params, seed)
        return None

    def to_json(self) -> dict[str, Any]:
        return {
            "groups": [group.to_json() for group in self.groups],
            "seeds": list(self.seeds),
            "branches": [
                {
                    **vars(branch),
                    "parameters": [parameter.to_json() for parameter in branch.parameters],
                    "examples": [vars(example) for example in branch.examples],
                }
                for branch in self.branches
            ],
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Space":
        branches = [
            ConditionalSpace(
                branch["options"],
                branch["fixed"],
                [Parameter.from_json(parameter) for parameter in branch["parameters"]],
                [ReferenceRun(**example) for example in branch["examples"]],
            )
            for branch in content["branches"]
        ]
        return cls([Parameter.from_json(group) for group in content["groups"]], branches, content["seeds"])

    @cached_property
    def _by_options(self) -> dict[tuple[str, ...], ConditionalSpace]:
        return {tuple(branch.options[group.name] for group in self.groups): branch for branch in self.branches}

    @cached_property
    def _fixed_parts(self) -> dict[tuple[str, ...], dict[str, list[tuple[ConditionalSpace, ReferenceRun]]]]:
        parts: dict[tuple[str, ...], dict[str, list[tuple[ConditionalSpace, ReferenceRun]]]] = {}
        for branch in self.branches:
            for example in branch.examples:
                places = tuple(branch.places(example, bool(self.seeds)))
                parts.setdefault(places, {}).setdefault(_without(example.content, places), []).append((branch, example))
        return parts


def key_of(params: Params) -> Key:
    return tuple(sorted(params.items()))


def _without(content: Mapping[str, Any], places: Sequence[str]) -> str:
    tree = json.loads(json.dumps(content))
    for place in places:
        *parents, last = place.split(".")
        node = tree
        for parent in parents:
            node = node.get(parent) if isinstance(node, dict) else None
        if isinstance(node, dict):
            node.pop(last, None)
    return json.dumps(tree, sort_keys=True)


def setting_at(content: Mapping[str, Any], place: str) -> Any:
    """The value of a setting in an identity, where a null is left out."""
    node: Any = content
    for part in place.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node
