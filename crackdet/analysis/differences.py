"""What distinguishes the runs of a table: the options that were chosen, and the settings that do not follow from them.

If one run has optimizer=adam and another optimizer=sgd, beta1, momentum and the learning rate differ as well. They are
named only if they differ between runs of the same option, or are not the default of the option.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cache, cached_property
from typing import Any

from crackdet.analysis.rows import AUGMENTATION, RunRow, differing_keys, group_by_settings
from crackdet.config.groups import AUGMENTATIONS, GROUPS
from crackdet.config.schema import TorchvisionModel, flatten
from crackdet.store.identity import is_weights_file

NETWORK, SEED = "model.name", "seed"
UNKNOWN = object()
OPTION_KEYS = (NETWORK, "data.name", AUGMENTATION, "optimizer.name", "scheduler.name")  # settings that name an option


class Differences:
    """What distinguishes runs.

    Args:
        rows: The runs.
        keys: The settings in which they differ, if they are known.
    """

    def __init__(self, rows: Iterable[RunRow], keys: Sequence[str] | None = None) -> None:
        self._rows = [row for row in rows if row.tree]
        keys = _with_augmentation(self._rows, differing_keys(self._rows) if keys is None else keys)
        self._differing = sorted(keys, key=lambda key: (key == SEED, key != NETWORK))

    @cached_property
    def keys(self) -> list[str]:
        """The settings that distinguish at least one run, the network first and the seed last."""
        options = group_by_settings(self._rows, list(self._implied))
        shown = {key for _, indices in options for key in self.keys_of(self._rows[indices[0]])}
        return [key for key in self._differing if key in shown]

    def keys_of(self, row: RunRow) -> list[str]:
        """Return the settings that distinguish a run."""
        hidden: set[str] = set()
        for key, by_option in self._implied.items():
            hidden |= by_option.get(str(row.setting(key)), set())
        return [key for key in self._differing if key not in hidden]

    def describe(self, row: RunRow, seed: bool = True) -> str:
        """Return the settings that distinguish a run: `conv_out=[64,128] optimizer=adam seed=1`.

        The network is left out, because the run id begins with its name.
        """
        shown = [key for key in self.keys_of(row) if key != NETWORK and (seed or key != SEED)]
        known = [key for key in shown if row.setting(key) is not None or key in row.settings]
        return " ".join(f"{self._names[key]}={value_text(row.setting(key))}" for key in known)

    @cached_property
    def _names(self) -> Mapping[str, str]:
        return short_names(self.keys)

    @cached_property
    def _implied(self) -> Mapping[str, Mapping[str, set[str]]]:
        """For each differing option, the settings that follow from its values."""
        return {key: self._implied_by(key) for key in OPTION_KEYS if key in self._differing}

    def _implied_by(self, option_key: str) -> Mapping[str, set[str]]:
        prefix = f"{option_key.removesuffix('.name')}."
        own = [key for key in self._differing if f"{key}.".startswith(prefix) and key != option_key]
        rows: dict[str, list[RunRow]] = defaultdict(list)  # by option, one for each combination of the settings
        for _, indices in group_by_settings(self._rows, [option_key, *own]):
            row = self._rows[indices[0]]
            rows[str(row.setting(option_key))].append(row)
        return {
            option: {
                key
                for key in own
                if len({repr(row.setting(key)) for row in same}) == 1 and _is_default(same[0], option_key, key)
            }
            for option, same in rows.items()
        }


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Shorten dotted keys to their last part if that is unique: `optimizer.name` to `optimizer`."""
    ends = {key: key.removesuffix(".name").rpartition(".")[2].strip("_") for key in keys}  # derived: `_weights_`
    return {key: end if list(ends.values()).count(end) == 1 else key for key, end in ends.items()}


def value_text(value: Any) -> str:
    """Return a setting as a user types it; of a path only the last part."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str) and "/" in value:
        return value.rpartition("/")[2] or value
    return "[" + ",".join(map(value_text, value)) + "]" if isinstance(value, list) else str(value)


def _with_augmentation(rows: Sequence[RunRow], keys: Sequence[str]) -> list[str]:
    """Return the keys, with `data.augmentation` before its settings if its option differs."""
    first = next((at for at, key in enumerate(keys) if key.startswith(f"{AUGMENTATION}.")), None)
    if (
        first is None
        or len({rows[group[0]].setting(AUGMENTATION) for _, group in group_by_settings(rows, [AUGMENTATION])}) < 2
    ):
        return list(keys)
    return [*keys[:first], AUGMENTATION, *keys[first:]]


def _is_default(row: RunRow, option_key: str, key: str) -> bool:
    """Return whether a setting is the default of the run's option, or is not known to have a default."""
    own_settings = _defaults(option_key, str(row.setting(option_key)), "_target_" in row.tree.get("model", {}))
    default, value = own_settings.get(key, UNKNOWN), row.setting(key)
    if default == "DEFAULT" and isinstance(value, str):  # runs name the published weights
        return not is_weights_file(value)
    return default in (UNKNOWN, value)


@cache
def _defaults(option_key: str, option: str, is_users_network: bool) -> Mapping[str, Any]:
    """Return the defaults of an option by dotted key; those of a user's network are not known."""
    if option_key == AUGMENTATION:
        return flatten(vars(AUGMENTATIONS[option]), f"{AUGMENTATION}.")
    group = option_key.partition(".")[0]
    if group == "model" and is_users_network:
        return {}
    schema = GROUPS[group].get(option, TorchvisionModel if group == "model" else None)
    if schema is None:
        return {}
    own = flatten(asdict(schema()), f"{group}.")
    return own | {AUGMENTATION: next(iter(AUGMENTATIONS))} if group == "data" else own
