"""TensorBoard: a folder for each run, named by its id, with the course of each epoch, its settings and its result."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from crackdet.config.schema import TensorBoard
from crackdet.store.snapshot import Status
from crackdet.tracking.trackers import RESULTS, History, TrackedRun


def open_tracker(settings: TensorBoard, subject: TrackedRun) -> "Writer":
    return Writer(settings, subject)


class Writer:
    """Writes the whole course anew when a run goes on: what was written before is purged, as TensorBoard calls it."""

    def __init__(self, settings: TensorBoard, subject: TrackedRun) -> None:
        self._subject = subject
        self._written = 0
        folder = Path(settings.folder).expanduser() / subject.run.id
        self._writer = cast(Any, SummaryWriter(str(folder), purge_step=0))  # parts of it have no types
        parameters = {name: _shown(value) for name, value in _chosen(subject).items()}
        results = dict.fromkeys(map(_result_tag, RESULTS), 0.0)
        experiment, start, self._session_end = hparams(parameters, results)  # type: ignore[no-untyped-call]
        for summary in (experiment, start):
            self._writer.file_writer.add_summary(summary, 0)
        self._describe("running")

    def update(self, history: History) -> None:
        for row in history[self._written :]:
            for name, value in row.items():
                if name != "epoch":
                    self._writer.add_scalar(tag(name), float(value), row["epoch"])
        self._written = len(history)
        self._writer.flush()  # all that a process that is killed has to leave

    def end(self, status: Status, result: Mapping[str, float]) -> None:
        for name, value in result.items():
            self._writer.add_scalar(_result_tag(name), value, self._written)
        if status is Status.FINISHED:
            self._writer.file_writer.add_summary(self._session_end, self._written)
        self._describe(str(status))
        self._writer.close()

    def _describe(self, status: str) -> None:
        """A text, in TensorBoard's Markdown."""
        subject = self._subject
        lines: dict[str, Any] = {
            "run": subject.run.id,
            "status": status,
            "overrides": " ".join(subject.overrides) or "none",
            "sweep": subject.sweep,
            "best weights": subject.run.weights_file.absolute() if status == Status.FINISHED else None,
        }
        lines |= {name: value for name, value in subject.parameters.items() if value is not None}
        rows = "\n".join(f"| {name} | `{value}` |" for name, value in lines.items() if value is not None)
        self._writer.add_text("run", f"| | |\n|---|---|\n{rows}", self._written)
        self._writer.flush()


def _chosen(subject: TrackedRun) -> dict[str, Any]:
    """The settings that were chosen: TensorBoard's table, which shows a few columns only, would begin with the rest."""
    keys = {override.partition("=")[0].lstrip("+~") for override in subject.overrides}
    groups = {"model.name", "seed", *(f"{key}.name" for key in keys)}  # model=resnext50 chooses a model.name
    chosen = {name: value for name, value in subject.parameters.items() if name in keys | groups and value is not None}
    return chosen | {"sweep": subject.sweep or "none"}  # always: the columns are those of TensorBoard's first run


def _shown(value: Any) -> float | str:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def tag(name: str) -> str:
    """`valid_loss` as `loss/valid`, so that TensorBoard draws the curves of training and validation side by side."""
    split, _, measure = name.partition("_")
    return f"{measure}/{split}" if split in ("train", "valid") else f"training/{name}"


def _result_tag(name: str) -> str:
    return f"result/{name}"
