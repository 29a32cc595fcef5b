"""`result.json`: the type and the range of each of its fields, checked whenever a result is read.

All that is computed from results relies on this check. A new field that other code reads needs an entry here.
"""

import binascii
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from crackdet.config.groups import GROUPS
from crackdet.store.paths import PUBLISHED, RUN_ID

MAX_WITHOUT_RIGHT = 1e6  # validation images; otherwise their number follows from the size of the file
HUGE = 1e18  # larger than any count or cost of a network
HIGHER_IS_BETTER = (
    "accuracy", "precision", "recall", "f1", "roc_auc", "average_precision", "images_per_second", "throughput",
    "feature_throughput", "knn_accuracy", "logme",
)  # fmt: skip


class Field(NamedTuple):
    """What a field may hold."""

    holds: Callable[[Any], bool]
    expected: str


def _number(low: float = 0.0, high: float = HUGE) -> Field:
    return Field(lambda value: type(value) in (int, float) and low <= value <= high, f"a number in [{low:g}, {high:g}]")


def _integer(low: int, high: float = HUGE) -> Field:
    return Field(lambda value: type(value) is int and low <= value <= high, f"an integer in [{low}, {high:g}]")


def _text(pattern: str) -> Field:
    matches = re.compile(pattern).fullmatch
    return Field(lambda value: type(value) is str and matches(value) is not None, f"a text like {pattern}")


def is_settings(value: Any) -> bool:
    """Return whether a value holds settings by group, under keys that can be printed."""
    is_grouped = isinstance(value, dict) and all(isinstance(value.get(group, {}), dict) for group in GROUPS)
    return is_grouped and _has_printable_keys(value)


def _has_printable_keys(tree: Mapping[str, Any]) -> bool:
    values = (value for value in tree.values() if isinstance(value, dict))
    return all(map(str.isprintable, tree)) and all(map(_has_printable_keys, values))


def _is_files(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(record, str) and FILE_RECORD.fullmatch(record) for record in value
    )


FILE_RECORD = re.compile(rf"(?:{'|'.join(map(re.escape, PUBLISHED))}) [0-9]{{1,18}} -?[0-9]{{1,19}} [0-9a-f]{{64}}")
SHARE, FLAG, PROSE = _number(0, 1), Field(lambda value: type(value) is bool, "true or false"), _text(r"(?s).{,10000}")

REQUIRED: Mapping[str, Field] = {
    "id": _text(RUN_ID.pattern),
    "accuracy": SHARE,
    "loss": _number(-1e30, 1e30),
    "epoch": _integer(0, 1e9),
    "parameters": _integer(0),
    "seconds": _number(0, 1e12),
    "files": Field(_is_files, "a list of published files with size, time and digest"),
}
OPTIONAL: Mapping[str, Field] = {
    **dict.fromkeys(("precision", "recall", "f1", "roc_auc", "average_precision", "calibration_error"), SHARE),
    **dict.fromkeys(("latency_ms", "feature_latency_ms", "throughput", "feature_throughput"), _number()),
    **dict.fromkeys(("latency_spread_ms", "feature_latency_spread_ms"), _number()),
    **dict.fromkeys(("images_per_second", "peak_memory_mib", "weights_mib"), _number()),
    **dict.fromkeys(("feature_flops", "detector_flops", "feature_dimension", "feature_parameters"), _integer(0)),
    **dict.fromkeys(("stopped_early", "compiled"), FLAG),
    **dict.fromkeys(("device", "gpu", "processor", "repaired"), PROSE),
    "knn_accuracy": SHARE,  # of k nearest neighbours in the space of frozen features
    "logme": _number(-1e30, 1e30),  # log evidence per image
    "probe_c": _number(),  # inverse penalty of the logistic regression
    "schema": _integer(0),
    "identity": _text("[0-9a-f]{64}"),
    "epochs": _integer(1, 1e9),
    "train_images": _integer(1, 1e9),
    "valid_images": _integer(1, 1e9),
    "valid_digest": _text(r"\w{1,128}"),
    "right": _text(r"[A-Za-z0-9+/=]*"),
    "license": Field(
        lambda value: type(value) is str and value.isprintable() and len(value) < 1000, "a printable line"
    ),
    "number_format": _text("fp32|bf16"),
    "settings": Field(is_settings, "an object of settings by group"),
}


def find_problem(result: Mapping[str, Any], required: Mapping[str, Field] = REQUIRED) -> str | None:
    """Return which field of a result is missing or not what it should be; None if all are right."""
    for name, field in required.items():
        if not field.holds(result.get(name)):
            return _describe(name, result.get(name), field)
    for name, field in OPTIONAL.items():
        if (value := result.get(name)) is not None and not field.holds(value):
            return _describe(name, value, field)
    right, number = result.get("right"), result.get("valid_images")
    if right is None and (number or 0) > MAX_WITHOUT_RIGHT:
        return f"right is missing, with {number} validation images"
    if right is not None and _num_bytes(right) != -(-(number or 0) // 8):
        return f"right does not describe {number} validation images"
    return None


def _num_bytes(text: str) -> int:
    try:
        return len(binascii.a2b_base64(text, strict_mode=True))
    except binascii.Error:
        return -1


def _describe(name: str, value: Any, field: Field) -> str:
    return f"{name} is {'missing' if value is None else f'{value!r:.60}'}, not {field.expected}"
