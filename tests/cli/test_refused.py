"""Commands of `train.py` that are refused, run in this process: one message with status 2, never a traceback."""

import contextlib
import io
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crackdet.cli.train import run_hydra
from crackdet.config.composing import CONF
from crackdet.sweep.task import run_job
from tests.overrides import OVERRIDES

Start = Callable[..., tuple[Any, str]]


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """Hydra changes the logging of this process; later tests have it as it was."""
    root, own = logging.getLogger(), logging.getLogger("crackdet")
    before = [(logger, logger.level, list(logger.handlers)) for logger in (root, own)]
    yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers = handlers


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: Path) -> Start:
    """Start `train.py` with tiny settings; its runs are not trained. Returns the exit status and standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("crackdet.sweep.task.execute", lambda *_: 0.5)
    base = ["data.image_size=32", f"runtime.store={tmp_path / 'runs'}", f"runtime.cache={cache}", "sweep.report=false",
            "data.num_images=16", f"hydra.run.dir={tmp_path / 'single'}", f"hydra.sweep.dir={tmp_path / 'sweep'}",
            "hydra/hydra_logging=none"]  # fmt: skip

    def run(*arguments: str) -> tuple[Any, str]:
        flags = [text for text in arguments if text.startswith("--") or text == "-m"]
        line = ["train.py", *flags, *base, *(text for text in arguments if text not in flags)]
        monkeypatch.setattr(sys, "argv", line)
        errors, status = io.StringIO(), 0
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                run_hydra(hydra.main(config_path=str(CONF), config_name="config")(lambda config: run_job(config)))
            except SystemExit as stop:
                status = stop.code  # type: ignore[assignment]
        return status, errors.getvalue()

    return run


def assert_refused(result: tuple[Any, str]) -> str:
    """Return the message of a refused command."""
    status, errors = result
    assert status == 2, errors
    assert errors.startswith("error: ") and "\nerror: " not in errors and "Traceback" not in errors
    return errors.removeprefix("error: ")


MODES = {
    "single": [],
    "grid": ["-m", "sweep.dry_run=true"],
    "search": ["-m", "hydra/sweeper=crackdet_optuna", "optimizer=adam,sgd", "sweep.dry_run=true"],
    "basic": ["-m", "hydra/sweeper=basic"],
    "optuna": ["-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=1"],
}


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(overrides=st.lists(OVERRIDES, min_size=1, max_size=2))
def test_any_command_runs_or_is_refused_with_one_message(start: Start, mode: str, overrides: list[str]) -> None:
    status, errors = start(*MODES[mode], *overrides)
    if mode in ("basic", "optuna"):  # Hydra's own sweepers name the job before the error
        errors = errors[max(0, errors.find("error: ")) :]
    assert status == 0 or errors.startswith("error: "), errors
    assert "Traceback" not in errors
    assert len(errors) < 5000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-m", "seed=range(1,1e9)"], "seed=range(1,1e9): has 999,999,999 values"),
        (["-m", "hydra/sweeper=basic", "seed=range(1,1e9)"], "seed=range(1,1e9): has 999,999,999 values"),
        (
            ["-m", "hydra/sweeper=basic", "seed=range(0,999)", "model.linear_features=range(1,999)"],
            "the sweep has 997,",
        ),
        (["-m", "hydra/sweeper=optuna", "seed=shuffle(range(1,1e9))"], "seed=shuffle(range(1,1e9)): has 999,999,999"),
        (["-m", "hydra/sweeper=crackdet_optuna", "seed=range(1,1e9)"], "seed=range(1,1e9): has 999,999,999 values"),
        (["-m", "hydra/sweeper=optuna", "seed=range(8,64,0)"], "seed=range(8,64,0): the step of a range must not be 0"),
        (["-m", "hydra/sweeper=optuna", "optimizer.learning_rate=interval(1,inf)"], "optimizer.learning_rate=interval"),
        (["-m", "hydra/sweeper=optuna", "+hydra.sweeper.search_space.x=5"], "hydra.sweeper.search_space: "),
        (["-m", "hydra.sweeper=null"], "hydra.sweeper=null: Hydra sweeper is not configured"),
        (["-m", "hydra.sweeper._target_=foo"], "hydra.sweeper._target_=foo: Unknown plugin class"),
        (
            ["-m", "hydra/sweeper=crackdet_optuna", "hydra.sweeper.sampler=5"],
            "hydra.sweeper.sampler=5: must be chosen by name",
        ),
        (
            ["-m", "hydra/sweeper=crackdet_optuna", "hydra.sweeper.pruner=5"],
            "hydra.sweeper.pruner=5: must be chosen by name",
        ),
        (["-m", "hydra/sweeper=crackdet_optuna", "model=interval(0,1)"], "model=interval(0,1): must be options"),
        (["~sweep"], "~sweep: every run needs an option of this group: default"),
        (["hydra.job_logging={version:2}"], "hydra.job_logging={version:2}: Unsupported version: 2"),
        (["seed=${oc.env:NO_SUCH_VARIABLE}"], "seed: KeyError raised while resolving interpolation"),
        (["--config-dir=nowhere"], "Additional config directory"),
        (["--config-name=nope"], "Cannot find primary config 'nope'"),
        (["--resolve"], "The --resolve flag can only be used"),
        (["--experimental-rerun=nowhere"], "nowhere/.hydra/hydra.yaml"),
        (["experiment=nope"], "experiment=nope: no such option; choose from article, linear_width, screen"),
    ],
)
def test_a_command_is_refused_with_the_key(start: Start, arguments: list[str], message: str) -> None:
    assert message in assert_refused(start(*arguments))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"# @package _global_\ntrainer:\n\tmax_epochs: 1\n",
            "mine.yaml, line 3: found character that cannot start any token; YAML is indented with",
        ),
        (b"# @package _global_\nseed: 1\nseed: 2\n", "mine.yaml, line 3: found duplicate key seed"),
        (b"# @package _global_\n# Br\xfccke\nseed: 1\n", "mine.yaml, line 2: is not in UTF-8 (byte 0xfc)"),
        (b"# @package _global_\nseed: [1\n", "mine.yaml, line 3: "),
        (b"# @package _global_\nseed: !!python/object:os.system {}\n", "mine.yaml, line 2: could not determine"),
        (b"# @package _global_\nseed: &a [*a]\n", "mine.yaml, line 2: "),
        (b"# @package _global_\n? [a]\n: 1\n", "mine.yaml, line 2: "),
        (b"# @package _global_\nseed: " + b"9" * 4400, "mine.yaml: Exceeds the limit"),
        (b"# @package _global_ # mine\nseed: 1\n", "mine.yaml: Too many components"),
        (b"- 1\n- 2\n", "mine.yaml: must contain settings as KEY: VALUE, not list"),
        (b"seed: 1\n", "mine.yaml: the first line must be '# @package _global_'"),
        (b"\xef\xbb\xbf# @package _global_\nseed: 1\n", "mine.yaml: the first line must be '# @package _global_'"),
        (b"# @package _global_\nseed: x\n", "mine.yaml, line 2: seed: must be an integer >= 0"),
        (
            b"# @package _global_\ntrainer:\n  epochs: 3\n",
            "mine.yaml, line 3: trainer.epochs: unknown key; did you mean ",
        ),
        (b"# @package _global_\ntrainer: 5\n", "mine.yaml: Merge error: int is not a subclass of Trainer"),
        (b"# @package _global_\ndefaults: 5\n", "Invalid defaults list in 'experiment/mine'"),
        (b"# @package _global_\ndefaults:\n- override /model: x\n", "model=x: no such option; choose from "),
        (b"\x00\x01", "mine.yaml"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_the_line(
    start: Start, tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "mine.yaml").write_bytes(content)
    assert message in assert_refused(start("--config-dir=mine", "experiment=mine"))


def test_a_broken_option_of_a_group_is_named_with_the_line_in_a_sweep(start: Start, tmp_path: Path) -> None:
    (tmp_path / "mine" / "optimizer").mkdir(parents=True)
    text = (CONF / "optimizer" / "adam.yaml").read_text().replace("weight_decay: 0.0", "weight_decay: [1]")
    (tmp_path / "mine" / "optimizer" / "mine.yaml").write_text(text)
    line = text[: text.index("weight_decay")].count("\n") + 1
    message = assert_refused(start("--config-dir=mine", "-m", "optimizer=adam,mine", "sweep.dry_run=true"))
    assert f"optimizer/mine.yaml, line {line}: optimizer.weight_decay: must be a number >= 0" in message


def test_a_program_of_hydra_can_start_a_command_and_keeps_its_hydra(start: Start) -> None:
    with hydra.initialize_config_dir(str(CONF), job_name="outer"):
        outer = GlobalHydra.instance().hydra
        assert start("seed=3")[0] == 0
        assert_refused(start("seed=x"))
        assert GlobalHydra.instance().hydra is outer
