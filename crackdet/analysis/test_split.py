"""The winner on the test split: evaluated once, when it is asked for, and kept.

Nothing is chosen by the test split, so that its accuracy is free of the luck that choosing brings in; it would not be
for long if other runs were tried on it too.
"""

from dataclasses import asdict, dataclass

from crackdet.core.errors import UserError
from crackdet.core.files import read_checksummed_json, write_checksummed_json
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
    digest: str  # of the weights that were tested
    photographs: str | None = None  # which they were; None where that is not known

    @property
    def interval(self) -> Interval:
        low, high = statistics.proportion_interval(self.accuracy, self.images)
        return Interval(float(low), float(high))


def read_test_result(run: Run) -> TestResult | None:
    """What was found before; None where the run was never tested, or has been trained anew since."""
    content = read_checksummed_json(run.directory / FILE)
    if not content or content.get("digest") != _digest(run):
        return None
    return TestResult(
        float(content["accuracy"]), int(content["images"]), str(content["digest"]), content.get("photographs")
    )


def write_test_result(run: Run, accuracy: float, images: int, photographs: str | None) -> TestResult:
    """Keeps what an evaluation of the published weights found.

    Raises:
        UserError: where the run is not finished.
    """
    found = TestResult(accuracy, images, _digest(run), photographs)
    with run.claim():
        write_checksummed_json(run.directory / FILE, asdict(found))
    return found


def _digest(run: Run) -> str:
    digest = weights_digest(run)
    if digest is None:
        raise UserError(f"{run.id}: is {run.status()}, not finished")
    return digest
