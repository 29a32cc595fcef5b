"""One run from claim to publication: prepare, resume or begin, train, write the result last."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file

from crackdet.config.schema import Config, to_dict
from crackdet.core.bitmask import pack
from crackdet.core.errors import Pruned, UserError, WriteFailed
from crackdet.core.files import atomic_write, write_csv, write_json, write_text
from crackdet.core.signals import catch_signals
from crackdet.data.batches import cache_on_gpu
from crackdet.data.dataset import ImageDataset, load_splits
from crackdet.data.records import ImageRecord, image_digest
from crackdet.metrics.torch_metrics import measure_scores
from crackdet.models.classifier import Classifier
from crackdet.models.factory import build, check_weights, feature_flops
from crackdet.models.torch_internals import is_compiled
from crackdet.store import provenance
from crackdet.store.failures import record_progress
from crackdet.store.identity import NON_IDENTITY, Identity
from crackdet.store.integrity import read_result
from crackdet.store.run import Run
from crackdet.store.run_store import RunStore
from crackdet.tracking.trackers import check_trackers
from crackdet.training.cuda_graphs import use_cuda_graphs
from crackdet.training.device import (
    choose_device,
    compiles,
    gpu_name,
    make_deterministic,
    precision_of,
    preserve_num_threads,
)
from crackdet.training.latency import measure_latency
from crackdet.training.loop import TrainContext, train
from crackdet.training.memory import PeakMemory, trim_malloc, tune_malloc
from crackdet.training.optimizers import build_optimizer, build_scheduler, depends_on_max_epochs
from crackdet.training.resources import check_resources, estimate
from crackdet.training.state import Checkpointer, Progress, TrainingState

log = logging.getLogger(__name__)

RESULT_SCHEMA = 2
DEVICE_ERRORS = (torch.OutOfMemoryError, getattr(torch, "AcceleratorError", torch.OutOfMemoryError))


def validate(config: Config) -> None:
    """Looks at everything but the images that can be wrong before training.

    Raises:
        UserError: for a store, a device, a network, weights or trackers that cannot be used.
    """
    RunStore(Path(config.runtime.store).expanduser()).check_writable()
    choose_device(config.runtime)
    check_weights(config)
    check_trackers(config.tracker)


def load_data(config: Config, identity: Identity) -> dict[str, ImageDataset]:
    """The images, decoded, of a configuration that can be used.

    Raises:
        UserError: as `validate`, or for data that cannot be used, or is no longer what the identity says.
    """
    validate(config)
    splits = load_splits(config.data, config.runtime, str(identity.content["fingerprint"]))
    if config.data.test_fraction and not splits["test"]:
        raise UserError(
            f"data.test_fraction={config.data.test_fraction}: draws no test split, since the photographs are in splits "
            "of their own or too few; leave it out, or give test photographs in a folder test"
        )
    return splits


def check_room(run: Run, config: Config) -> None:
    """Whether a run can go well, before anything of it is touched.

    Raises:
        RunFailed: where the memory is too small.
        WriteFailed: where the disk has no room.
    """
    device = choose_device(config.runtime)
    check_resources(estimate(config, precision_of(config, device)), device, run)


def train_run(
    run: Run,
    config: Config,
    identity: Identity,
    sets: dict[str, ImageDataset],
    overrides: list[str],
    repaired: str | None = None,
    judge: Callable[[Sequence[Mapping[str, Any]]], str | None] | None = None,
    tell: Callable[[Sequence[Mapping[str, Any]]], None] | None = None,
) -> dict[str, Any]:
    """Trains a claimed run to its end and publishes it; gives the content of its `result.json`.

    `repaired` is what was damaged of an earlier result, to be told with the new one. `judge` is asked after each
    epoch but the last, with the history so far, for a reason not to go on. `tell` is told the history whenever it
    has grown, and where the run goes on from.

    Raises:
        UserError: for weights that cannot be had.
        RunFailed: where training cannot go on.
        WriteFailed: where the store has no room.
        Pruned: where `judge` gave a reason, which is the message; the state is saved as below.
        Interrupted: where the process was asked to stop; the state is saved and the next call goes on from it.
    """
    with catch_signals() as request, preserve_num_threads():
        device = choose_device(config.runtime)
        make_deterministic()
        if device.type == "cpu":
            trim_malloc()
            tune_malloc()
        cache_on_gpu(sets["train"], device)
        memory = PeakMemory(device)
        precision = precision_of(config, device)
        needs = estimate(config, precision)
        check_resources(needs, device, run)
        _write_beginning(run, config, identity, device, overrides)
        state = _begin(config, device)
        _resume(state, run, config, identity)
        if tell is not None and state.progress.history:
            tell(state.progress.history)

        def save() -> None:
            state.save(run.state_file, run.id)
            record_progress(run)

        def on_epoch(progress: Progress) -> None:
            write_csv(run.history_file, progress.history)
            if tell is not None:
                tell(progress.history)
            ended = progress.epoch > config.trainer.max_epochs or progress.stopped_early(config.trainer)
            if judge is not None and not ended and (reason := judge(progress.history)):
                save()
                request.raise_if_asked()  # to stop, which is more than to prune
                raise Pruned(reason)

        checkpointer = Checkpointer(save, config.runtime.checkpoint_minutes, request)
        graphs = use_cuda_graphs(config, device, needs)
        train(TrainContext(state, config, sets["train"], sets["valid"], precision, graphs, checkpointer, on_epoch))
        remarks: dict[str, str | float | None] = {
            **_costs(config, state, precision, memory),
            "device": device.type,
            "gpu": gpu_name(device),
            "number_format": precision,
            "compiled": is_compiled(state.model),
            "repaired": repaired,
        }
        result = _publish(run, config, identity, state, sets, remarks)
        request.raise_if_asked()  # while it was published: the run is finished, the sweep is not
        return result


def _begin(config: Config, device: torch.device) -> TrainingState:
    model = build(config).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if compiles(config, device):
        torch.compiler.reset()  # else the networks of earlier runs count, and after a few torch compiles no more
        torch.use_deterministic_algorithms(True, warn_only=True)  # tells the compiler too
        model.compile()
    optimizer = build_optimizer(config.optimizer, model.parameters())
    return TrainingState(model, optimizer, build_scheduler(config, optimizer), Progress())


def _write_beginning(run: Run, config: Config, identity: Identity, device: torch.device, overrides: list[str]) -> None:
    write_text(run.config_file, yaml.safe_dump(to_dict(config), sort_keys=False))
    write_json(run.identity_file, json.loads(identity.canonical))
    now = provenance.describe(str(device), gpu_name(device), torch.get_num_threads(), overrides)
    before = run.snapshot().provenance if run.state_file.exists() else {}
    write_json(run.provenance_file, provenance.after(before, now) if before else now)


def _resume(state: TrainingState, run: Run, config: Config, identity: Identity) -> None:
    """Goes on from the run's own state, or from that of the same run with fewer epochs."""
    source = run.state_file if run.state_file.exists() else _shorter_state(run, config, identity)
    if source is None:
        return
    try:
        state.load(source, source.parent.name)
    except FileNotFoundError:  # removed a moment ago
        return
    except (*DEVICE_ERRORS, OSError, MemoryError):  # nothing is wrong with the file, which is worth hours
        raise
    except Exception as error:  # whatever a damaged file provokes: it is not worth more than the time it saved
        if "can't allocate memory" in str(error):  # which torch says of main memory
            raise
        log.warning("%s is damaged, or of another run: training begins anew", source)
        fresh = _begin(config, next(state.model.parameters()).device)
        state.model, state.optimizer, state.scheduler = fresh.model, fresh.optimizer, fresh.scheduler
        state.progress = fresh.progress
        return
    progress = state.progress
    log.info("going on from %s: epoch %d, batch %d", source.parent.name, progress.epoch, progress.batch + 1)
    if progress.history:
        write_csv(run.history_file, progress.history)  # cut back to the state


def _shorter_state(run: Run, config: Config, identity: Identity) -> Path | None:
    """The last state of the longest finished run that differs by a smaller `trainer.max_epochs` only."""
    if depends_on_max_epochs(config) or config.runtime.retrain:
        return None
    store = RunStore(run.root)
    content = json.loads(identity.canonical)
    for max_epochs in range(config.trainer.max_epochs - 1, 0, -1):
        content["trainer"]["max_epochs"] = max_epochs
        shorter = store.run(Identity(content).run_id)
        if shorter.state_file.exists() and read_result(shorter) is not None:
            return shorter.state_file
    return None


def _costs(config: Config, state: TrainingState, precision: str, memory: PeakMemory) -> dict[str, float | None]:
    """What using the network costs, and what training it took of memory."""
    peak, model = memory.mib(), state.model
    assert isinstance(model, Classifier)
    times = asdict(measure_latency(model, config.trainer.batch_size, precision, state.progress.seconds))
    weights = sum(tensor.nbytes for tensor in state.progress.best.weights.values()) / 2**20
    costs = {**times, "peak_memory_mib": peak, "weights_mib": weights}
    return {name: value if value is None else float(f"{value:.4g}") for name, value in costs.items()}


def _publish(
    run: Run,
    config: Config,
    identity: Identity,
    state: TrainingState,
    sets: dict[str, ImageDataset],
    remarks: Mapping[str, str | float | None],
) -> dict[str, Any]:
    """Writes what the run has become, `result.json` last."""
    progress, model = state.progress, state.model
    assert isinstance(model, Classifier)
    best = progress.best
    with atomic_write(run.weights_file, sum(tensor.nbytes for tensor in best.weights.values())) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode
        save_file(best.weights, temporary, metadata={"crackdet": json.dumps({"run": run.id, "epoch": best.epoch})})
        temporary.chmod(mode)  # save_file makes it readable to its owner only, and a store may be shared
    write_csv(run.history_file, progress.history)
    valid, labels = sets["valid"].photographs, torch.from_numpy(sets["valid"].labels)
    write_csv(run.predictions_file, _predictions(valid, best.logits.tolist()))
    result = {
        "schema": RESULT_SCHEMA,
        "identity": identity.digest,
        **best.metrics,
        **asdict(measure_scores(best.logits, labels)),
        "epoch": best.epoch,
        "epochs": len(progress.history),
        "stopped_early": progress.stopped_early(config.trainer),
        "parameters": model.num_parameters,
        "feature_dimension": model.feature_dimension,
        "feature_flops": feature_flops(config),
        "seconds": round(progress.seconds, 3),
        "images_per_second": sorted(row["images_per_second"] for row in progress.history)[len(progress.history) // 2],
        "train_images": len(sets["train"]),
        "valid_images": len(valid),
        "valid_digest": image_digest(valid),
        "right": pack(((best.logits > 0) == labels).numpy()),
        **remarks,
        "settings": {group: value for group, value in to_dict(config).items() if group not in NON_IDENTITY},
    }
    _keep_state(run, config, state)
    run.publish(result)
    return result


def _predictions(photographs: Sequence[ImageRecord], logits: Sequence[float]) -> list[dict[str, Any]]:
    grouped = any(photograph.group for photograph in photographs)
    return [
        {
            "image": photograph.name,
            "digest": photograph.digest,
            **({"group": photograph.group} if grouped else {}),
            "crack": int(photograph.crack),
            "logit": logit,
        }
        for photograph, logit in zip(photographs, logits, strict=True)
    ]


def _keep_state(run: Run, config: Config, state: TrainingState) -> None:
    """The last state stays, unless it is too large, so that the run can be trained for more epochs."""
    size, most = state.size() / 2**20, config.runtime.keep_resume_mib
    if depends_on_max_epochs(config):
        run.state_file.unlink(missing_ok=True)
    elif size > most:
        run.state_file.unlink(missing_ok=True)
        log.info(
            "more epochs would begin anew: its state of %d MiB is not kept, being over runtime.keep_resume_mib=%g",
            size, most,
        )  # fmt: skip
    else:
        try:
            state.save(run.state_file, run.id)
        except WriteFailed as error:
            log.warning("the state is not kept for more epochs: %s", error)
