"""Numbers and texts as a page shows them."""

from typing import Any

from crackdet.core.console import sanitize

THIN = "\N{NARROW NO-BREAK SPACE}"  # between thousands, and before a unit
NOTHING = "\N{EN DASH}"  # where there is no value
SCALES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def percent(share: float | None, digits: int = 2) -> str:
    """0.97493 as `97.49 %`."""
    return "" if share is None else f"{100 * share:.{digits}f}{THIN}%"


def span(low: float, high: float) -> str:
    """An interval of shares."""
    return f"{100 * low:.1f} \N{EN DASH} {percent(high, 1)}"


def count(number: float | None) -> str:
    """205860225 as `205 860 225`."""
    return "" if number is None else f"{number:,.0f}".replace(",", THIN)


def short(number: float | None) -> str:
    """205860225 as `205.9 M`."""
    if number is None:
        return ""
    for size, letter in SCALES:
        if abs(number) >= size:
            return f"{number / size:.4g}{THIN}{letter}"
    return f"{number:.4g}"


def milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}{THIN}ms"


def duration(seconds: float | None) -> str:
    """75.2 as `1 min 15 s`."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f}{THIN}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}{THIN}h {minutes}{THIN}min" if hours else f"{minutes}{THIN}min {rest}{THIN}s"


def text(value: Any) -> str:
    """A setting as a user would type it."""
    from crackdet.analysis.tables import value_text

    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return sanitize(value_text(value))


def short_names(keys: list[str]) -> dict[str, str]:
    """`model.conv_out` as `conv_out`, where no other key ends so, and `model.name` as what it means."""
    ends = {key: "network" if key == "model.name" else key.rpartition(".")[2] for key in keys}
    return {key: end if list(ends.values()).count(end) == 1 else key for key, end in ends.items()}
