"""Run directories as rows: status, settings, result."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crackdet.identity import LEFT_OUT
from crackdet.schema import flatten
from crackdet.store import Run, Status


@dataclass(frozen=True)
class Entry:
    """One run, as a summary shows it."""

    run: Run
    status: Status
    overrides: Sequence[str]
    settings: Mapping[str, Any]  # dotted key -> value, of all that decides the result
    result: Mapping[str, Any]  # of result.json; empty unless finished
    reason: str  # why it failed, or what is damaged

    @property
    def id(self) -> str:
        return self.run.id

    @property
    def accuracy(self) -> float:
        return float(self.result["accuracy"])


def read_entry(run: Run, overrides: Sequence[str] | None = None) -> Entry:
    """The row of a run; where no overrides are known, those it was first trained with."""
    status = run.status()
    # result.json has them too, so that listing finished runs reads one file of each
    tree = (run.result or {}).get("settings") or run.config
    settings = flatten({group: value for group, value in tree.items() if group not in LEFT_OUT})
    return Entry(
        run,
        status,
        list(overrides if overrides is not None else run.provenance.get("overrides", [])),
        settings,
        run.result or {} if status is Status.FINISHED else {},
        _reason(run, status),
    )


def _reason(run: Run, status: Status) -> str:
    if status is Status.CORRUPT:
        return f"{run.damage()}; the command that trained the run mends it"
    return str(run.failure.get("reason", "")) if status in (Status.FAILED, Status.INTERRUPTED) else ""


def differing(entries: Iterable[Entry]) -> list[str]:
    """The settings in which runs differ, as dotted keys in the order of the configuration."""
    values: dict[str, set[str]] = {}
    rows = [entry.settings for entry in entries if entry.settings]
    for settings in rows:
        for key in settings:
            values.setdefault(key, set())
    for key, seen in values.items():
        seen.update(repr(settings.get(key)) for settings in rows)
    return [key for key, seen in values.items() if len(seen) > 1]
