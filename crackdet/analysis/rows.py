"""Runs as rows of a summary: status, settings and result."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from crackdet.config.groups import AUGMENTATIONS, PATHS
from crackdet.config.schema import flatten, setting_at
from crackdet.core.errors import UserError
from crackdet.store.pointing import read_pointing
from crackdet.store.run import Run
from crackdet.store.snapshot import RunSnapshot, Status

AUGMENTATION = "data.augmentation"
UNKNOWN_FLOPS = float("inf")
DERIVED_KEYS = ("data.fingerprint", "model._source_", "model._weights_")  # computed by the identity, not set by a user
COMPARED = ("valid_images", "valid_digest")  # fields of a result
HAS_REASON = (Status.FAILED, Status.INTERRUPTED, Status.PRUNED)


@dataclass(frozen=True)
class RunRow:
    """One run of a summary. Files that are only displayed are read on first use."""

    snapshot: RunSnapshot
    sweep_overrides: Sequence[str] | None = None

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
        """The validation accuracy.

        Raises:
            UserError: If the run is not finished.
        """
        if "accuracy" not in self.result:
            raise UserError(f"{self.id} is {self.status}: it has no accuracy")
        return float(self.result["accuracy"])

    def is_comparable(self, metric: str = "accuracy") -> bool:
        """Return whether the run is finished, and its result has what runs are ranked by."""
        return all(self.result.get(name) is not None for name in (*COMPARED, metric))

    @property
    def flops(self) -> float:
        """Operations of the feature extractor for one image; infinite if unknown."""
        flops = self.result.get("feature_flops")
        return UNKNOWN_FLOPS if flops is None else float(flops)

    def value(self, metric: str) -> float:
        """Return a metric of the result."""
        return float(self.result[metric])

    @property
    def result(self) -> Mapping[str, Any]:
        """The content of `result.json`; empty unless the run is finished.

        In a large store it lacks the identity and the file digests.
        """
        return (self.snapshot.result or {}) if self.status is Status.FINISHED else {}

    @cached_property
    def pointing(self) -> Mapping[str, float]:
        """The figures of `crackdet pointing`; empty if it has not measured this run."""
        return read_pointing(self.run) if self.status is Status.FINISHED else {}

    @cached_property
    def overrides(self) -> Sequence[str]:
        """The overrides from the sweep's record, or else from the command that first trained the run."""
        recorded = self.sweep_overrides
        return list(recorded if recorded is not None else self.snapshot.provenance.get("overrides", []))

    @property
    def tree(self) -> Mapping[str, Any]:
        """The settings that decide the result, nested by group, as `RunSnapshot.settings`."""
        return self.snapshot.settings

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """The same settings by dotted key."""
        return flatten(self.tree)

    def setting(self, key: str) -> Any:
        """Return a setting by its dotted key; None if the run does not have it.

        Of `data.augmentation`, return the option that is the most similar.
        """
        value = setting_at(self.tree, key)
        return _nearest_augmentation(value) if key == AUGMENTATION and isinstance(value, Mapping) else value

    @cached_property
    def reason(self) -> str:
        """Why the run failed, stopped or is corrupt; empty otherwise."""
        if self.status is Status.CORRUPT:
            remedy = "; the command that trained the run repairs it" if self.snapshot.is_repairable else ""
            return f"{self.snapshot.corruption}{remedy}"
        if self.status is Status.FINISHED and not self.is_comparable():
            return "its result lacks what runs are ranked by"
        return str(self.snapshot.failure.get("reason", "")) if self.status in HAS_REASON else ""


def _nearest_augmentation(settings: Mapping[str, Any]) -> str:
    """Return the option of data/augmentation from which the fewest settings differ."""

    def num_differing(option: str) -> int:
        return sum(settings.get(key) != value for key, value in vars(AUGMENTATIONS[option]).items())

    return min(AUGMENTATIONS, key=num_differing)


def group_by_settings(rows: Iterable[RunRow], keys: Sequence[str]) -> list[tuple[tuple[Any, ...], list[int]]]:
    """Group runs by the values of some settings.

    Args:
        keys: Dotted keys. A setting that a run does not have counts as None.

    Returns:
        For each group the values, and the indices of its runs.
    """
    groups = list(dict.fromkeys(key.partition(".")[0] for key in keys))
    trees = [row.tree for row in rows]
    shared: dict[tuple[int, ...], list[int]] = defaultdict(list)  # runs of a large store share equal subtrees
    for index, tree in enumerate(trees):
        shared[tuple([id(tree.get(group)) for group in groups])].append(index)
    grouped: dict[str, tuple[tuple[Any, ...], list[int]]] = {}
    for indices in shared.values():
        values = tuple(setting_at(trees[indices[0]], key) for key in keys)
        grouped.setdefault(repr(values), (values, []))[1].extend(indices)
    return [(values, sorted(indices)) for values, indices in grouped.values()]


def differing_keys(rows: Iterable[RunRow]) -> list[str]:
    """Return the dotted keys of the settings in which runs differ, in the order of the configuration.

    A derived key is left out if other settings of its group separate the runs in the same way.
    """
    rows = [row for row in rows if row.tree]
    keys = _differing([row.tree for row in rows], "")
    return [key for key in keys if key not in DERIVED_KEYS or not _is_redundant(key, keys, rows)]


def config_keys(rows: Sequence[RunRow], keys: Sequence[str]) -> list[str]:
    """Return those of the differing keys that separate combinations: neither the seed nor a path.

    A path does not decide the result, but the data behind it does; its derived key then replaces it.
    """
    found = [key for key in keys if key != "seed" and key not in PATHS]
    if len(found) + keys.count("seed") < len(keys):
        found += [key for key in DERIVED_KEYS if key not in found and not _is_redundant(key, found, rows)]
    return found


def _is_redundant(derived: str, keys: Sequence[str], rows: Sequence[RunRow]) -> bool:
    """Return whether other settings of the same group separate the runs as a derived key does."""
    others = [key for key in keys if key.partition(".")[0] == derived.partition(".")[0] and key not in DERIVED_KEYS]
    return len(group_by_settings(rows, others)) == len(group_by_settings(rows, [*others, derived]))


def _differing(trees: Sequence[Mapping[str, Any]], prefix: str) -> list[str]:
    """Compare group by group: a group that all runs share is one comparison."""
    found: list[str] = []
    trees = list({id(tree): tree for tree in trees}.values())
    for key in dict.fromkeys(key for keys in dict.fromkeys(map(tuple, trees)) for key in keys):
        values = [tree.get(key) for tree in trees]
        if values.count(values[0]) == len(values):  # far faster than a loop in Python
            continue
        groups = [value for value in values if isinstance(value, dict)]
        if groups:
            found += _differing(groups, f"{prefix}{key}.")
        if len(groups) < len(values):
            found.append(f"{prefix}{key}")
    return found
