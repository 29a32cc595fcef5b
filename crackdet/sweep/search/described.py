"""Parameters of `hydra.sweeper.search_space`: their type, and low, high, step and log, or choices."""

import math
from collections.abc import Mapping
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException

from crackdet.config.messages import suggest
from crackdet.core.errors import UserError
from crackdet.sweep.counting import MAX_COMBINATIONS
from crackdet.sweep.search.parameter import Parameter, choice, decimal_steps, evenly_spaced

NUMBERS = ("type", "low", "high", "step", "log")  # the keys of an int or a float
TYPES = {"int": NUMBERS, "float": NUMBERS, "categorical": ("type", "choices")}
EXAMPLE = "{type: int, low: 8, high: 64}"


def parse_described(key: str, content: Any) -> Parameter:
    """Return the parameter that an entry of `hydra.sweeper.search_space` describes.

    Raises:
        UserError: If the description is not valid: it is checked as intervals and ranges in overrides are.
    """
    where = f"hydra.sweeper.search_space.{key}"
    if not isinstance(content, Mapping):
        raise UserError(f"{where}={content}: must be a mapping, as in {key}: {EXAMPLE}")
    kind = str(content.get("type", "")).rpartition(".")[2]
    if kind not in TYPES:
        raise UserError(f"{where}.type={kind}: must be one of {', '.join(TYPES)}, as in {key}: {EXAMPLE}")
    for name in content:
        if name not in TYPES[kind]:
            raise UserError(f"{where}.{name}: unknown key with type {kind}{suggest(str(name), TYPES[kind])}")
    if kind == "categorical":
        return choice(key, _choices(where, content.get("choices")))
    low, high, step = (_number(f"{where}.{name}", content.get(name), kind) for name in ("low", "high", "step"))
    log = content.get("log") or False
    if low is None or high is None or low > high:
        raise UserError(f"{where}: low={low} must be at most high={high}")
    if not isinstance(log, bool):
        raise UserError(f"{where}.log={log}: must be true or false")
    if log and low <= 0:
        raise UserError(f"{where}.low={low}: must be above 0 with log: true")
    if step is None:
        return Parameter(key, "int" if kind == "int" else "float", low=low, high=high, log=log)
    if log:
        raise UserError(f"{where}.step={step}: is not possible with log: true")
    if step <= 0:
        raise UserError(f"{where}.step={step}: must be above 0")
    if (high - low) / step >= MAX_COMBINATIONS:
        raise UserError(
            f"{where}.step={step}: gives more than {MAX_COMBINATIONS:,} values; give a larger step, or none"
        )
    if kind == "int":
        return evenly_spaced(key, list(range(int(low), int(high) + 1, int(step))))
    count = math.floor((high - low) / step + 1e-9) + 1
    return evenly_spaced(key, [decimal_steps(low, step, index) for index in range(count)])


def _number(where: str, value: Any, kind: str) -> Any:
    """Return a number of this kind; None if it is not given."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UserError(f"{where}={value}: must be a number")
    if kind == "int" and value != int(value):
        raise UserError(f"{where}={value}: must be an integer")
    return int(value) if kind == "int" else float(value)


def _choices(where: str, choices: Any) -> list[str]:
    if not isinstance(choices, list) or not choices:
        raise UserError(f"{where}.choices={choices}: must be a list of at least one value")
    return [_text(where, item) for item in choices]


def _text(where: str, item: Any) -> str:
    """Return a value as the text of an override."""
    if item is None or isinstance(item, bool):
        return {None: "null", True: "true", False: "false"}[item]
    if isinstance(item, list):
        return "[" + ",".join(_text(where, each) for each in item) + "]"
    if not isinstance(item, str | int | float):
        raise UserError(f"{where}.choices: {item} must be a number, a text or a list of them")
    text = str(item)
    try:
        is_text = not OverridesParser.create().parse_override(f"x={text}").is_sweep_override()
    except (HydraException, ValueError):
        is_text = False
    return text if is_text else QuotedString(text, Quote.single).with_quotes()
