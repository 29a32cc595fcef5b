"""Fixtures for all tests: composed configurations of tiny runs, and folders of synthetic images."""

import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from crackdet.config.schema import Config
from crackdet.data import synthetic
from tests.composing import compose

# A shell starts background jobs with SIGINT ignored, and the processes that the tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

TINY = (
    "model.conv_out=[4,8]",
    "model.linear_features=16",
    "data.num_images=48",
    "data.image_size=32",
    "trainer.batch_size=8",
    "trainer.max_epochs=2",
    "optimizer.learning_rate=1e-3",
)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache of decoded images for all tests."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def base_overrides(tmp_path: Path, cache: Path) -> list[str]:
    """Overrides that keep a run's files in the test's folder and write no reports."""
    return [f"runtime.store={tmp_path / 'runs'}", f"runtime.cache={cache}", "runtime.device=cpu", "sweep.report=false"]


@pytest.fixture
def tiny(base_overrides: list[str]) -> Callable[..., Config]:
    """A function that returns the configuration of a run that takes a second, with additional overrides."""

    def configure(*overrides: str) -> Config:
        return compose([*TINY, *base_overrides, *overrides])

    return configure


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """A folder of sixteen synthetic images in `Positive` and `Negative`."""
    root = tmp_path / "photographs"
    for crack, name in ((True, "Positive"), (False, "Negative")):
        (root / name).mkdir(parents=True)
        indices = [index for index in range(64) if synthetic.label(index, seed=1, crack_fraction=0.5) is crack]
        for index in indices[:8]:
            sample = synthetic.render(
                index, seed=1, image_size=40, crack_fraction=0.5, hard_negatives=0.5, difficulty=0.5
            )
            Image.fromarray(sample.image).save(root / name / f"{index:03d}.png")
    return root


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many tests were skipped for lack of a browser, a GPU, root, a cluster, ..."""
    reasons = (str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", []))
    counts = Counter(reason.removeprefix("Skipped: ").partition(":")[0] for reason in reasons)
    for reason, number in sorted(counts.items()):
        terminalreporter.write_line(f"skipped {number}: {reason}")
