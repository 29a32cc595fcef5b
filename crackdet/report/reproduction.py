"""How to train a run again: its command, and the environment and data it was trained with."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from crackdet.analysis.rows import RunRow
from crackdet.core.console import sanitize
from crackdet.store.identity import read_identity
from crackdet.store.integrity import weights_digest

CONFIG_FLAGS = ("--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp")  # of Hydra


@dataclass(frozen=True)
class Recipe:
    title: str
    id: str
    command: str
    facts: Sequence[tuple[str, str]]


def recipe(title: str, row: RunRow) -> Recipe:
    """Return how to train a run again; facts that its files do not hold are left out."""
    provenance = row.snapshot.provenance
    facts = {
        "trained": _trained(provenance),
        "commit": _commit(provenance.get("git")),
        "device": _device(row.result, provenance),
        "platform": provenance.get("platform"),
        "versions": _versions(provenance.get("versions")),
        "data": _data(row),
        "data fingerprint": read_identity(row.run).get("fingerprint"),
        "validation images": f"{row.result.get('valid_images')}, digest {row.result.get('valid_digest')}",
        "weights": _weights(row),
    }
    command = shlex.join(["python", "train.py", *_config_flags(provenance.get("command")), *row.overrides])
    return Recipe(title, row.id, sanitize(command), [(name, sanitize(value)) for name, value in facts.items() if value])


def sweep_command(row: RunRow) -> str | None:
    """Return the command of the sweep that first trained a run; None if it is unknown or was no sweep."""
    command = row.snapshot.provenance.get("command")
    return sanitize(f"python {command}") if {"-m", "--multirun"} & set(_words(command)) else None


def _words(command: Any) -> list[str]:
    try:
        return shlex.split(command) if isinstance(command, str) else []
    except ValueError:  # an unclosed quote
        return []


def _config_flags(command: Any) -> list[str]:
    """Return the flags of a command that choose the configuration, which its overrides may need."""
    found = []
    for word, following in pairwise([*_words(command), ""]):
        if word in CONFIG_FLAGS:
            found += [word, following]
        elif word.partition("=")[0] in CONFIG_FLAGS:
            found.append(word)
    return found


def _trained(provenance: Mapping[str, Any]) -> str | None:
    """Return when the run was trained and resumed, and what differed between its processes."""
    started, earlier = provenance.get("started"), provenance.get("earlier")
    if not isinstance(earlier, list) or not earlier or not isinstance(earlier[0], dict):
        return started
    others = sorted({key for one in earlier if isinstance(one, dict) for key in one} - {"started", "command"})
    changed = f", with other {', '.join(others)} before (provenance.json)" if others else ""
    return f"{earlier[0].get('started', started)}, resumed at {started}{changed}"


def _commit(git: Any) -> str | None:
    if not isinstance(git, dict) or not git.get("commit"):
        return None
    return str(git["commit"]) + (", with uncommitted changes" if git.get("modified") else "")


def _device(result: Mapping[str, Any], provenance: Mapping[str, Any]) -> str:
    machine, threads = provenance.get("gpu") or provenance.get("processor"), provenance.get("threads")
    words = [result.get("device"), machine, result.get("number_format")]
    if threads:
        words.append(f"{threads} threads of {provenance.get('cores')} cores")
    return ", ".join(str(word) for word in words if word)


def _versions(versions: Any) -> str | None:
    if not isinstance(versions, dict):
        return None
    return ", ".join(f"{name} {number}" for name, number in versions.items() if number)


def _data(row: RunRow) -> str | None:
    data = row.snapshot.config.get("data", {})
    return str(data.get("root") or data.get("name") or "") if isinstance(data, dict) else None


def _weights(row: RunRow) -> str:
    digest = weights_digest(row.run)
    removed = "" if row.run.has_weights else " (removed)"
    return f"{row.run.weights_file}{removed}" + (f", SHA-256 {digest}" if digest else "")
