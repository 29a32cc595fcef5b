"""MLflow: one MLflow run per run, with parameters, metrics and tags."""

import getpass
import logging
import math
import os
import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

for name, value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # no usage reports
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # else an unreachable server delays training for minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds
}.items():
    os.environ.setdefault(name, value)

from mlflow.entities import Metric, Param, Run, RunTag  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402
from mlflow.tracking import MlflowClient  # noqa: E402

from crackdet.config.schema import MLflow  # noqa: E402
from crackdet.core.files import write_json  # noqa: E402
from crackdet.core.locks import lock  # noqa: E402
from crackdet.core.reading import read_json  # noqa: E402
from crackdet.store.snapshot import Status  # noqa: E402
from crackdet.tracking.trackers import EpochHistory, TrackedRun  # noqa: E402

SQLITE = "sqlite:///"
RUN_TAG = "crackdet.run"
STATES = {Status.FINISHED: "FINISHED", Status.FAILED: "FAILED"}  # MLflow's states; all others are KILLED
MAX_PARAM_LENGTH = 500  # characters that every MLflow server accepts
NOISY_LOGGERS = ("alembic", "mlflow", "urllib3")  # they report upgrades and retries; one warning of ours is enough


class MLflowTracker:
    """Continues the unfinished MLflow run recorded in this run directory, or starts one.

    The same run in another store, reported to the same server, is another MLflow run.
    """

    def __init__(self, settings: MLflow, tracked: TrackedRun) -> None:
        for name in NOISY_LOGGERS:
            logging.getLogger(name).setLevel(logging.ERROR)
        self._tracked = tracked
        with _database_lock(settings.uri):
            self._client = MlflowClient(settings.uri)
            self._experiment = _experiment_id(self._client, settings.experiment)
        self._losses: dict[int, float] = {}  # validation loss by epoch, as MLflow has it
        unfinished = self._unfinished()
        self._id = self._start() if unfinished is None else self._resume(unfinished)

    def update(self, history: EpochHistory) -> None:
        losses = {int(row["epoch"]): float(row["valid_loss"]) for row in history}
        if any(self._losses.get(epoch, loss) != loss for epoch, loss in losses.items()):
            # epochs after the last checkpoint were retrained on another machine, with another result
            self._client.delete_run(self._id)
            self._losses, self._id = {}, self._start()
        for row in history:
            if (epoch := int(row["epoch"])) not in self._losses:
                values = {name: float(value) for name, value in row.items() if name != "epoch"}
                values["epoch_seconds"] = values.pop("seconds")  # `seconds` of the result is the whole run's
                self._log(values, epoch)
                self._losses[epoch] = losses[epoch]

    def end(self, status: Status, result: Mapping[str, float]) -> None:
        self._log(result, max(self._losses, default=0))
        self._client.set_tag(self._id, "crackdet.status", str(status))
        run = self._tracked.run
        if commit := (run.snapshot().provenance.get("git") or {}).get("commit"):
            self._client.set_tag(self._id, "mlflow.source.git.commit", commit)
        if status is Status.FINISHED:
            self._client.set_tag(self._id, "crackdet.weights", str(run.weights_file.absolute()))
        self._client.set_terminated(self._id, STATES.get(status, "KILLED"))

    def _unfinished(self) -> Run | None:
        """Return the recorded MLflow run unless it has finished; a retrained run starts a new one."""
        recorded = read_json(self._tracked.run.mlflow_file).get("run")
        if not isinstance(recorded, str):
            return None
        condition = f"attributes.run_id = '{recorded}' and attributes.status != 'FINISHED'"
        found = self._client.search_runs([self._experiment], condition, max_results=1)
        return found[0] if found else None

    def _start(self) -> str:
        tracked = self._tracked
        tags = {
            RUN_TAG: tracked.run.id,
            "crackdet.overrides": " ".join(tracked.overrides),
            "crackdet.status": "running",
            "mlflow.source.name": Path(sys.argv[0]).name,
            "mlflow.note.content": f"`{shlex.join(tracked.overrides)}`" if tracked.overrides else "all defaults",
        }
        with suppress(KeyError, OSError):  # a container may have no user name
            tags["mlflow.user"] = getpass.getuser()
        if tracked.sweep:
            tags["crackdet.sweep"] = tracked.sweep
        started = self._client.create_run(self._experiment, tags=tags, run_name=tracked.run.id)
        run_id = str(started.info.run_id)
        write_json(tracked.run.mlflow_file, {"run": run_id})
        params = {
            name: str(value)[:MAX_PARAM_LENGTH] for name, value in tracked.parameters.items() if value is not None
        }
        self._client.log_batch(run_id, params=[Param(name, value) for name, value in params.items()])
        return run_id

    def _resume(self, found: Run) -> str:
        run_id = str(found.info.run_id)
        self._losses = {point.step: point.value for point in self._client.get_metric_history(run_id, "valid_loss")}
        self._client.update_run(run_id, status="RUNNING")
        self._client.log_batch(run_id, tags=[RunTag("crackdet.status", "running")])
        return run_id

    def _log(self, values: Mapping[str, float], step: int) -> None:
        now = round(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for name, value in values.items() if math.isfinite(value)]
        self._client.log_batch(self._id, metrics=metrics)


@contextmanager
def _database_lock(uri: str) -> Iterator[None]:
    """Let one process at a time create the tables of a new SQLite database, which MLflow does on first use."""
    if not uri.startswith(SQLITE):
        yield
        return
    file = Path(uri.removeprefix(SQLITE))
    file.parent.mkdir(parents=True, exist_ok=True)
    with lock(file.with_name(f"{file.name}.lock")):
        yield


def _experiment_id(client: MlflowClient, name: str) -> str:
    found = client.get_experiment_by_name(name)
    try:
        return str(found.experiment_id if found else client.create_experiment(name))
    except MlflowException:  # another process has just created it
        found = client.get_experiment_by_name(name)
        if found is None:
            raise
        return str(found.experiment_id)
