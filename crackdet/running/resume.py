"""Start a run or resume it: from its own state, or from that of the same run with fewer epochs."""

import errno
import json
import logging
from pathlib import Path

import torch

from crackdet.config.schema import Config
from crackdet.core.errors import WriteFailed
from crackdet.core.files import check_folder, write_csv
from crackdet.models.classifier import Classifier
from crackdet.models.factory import build, build_head
from crackdet.running.job import Job
from crackdet.store.identity import Identity
from crackdet.store.integrity import read_result
from crackdet.store.run_store import RunStore
from crackdet.training.averaging import WeightAverage
from crackdet.training.device import should_compile
from crackdet.training.optimizers import build_optimizer, build_scheduler, depends_on_max_epochs
from crackdet.training.resume_state import Progress, TrainingState
from crackdet.training.unfreezing import GradualUnfreezing

log = logging.getLogger(__name__)

DEVICE_ERRORS = (torch.OutOfMemoryError, getattr(torch, "AcceleratorError", torch.OutOfMemoryError))


def start_or_resume(job: Job, device: torch.device, dimension: int | None = None) -> TrainingState:
    """Return the saved state of a run, or the initial state if there is none.

    Args:
        job: The job of the run.
        device: Where it trains.
        dimension: Of frozen features, on which only a head is trained; None: the whole network.

    Raises:
        OSError, MemoryError, RuntimeError: If the state cannot be read now, though the file may be intact.
    """
    state = _initial_state(job.config, device, dimension)
    source = job.run.state_file if job.run.state_file.is_file() else _shorter_run_state(job)
    if source is None:
        return state
    try:
        state.load(source, source.parent.name)
    except FileNotFoundError:  # deleted a moment ago
        return state
    except (*DEVICE_ERRORS, MemoryError):  # the file may be intact, and hold hours of training
        raise
    except Exception as error:  # a corrupt file may raise anything, EINVAL included if an offset in it is damaged
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        if "can't allocate memory" in str(error):  # torch's message if main memory is exhausted
            raise
        log.warning("%s is corrupt, or of another run: training restarts from epoch 1", source)
        return _initial_state(job.config, device, dimension)
    progress = state.progress
    log.info("resuming from %s: epoch %d, batch %d", source.parent.name, progress.epoch, progress.batch + 1)
    if progress.history:
        write_csv(job.run.history_file, progress.history)  # removes epochs after the state was saved
    return state


def keep_state(job: Job, state: TrainingState) -> None:
    """Save the final state, unless it is too large or useless, so that the run can be trained for more epochs."""
    check_folder(job.run.directory)  # before a file is deleted, which could be another run's
    mib, max_mib = state.size() / 2**20, job.config.runtime.keep_resume_mib
    if job.config.trainer.probe or depends_on_max_epochs(job.config):
        job.run.state_file.unlink(missing_ok=True)
    elif mib > max_mib:
        job.run.state_file.unlink(missing_ok=True)
        log.info(
            "resume state discarded (%d MiB is more than runtime.keep_resume_mib=%g): raising trainer.max_epochs will "
            "retrain from epoch 1", mib, max_mib,
        )  # fmt: skip
    else:
        try:
            state.save(job.run.state_file, job.run.id)
        except WriteFailed as error:
            log.warning("resume state discarded, raising trainer.max_epochs will retrain from epoch 1: %s", error)


def _initial_state(config: Config, device: torch.device, dimension: int | None) -> TrainingState:
    model = build(config) if dimension is None else build_head(config, dimension)
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    trainer = config.trainer
    average = None if trainer.ema_decay is None else WeightAverage(model, trainer.ema_decay)
    unfreezing = None
    if trainer.unfreeze_epochs is not None and isinstance(model, Classifier):
        unfreezing = GradualUnfreezing(model, trainer.unfreeze_epochs)
    if dimension is None and should_compile(config, device):
        torch.compiler.reset()  # torch counts the networks of earlier runs, and stops compiling after a few
        torch.use_deterministic_algorithms(True, warn_only=True)  # the compiler heeds this setting, too
        model.compile()
    optimizer = build_optimizer(config.optimizer, model)
    return TrainingState(model, optimizer, build_scheduler(config, optimizer), Progress(), average, unfreezing)


def _shorter_run_state(job: Job) -> Path | None:
    """Return the state of the longest finished run that differs only by a smaller `trainer.max_epochs`."""
    if job.config.trainer.probe or depends_on_max_epochs(job.config) or job.config.runtime.retrain:
        return None
    store = RunStore(job.run.root)
    content = json.loads(job.identity.canonical)
    for max_epochs in range(job.config.trainer.max_epochs - 1, 0, -1):
        content["trainer"]["max_epochs"] = max_epochs
        shorter = store.run(Identity(content).run_id)
        if shorter.state_file.is_file() and read_result(shorter) is not None:
            return shorter.state_file
    return None
