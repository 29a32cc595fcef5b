"""How real runs appear in the summary and its table."""

from pathlib import Path

import pytest

from crackdet.analysis.ranking import summarize
from crackdet.analysis.tables import View
from crackdet.config.schema import flatten
from crackdet.store.failures import Failure, record_failure
from tests.jobs import Configure, job_of, train


def test_text_from_files_cannot_control_the_terminal(tiny: Configure, capsys: pytest.CaptureFixture[str]) -> None:
    job = job_of(tiny())
    job.run.directory.mkdir(parents=True)
    record_failure(job.run, Failure.ERROR, "\x1b]0;title\x07\x1b[2J[bold]red[/bold] [/x]", attempts=1)
    summarize(job.run.root).show()
    output = capsys.readouterr().out
    assert "\x1b" not in output and "\x07" not in output
    assert "[bold]red[/bold] [/x]" in output


def test_the_table_shows_the_requested_number_of_runs_and_counts_the_others(
    tiny: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(3):
        train(tiny("trainer.max_epochs=1", f"seed={seed}"))
    summary = summarize(Path(tiny().runtime.store))
    output = {}
    capsys.readouterr()  # discards the output of training
    for top in (1, 3, 0):
        summary.show(View(top=top))
        output[top] = capsys.readouterr().out
    runs = [row.id for row in summary]
    assert runs[0] in output[1] and runs[1] not in output[1] and "and 2 more" in output[1]
    for top in (3, 0):
        assert all(run in output[top] for run in runs) and "more:" not in output[top]


def test_a_row_has_the_settings_of_the_runs_configuration(tiny: Configure) -> None:
    job = job_of(tiny("trainer.max_epochs=1", "data.split_seed=3"))
    run = train(job.config)
    (row,) = summarize(run.root)
    run.config_file.write_bytes(run.config_file.read_bytes())  # changes the modification time only
    stored = {key: value for key, value in flatten(run.snapshot().config).items() if key in row.settings}
    stored["data.fingerprint"] = job.identity.content["fingerprint"][:12]
    assert dict(row.settings) == stored
    assert row.settings["data.split_seed"] == 3 and not any(key.startswith("runtime.") for key in row.settings)
