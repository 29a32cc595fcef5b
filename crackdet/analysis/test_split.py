"""The best run on the test split: evaluated on request, and kept in the run's directory.

No run is chosen by its accuracy on the test split, so that accuracy has no selection bias.
"""

from dataclasses import asdict, dataclass
from typing import Any

from crackdet.core.errors import UserError
from crackdet.core.files import write_checksummed_json
from crackdet.core.reading import read_checksummed_json
from crackdet.metrics import statistics
from crackdet.metrics.statistics import Interval
from crackdet.store.integrity import weights_digest
from crackdet.store.run import Run

FILE = "test.json"  # in the run's directory


@dataclass(frozen=True)
class TestResult:
    """The accuracy of a run on the test split."""

    accuracy: float
    images: int
    digest: str  # of the tested weights
    photographs: str | None = None  # digest of the test images; None if unknown

    @property
    def interval(self) -> Interval:
        low, high = statistics.proportion_interval(self.accuracy, self.images)
        return Interval(float(low), float(high))


def read_test_result(run: Run) -> TestResult | None:
    """Return the kept result; None if there is none for the run's present weights."""
    content = read_checksummed_json(run.directory / FILE)
    if not content or content.get("digest") != _weights_digest(run):
        return None
    accuracy: Any = content.get("accuracy")
    images: Any = content.get("images")
    photographs: Any = content.get("photographs")
    is_valid = type(accuracy) in (int, float) and 0 <= accuracy <= 1 and type(images) is int and images > 0
    if not is_valid or not isinstance(photographs, str | None):
        return None
    return TestResult(accuracy, images, content["digest"], photographs)


def write_test_result(run: Run, accuracy: float, images: int, photographs: str | None) -> TestResult:
    """Keep the result of an evaluation of the published weights.

    Raises:
        UserError: If the run is not finished.
    """
    found = TestResult(accuracy, images, _weights_digest(run), photographs)
    with run.claim():
        write_checksummed_json(run.directory / FILE, asdict(found))
    return found


def _weights_digest(run: Run) -> str:
    digest = weights_digest(run)
    if digest is None:
        raise UserError(f"{run.id}: cannot be tested, because its status is {run.status()}, not finished")
    return digest
