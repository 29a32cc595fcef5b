"""One run on a terminal: a few lines, or everything that is stored about it."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table

from crackdet.analysis.columns import scaled
from crackdet.analysis.tables import console
from crackdet.config.schema import flatten, setting_at
from crackdet.core.console import escape_markup
from crackdet.core.licenses import RANDOM
from crackdet.store.snapshot import RunSnapshot

HISTORY = ("epoch", "train_loss", "train_accuracy", "valid_loss", "valid_accuracy", "valid_f1", "learning_rate")
COSTS = {
    "parameters": "{} parameters",
    "feature_parameters": "{} of the features",
    "feature_flops": "{} FLOPs of the features",
    "detector_flops": "{} in a detector",
}
SCORES = ("accuracy", "recall", "precision", "f1", "roc_auc", "loss")


def show_run(snapshot: RunSnapshot, everything: bool = False) -> None:
    """Print at most ten lines about a run; with `everything` also its settings, provenance and history."""
    out, run = console(), snapshot.run
    out.print(f"{run.id}: {snapshot.status} in {escape_markup(run.directory)}", highlight=False, soft_wrap=True)
    for title, text in _lines(snapshot):
        one_line = text.replace("\n", " ")
        out.print(f"{title:<9}{escape_markup(one_line)}".rstrip(), highlight=False, soft_wrap=True)
    if not everything:
        out.print("--all shows all settings, the provenance and the history", highlight=False, soft_wrap=True)
        return
    for table in _tables(snapshot):
        out.print(table)


def run_content(snapshot: RunSnapshot) -> dict[str, Any]:
    """Return everything that is stored about a run, as `crackdet show --json` prints it."""
    result = {key: value for key, value in (snapshot.result or {}).items() if key != "settings"}
    return {
        "id": snapshot.run.id,
        "status": str(snapshot.status),
        "directory": str(snapshot.run.directory),
        "result": result or None,
        "failure": snapshot.failure or None,
        "corruption": snapshot.corruption,
        "configuration": snapshot.config,
        "provenance": snapshot.provenance,
        "history": snapshot.history,
    }


def _lines(snapshot: RunSnapshot) -> Iterator[tuple[str, str]]:
    """Yield the title and the text of each line."""
    result, config, provenance = snapshot.result or {}, snapshot.config, snapshot.provenance
    reason = snapshot.corruption or snapshot.failure.get("reason")
    if reason:
        yield "reason", str(reason)
    if result:
        scores = (f"{name} {result[name]:.4f}" for name in SCORES if isinstance(result.get(name), int | float))
        yield "result", ", ".join(scores)
    epochs = result.get("epochs", len(snapshot.history))
    best = f", the best by {setting_at(config, 'trainer.monitor')} is {result['epoch']}" if "epoch" in result else ""
    yield "epochs", f"{epochs} of {setting_at(config, 'trainer.max_epochs')}{best}"
    yield (
        "network",
        str(setting_at(config, "model.name"))
        + _figures(result, COSTS)
        + (f"; {_license(result['license'])}" if result.get("license") else ""),
    )
    yield (
        "data",
        str(setting_at(config, "data.name"))
        + _figures(result, {"train_images": "{} training images", "valid_images": "{} validation images"}),
    )
    if result:
        where = provenance.get("gpu") or provenance.get("processor") or result.get("device")
        yield (
            "cost",
            f"{where}"
            + _figures(
                result,
                {
                    "seconds": "{} s of training",
                    "feature_latency_ms": "{} ms for the features of an image",
                    "peak_memory_mib": "{} MiB of memory",
                },
            ),
        )
    yield "settings", " ".join(map(str, provenance.get("overrides") or ())) or "the defaults"
    if provenance:
        commit = str(setting_at(provenance, "git.commit") or "")[:12]
        yield "started", f"{provenance.get('started')} on {provenance.get('host')}{commit and f', commit {commit}'}"


def _license(text: str) -> str:
    return text if text == RANDOM else f"license of the initial weights: {text}"


def _figures(result: Mapping[str, Any], texts: Mapping[str, str]) -> str:
    known = {key: result[key] for key in texts if isinstance(result.get(key), int | float)}
    return "".join(f", {texts[key].format(scaled(value))}" for key, value in known.items())


def _tables(snapshot: RunSnapshot) -> Iterator[Table]:
    """Yield all settings, the provenance and the history."""
    result = {k: v for k, v in (snapshot.result or {}).items() if k not in ("files", "settings", "identity")}
    for title, values in (
        ("result", result),
        ("configuration", flatten(snapshot.config)),
        ("provenance", flatten(snapshot.provenance)),
    ):
        if values:
            table = Table(title, "", box=None)
            for key, value in values.items():
                table.add_row(escape_markup(key), escape_markup(value))
            yield table
    if snapshot.history:
        table = Table(*HISTORY)
        for row in snapshot.history:
            table.add_row(*(_short(row.get(name, "")) for name in HISTORY))
        yield table


def _short(text: str | None) -> str:
    try:
        return f"{float(text or ''):.4g}"
    except ValueError:
        return escape_markup(text or "")  # None in an incomplete row
