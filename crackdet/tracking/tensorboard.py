"""TensorBoard: one folder per run, named by its id, with curves, settings and result."""

from collections.abc import Mapping
from typing import Any, cast

from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from crackdet.config.schema import TensorBoard
from crackdet.core.files import expand_home
from crackdet.store.snapshot import Status
from crackdet.tracking.trackers import RESULT_METRICS, EpochHistory, TrackedRun


class TensorBoardTracker:
    """Rewrites the whole history when a run is resumed, and purges what was written before."""

    def __init__(self, settings: TensorBoard, tracked: TrackedRun) -> None:
        self._tracked = tracked
        self._epochs_written = 0
        folder = expand_home(settings.folder) / tracked.run.id
        self._writer = cast(Any, SummaryWriter(str(folder), purge_step=0))  # partly untyped
        results = dict.fromkeys(map(_result_tag, RESULT_METRICS), 0.0)
        experiment, start, self._session_end = hparams(_hparams(tracked), results)  # type: ignore[no-untyped-call]
        for summary in (experiment, start):
            self._writer.file_writer.add_summary(summary, 0)
        self._write_description("running")

    def update(self, history: EpochHistory) -> None:
        for row in history[self._epochs_written :]:
            for name, value in row.items():
                if name != "epoch":
                    self._writer.add_scalar(_curve_tag(name), float(value), row["epoch"])
        self._epochs_written = len(history)
        self._writer.flush()  # the process may be killed before the next epoch

    def end(self, status: Status, result: Mapping[str, float]) -> None:
        for name, value in result.items():
            self._writer.add_scalar(_result_tag(name), value, self._epochs_written)
        if status is Status.FINISHED:
            self._writer.file_writer.add_summary(self._session_end, self._epochs_written)
        self._write_description(str(status))
        self._writer.close()

    def _write_description(self, status: str) -> None:
        """Write the run's settings and status as a Markdown table."""
        tracked = self._tracked
        lines: dict[str, Any] = {
            "run": tracked.run.id,
            "status": status,
            "overrides": " ".join(tracked.overrides) or "none",
            "sweep": tracked.sweep,
            "best weights": tracked.run.weights_file.absolute() if status == Status.FINISHED else None,
        }
        lines |= {name: value for name, value in tracked.parameters.items() if value is not None}
        rows = "\n".join(f"| {name} | `{value}` |" for name, value in lines.items() if value is not None)
        self._writer.add_text("run", f"| | |\n|---|---|\n{rows}", self._epochs_written)
        self._writer.flush()


def _hparams(tracked: TrackedRun) -> dict[str, float | str]:
    """Return the settings that the command chose: TensorBoard's table shows only a few columns."""
    keys = {override.partition("=")[0].lstrip("+~") for override in tracked.overrides}
    shown = keys | {"model.name", "seed", *(f"{key}.name" for key in keys)}  # model=resnext50 sets model.name
    chosen = {
        name: value if type(value) in (int, float) else str(value)
        for name, value in tracked.parameters.items()
        if name in shown and value is not None
    }
    return chosen | {"sweep": tracked.sweep or "none"}  # always present: the columns are those of the first run


def _curve_tag(name: str) -> str:
    """Return `valid_loss` as `loss/valid`, so that TensorBoard groups training and validation curves."""
    split, _, measure = name.partition("_")
    return f"{measure}/{split}" if split in ("train", "valid") else f"training/{name}"


def _result_tag(name: str) -> str:
    return f"result/{name}"
