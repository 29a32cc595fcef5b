"""Before a run is claimed: check its configuration and the machine, and load its data."""

from importlib.util import find_spec

from crackdet.config.schema import Config
from crackdet.core.errors import UserError
from crackdet.core.files import expand_home
from crackdet.data.dataset import ImageDataset, load_splits
from crackdet.models.factory import validate_initial_weights
from crackdet.running.job import Job
from crackdet.store.run_store import RunStore
from crackdet.tracking.trackers import check_trackers
from crackdet.training.device import choose_device, resolve_precision
from crackdet.training.optimizers import check_optimizer
from crackdet.training.resources import check_resources, estimate_resources


def validate(config: Config) -> None:
    """Check the store, the device, the network with its weights, the optimizer, the trackers, and a probe's packages.

    Raises:
        UserError: If one of them cannot be used.
    """
    if config.trainer.probe and find_spec("sklearn") is None:
        raise UserError("trainer.probe=true: needs scikit-learn; run uv pip install -e '.[screen]'")
    RunStore(expand_home(config.runtime.store)).check_writable()
    choose_device(config.runtime)
    validate_initial_weights(config)
    check_optimizer(config.optimizer)
    check_trackers(config.tracker)


def load_data(job: Job) -> dict[str, ImageDataset]:
    """Validate the configuration, and return the decoded images of each split.

    Raises:
        UserError: As `validate`, or if the data cannot be used, or has changed since the job was made.
    """
    config = job.config
    validate(config)
    splits = load_splits(config.data, config.runtime, str(job.identity.content["fingerprint"]))
    if config.data.test_fraction and not splits["test"]:
        raise UserError(
            f"data.test_fraction={config.data.test_fraction}: no test split can be drawn, because the data already "
            "has splits or has too few images; set data.test_fraction=0, or add a folder `test`"
        )
    return splits


def check_capacity(job: Job) -> None:
    """Check that the run fits into memory and on disk.

    Raises:
        RunFailed: If the memory is too small.
        WriteFailed: If the disk is too small.
    """
    device = choose_device(job.config.runtime)
    check_resources(estimate_resources(job.config, resolve_precision(job.config, device)), device, job.run)
