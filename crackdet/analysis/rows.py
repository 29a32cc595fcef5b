"""Run directories as rows: status, settings, result."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from crackdet.config.schema import PATHS, flatten
from crackdet.core.errors import UserError
from crackdet.store.pointing import read_pointing
from crackdet.store.run import Run
from crackdet.store.snapshot import RunSnapshot, Status

KNOWN = ("data.fingerprint", "model._source_", "model._weights_")  # of settings: what the identity knows besides
TOLD = (Status.FAILED, Status.INTERRUPTED, Status.PRUNED)  # with a reason in their `failure.json`


@dataclass(frozen=True)
class RunRow:
    """One run, as a summary shows it; what is only shown is read when it is."""

    snapshot: RunSnapshot
    given: Sequence[str] | None = None  # the overrides that a sweep knows the run by

    @property
    def run(self) -> Run:
        return self.snapshot.run

    @property
    def status(self) -> Status:
        return self.snapshot.status

    @property
    def id(self) -> str:
        return self.run.id

    @property
    def accuracy(self) -> float:
        """Raises UserError where the run is not finished, and so has none."""
        if "accuracy" not in self.result:
            raise UserError(f"{self.id} is {self.status}: it has no accuracy")
        return float(self.result["accuracy"])

    def value(self, metric: str) -> float:
        """A metric of the result; the least there is where an older result does not hold it."""
        return float(self.result.get(metric) or 0.0)

    @property
    def result(self) -> Mapping[str, Any]:
        """What `result.json` says; empty unless finished.

        In a large store that is all but the identity and the digests of the files.
        """
        return (self.snapshot.result or {}) if self.status is Status.FINISHED else {}

    @cached_property
    def pointing(self) -> Mapping[str, float]:
        """What `crackdet pointing` found of a finished run; empty where it has not been asked."""
        return read_pointing(self.run) if self.status is Status.FINISHED else {}

    @cached_property
    def overrides(self) -> Sequence[str]:
        """What gave the run its settings; where no sweep says it, the command it was first trained by."""
        return list(self.given if self.given is not None else self.snapshot.provenance.get("overrides", []))

    @property
    def tree(self) -> Mapping[str, Any]:
        """All settings that decide the result, by group, as `RunSnapshot.settings`."""
        return self.snapshot.settings

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """The same with dotted keys."""
        return flatten(self.tree)

    def setting(self, key: str) -> Any:
        """One setting by its dotted key; None where the run does not have it."""
        return _setting(self.tree, key)

    @cached_property
    def reason(self) -> str:
        """Why it failed, or what is damaged."""
        if self.status is Status.CORRUPT:
            return f"{self.snapshot.corruption}; the command that trained the run repairs it"
        return str(self.snapshot.failure.get("reason", "")) if self.status in TOLD else ""


def _setting(tree: Mapping[str, Any], key: str) -> Any:
    found: Any = tree
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def group_by_settings(entries: Iterable[RunRow], keys: Sequence[str]) -> list[tuple[tuple[Any, ...], list[int]]]:
    """The runs that agree in some settings, given by their dotted keys: what these are, and the places of the runs.

    A setting that a run does not have is None.
    """
    groups = list(dict.fromkeys(key.partition(".")[0] for key in keys))
    trees = [entry.tree for entry in entries]
    alike: dict[tuple[int, ...], list[int]] = defaultdict(list)  # runs of a large store share the groups they agree in
    for place, tree in enumerate(trees):
        alike[tuple([id(tree.get(group)) for group in groups])].append(place)
    found: dict[str, tuple[tuple[Any, ...], list[int]]] = {}
    for places in alike.values():
        values = tuple(_setting(trees[places[0]], key) for key in keys)
        found.setdefault(repr(values), (values, []))[1].extend(places)
    return [(values, sorted(places)) for values, places in found.values()]


def differing_keys(entries: Iterable[RunRow]) -> list[str]:
    """The settings in which runs differ, as dotted keys in the order of the configuration.

    What the identity knows besides is left out where they say it.
    """
    having = [entry for entry in entries if entry.tree]
    keys = _differing([entry.tree for entry in having], "")
    return [key for key in keys if key not in KNOWN or not _is_said(key, keys, having)]


def config_keys(entries: Sequence[RunRow], keys: Sequence[str]) -> list[str]:
    """Those of the keys in which runs differ that make them other combinations: neither the seed nor a place.

    Where something lies decides nothing, what it is does, which may then have to be said.
    """
    found = [key for key in keys if key != "seed" and key not in PATHS]
    if len(found) + keys.count("seed") < len(keys):
        found += [key for key in KNOWN if key not in found and not _is_said(key, found, entries)]
    return found


def _is_said(known: str, keys: Sequence[str], entries: Sequence[RunRow]) -> bool:
    """Whether other settings of its group say it too."""
    others = [key for key in keys if key.partition(".")[0] == known.partition(".")[0] and key not in KNOWN]
    return len(group_by_settings(entries, others)) == len(group_by_settings(entries, [*others, known]))


def _differing(trees: Sequence[Mapping[str, Any]], prefix: str) -> list[str]:
    """Group by group, since comparing a whole group in which all are alike is one step."""
    found: list[str] = []
    trees = list({id(tree): tree for tree in trees}.values())  # runs share the groups in which they agree
    for key in dict.fromkeys(key for keys in dict.fromkeys(map(tuple, trees)) for key in keys):
        values = [tree.get(key) for tree in trees]
        if values.count(values[0]) == len(values):  # far faster than a loop, and a group that is shared costs nothing
            continue
        groups = [value for value in values if isinstance(value, dict)]
        if groups:
            found += _differing(groups, f"{prefix}{key}.")
        if len(groups) < len(values):
            found.append(f"{prefix}{key}")
    return found
