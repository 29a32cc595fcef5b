"""A run directory with a little in each of its files."""

from pathlib import Path

import pytest

from crackdet.core.files import write_csv, write_json
from crackdet.store.identity import Identity
from crackdet.store.run import Run
from crackdet.store.run_store import RunStore

RESULT = {"accuracy": 0.9, "loss": 0.3, "epoch": 1, "parameters": 10, "seconds": 1.0}
IDENTITY = Identity({"seed": 0})


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """An empty run directory."""
    run = RunStore(tmp_path).run("custom-0123456789ab")
    run.directory.mkdir()
    return run


@pytest.fixture
def finished(run: Run) -> Run:
    run.config_file.write_text("seed: 0\n")
    write_json(run.identity_file, IDENTITY.content)
    write_json(run.provenance_file, {"overrides": []})
    write_csv(run.history_file, [{"epoch": 1, "valid_loss": 0.3}])
    write_csv(run.predictions_file, [{"image": "a.jpg", "digest": "0", "crack": 1, "logit": 0.5}])
    run.weights_file.write_bytes(bytes(range(256)))
    run.publish({**RESULT, "identity": IDENTITY.digest})
    return run
