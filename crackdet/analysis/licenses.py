"""The runs whose initial weights have a permitted license."""

from collections.abc import Iterable, Sequence

from crackdet.analysis.rows import RunRow
from crackdet.core.licenses import RANDOM, UNKNOWN, is_permitted, license_name


def with_license(rows: Iterable[RunRow], licenses: Sequence[str]) -> tuple[list[RunRow], str]:
    """Return the runs with one of the licenses, and a note on the others; all runs if no license is given."""
    rows = list(rows)
    if not licenses:
        return rows, ""
    permitted = [row for row in rows if is_permitted(_license(row), licenses)]
    unknown = sum(license_name(_license(row)) == UNKNOWN for row in rows)
    different = len(rows) - len(permitted) - unknown
    found = f"--license: {len(permitted)} of {len(rows)} runs are permitted"
    left_out = [f"the initial weights of {different} have another license"] if different else []
    left_out += [f"the license of {unknown} is unknown"] if unknown else []
    return permitted, "; ".join([found, *left_out])


def _license(row: RunRow) -> str:
    """Return the license in the result; of a run without it, only random initial weights are known."""
    recorded = row.result.get("license")
    if recorded is None:
        return RANDOM if "model" in row.tree and row.setting("model.weights") is None else UNKNOWN
    return str(recorded)
