"""What is needed to train a run again: its command, and what it was trained by and on."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from crackdet.analysis.rows import RunRow
from crackdet.core.console import sanitize
from crackdet.core.files import read_json
from crackdet.store.integrity import weights_digest

CONFIGURATION = ("--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp")  # options of Hydra


@dataclass(frozen=True)
class Recipe:
    title: str
    id: str
    command: str
    facts: Sequence[tuple[str, str]]


def recipe(title: str, entry: RunRow) -> Recipe:
    """How the run of an entry is trained again; what its files do not say is left out."""
    provenance = entry.snapshot.provenance
    facts = {
        "trained": _trained(provenance),
        "commit": _commit(provenance.get("git")),
        "device": _device(entry, provenance),
        "platform": provenance.get("platform"),
        "versions": _versions(provenance.get("versions")),
        "data": _data(entry),
        "data fingerprint": read_json(entry.run.identity_file).get("fingerprint"),
        "validation images": _images(entry),
        "weights": _weights(entry),
    }
    command = shlex.join(["python", "train.py", *_flags(provenance.get("command")), *entry.overrides])
    return Recipe(
        title, entry.id, sanitize(command), [(name, sanitize(value)) for name, value in facts.items() if value]
    )


def sweep_command(entry: RunRow) -> str | None:
    """The command line of the sweep that first trained a run; None where it was no sweep, or is not known."""
    command = entry.snapshot.provenance.get("command")
    if not isinstance(command, str):
        return None
    words = _words(command)
    return sanitize(f"python {command}") if "-m" in words or "--multirun" in words else None


def _words(command: Any) -> list[str]:
    try:
        return shlex.split(command) if isinstance(command, str) else []
    except ValueError:  # a quote that does not end
        return []


def _flags(command: Any) -> list[str]:
    """What a command line says of the configuration's folder and file, which the overrides may need."""
    found = []
    for word, following in pairwise([*_words(command), ""]):
        if word in CONFIGURATION:
            found += [word, following]
        elif word.partition("=")[0] in CONFIGURATION:
            found.append(word)
    return found


def _trained(provenance: dict[str, Any]) -> str | None:
    """When, and in how many processes; what differed between these stands in the file."""
    started, earlier = provenance.get("started"), provenance.get("earlier")
    if not isinstance(earlier, list) or not earlier or not isinstance(earlier[0], dict):
        return started
    others = sorted({key for one in earlier if isinstance(one, dict) for key in one} - {"started", "command"})
    changed = f", with other {', '.join(others)} before (provenance.json)" if others else ""
    return f"{earlier[0].get('started', started)}, gone on with at {started}{changed}"


def _commit(git: Any) -> str | None:
    if not isinstance(git, dict) or not git.get("commit"):
        return None
    return str(git["commit"]) + (", with changes that are not committed" if git.get("modified") else "")


def _device(entry: RunRow, provenance: dict[str, Any]) -> str | None:
    device = provenance.get("device") or entry.result.get("device")
    if not device:
        return None
    machine = provenance.get("gpu") or provenance.get("processor")
    words = [str(device), str(machine or ""), str(entry.result.get("number_format") or "")]
    if provenance.get("threads"):
        words.append(f"{provenance['threads']} threads of {provenance.get('cores')} cores")
    return ", ".join(word for word in words if word)


def _versions(versions: Any) -> str | None:
    if not isinstance(versions, dict):
        return None
    return ", ".join(f"{name} {number}" for name, number in versions.items() if number)


def _data(entry: RunRow) -> str | None:
    data = entry.snapshot.config.get("data", {})
    return str(data.get("root") or data.get("name") or "") if isinstance(data, dict) else None


def _images(entry: RunRow) -> str | None:
    number, digest = entry.result.get("valid_images"), entry.result.get("valid_digest")
    return f"{number}, digest {digest}" if number else None


def _weights(entry: RunRow) -> str:
    digest = weights_digest(entry.run)
    there = "" if entry.run.weights_file.exists() else " (removed)"
    return f"{entry.run.weights_file}{there}" + (f", SHA-256 {digest}" if digest else "")
