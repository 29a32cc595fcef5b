"""MLflow: a run of an experiment for each run, found again by its id, with parameters, metrics and tags."""

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
    "MLFLOW_DISABLE_TELEMETRY": "true",  # it would tell its makers of every use
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # a server that is gone would hold up training for minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds
}.items():
    os.environ.setdefault(name, value)

from mlflow.entities import Metric, Param, Run, RunTag  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402
from mlflow.tracking import MlflowClient  # noqa: E402

from crackdet.config.schema import MLflow  # noqa: E402
from crackdet.core.files import read_json, write_json  # noqa: E402
from crackdet.core.locks import lock  # noqa: E402
from crackdet.store.snapshot import Status  # noqa: E402
from crackdet.tracking.trackers import History, TrackedRun  # noqa: E402

SQLITE = "sqlite:///"
RUN_TAG = "crackdet.run"
STATES = {Status.FINISHED: "FINISHED", Status.FAILED: "FAILED"}  # of MLflow; otherwise KILLED
LONGEST = 500  # characters of a parameter that every MLflow server takes
NOISY = ("alembic", "mlflow", "urllib3")  # they tell of upgrades and retries what one warning says


def open_tracker(settings: MLflow, subject: TrackedRun) -> "Recorder":
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.ERROR)
    return Recorder(settings, subject)


class Recorder:
    """Goes on with the MLflow run that this run directory has begun and not finished, else begins one.

    Others may train the same run in stores of their own and tell it to the same server.
    """

    def __init__(self, settings: MLflow, subject: TrackedRun) -> None:
        self._subject = subject
        with _making(settings.uri):
            self._client = MlflowClient(settings.uri)
            self._experiment = _experiment(self._client, settings.experiment)
        self._known: dict[int, float] = {}  # validation loss by epoch, as MLflow has it
        found = self._unfinished()
        self._id = self._begin() if found is None else self._go_on(found)

    def update(self, history: History) -> None:
        epochs = {int(row["epoch"]): float(row["valid_loss"]) for row in history}
        if any(self._known.get(epoch, loss) != loss for epoch, loss in epochs.items()):
            # epochs that were lost with a process became others when they were trained again, on another machine
            self._client.delete_run(self._id)
            self._known, self._id = {}, self._begin()
        for row in history:
            if (epoch := int(row["epoch"])) not in self._known:
                values = {name: float(value) for name, value in row.items() if name != "epoch"}
                values["epoch_seconds"] = values.pop("seconds")  # the result has the seconds of the whole run
                self._log(values, epoch)
                self._known[epoch] = epochs[epoch]

    def end(self, status: Status, result: Mapping[str, float]) -> None:
        self._log(result, max(self._known, default=0))
        self._client.set_tag(self._id, "crackdet.status", str(status))
        run = self._subject.run
        if commit := (run.snapshot().provenance.get("git") or {}).get("commit"):
            self._client.set_tag(self._id, "mlflow.source.git.commit", commit)
        if status is Status.FINISHED:
            self._client.set_tag(self._id, "crackdet.weights", str(run.weights_file.absolute()))
        self._client.set_terminated(self._id, STATES.get(status, "KILLED"))

    def _unfinished(self) -> Run | None:
        """A run that has finished before and is trained again is told of beside what it was."""
        begun = read_json(self._file).get("run")
        if not isinstance(begun, str):
            return None
        mine = f"attributes.run_id = '{begun}' and attributes.status != 'FINISHED'"
        found = self._client.search_runs([self._experiment], mine, max_results=1)
        return found[0] if found else None

    @property
    def _file(self) -> Path:
        return self._subject.run.mlflow_file

    def _begin(self) -> str:
        subject = self._subject
        tags = {
            RUN_TAG: subject.run.id,
            "crackdet.overrides": " ".join(subject.overrides),
            "crackdet.status": "running",
            "mlflow.source.name": Path(sys.argv[0]).name,
            "mlflow.note.content": f"`{shlex.join(subject.overrides)}`" if subject.overrides else "all defaults",
        }
        with suppress(KeyError, OSError):  # a container need not know who runs it
            tags["mlflow.user"] = getpass.getuser()
        if subject.sweep:
            tags["crackdet.sweep"] = subject.sweep
        started = self._client.create_run(self._experiment, tags=tags, run_name=subject.run.id)
        write_json(self._file, {"run": str(started.info.run_id)})
        given = {name: str(value)[:LONGEST] for name, value in subject.parameters.items() if value is not None}
        self._client.log_batch(started.info.run_id, params=[Param(name, value) for name, value in given.items()])
        return str(started.info.run_id)

    def _go_on(self, found: Run) -> str:
        run_id = str(found.info.run_id)
        self._known = {point.step: point.value for point in self._client.get_metric_history(run_id, "valid_loss")}
        self._client.update_run(run_id, status="RUNNING")
        self._client.log_batch(run_id, tags=[RunTag("crackdet.status", "running")])
        return run_id

    def _log(self, values: Mapping[str, float], step: int) -> None:
        now = round(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for name, value in values.items() if math.isfinite(value)]
        self._client.log_batch(self._id, metrics=metrics)


@contextmanager
def _making(uri: str) -> Iterator[None]:
    """One process at a time: at its first question MLflow makes the tables of a new database, and would do so twice."""
    if not uri.startswith(SQLITE):
        yield
        return
    file = Path(uri.removeprefix(SQLITE))
    file.parent.mkdir(parents=True, exist_ok=True)
    with lock(file.with_name(f"{file.name}.lock")):
        yield


def _experiment(client: MlflowClient, name: str) -> str:
    found = client.get_experiment_by_name(name)
    try:
        return str(found.experiment_id if found else client.create_experiment(name))
    except MlflowException:  # another process has made it a moment ago
        found = client.get_experiment_by_name(name)
        if found is None:
            raise
        return str(found.experiment_id)
