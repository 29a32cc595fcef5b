"""Train one claimed run: start or resume, train, publish."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from crackdet.core.errors import Pruned
from crackdet.core.files import write_csv, write_json
from crackdet.core.machine import cpu_name
from crackdet.core.signals import catch_signals
from crackdet.data.batches import cache_on_gpu
from crackdet.data.counts import few_observations_warning
from crackdet.data.dataset import Dataset, ImageDataset, warn_once
from crackdet.data.feature_cache import FeatureArray
from crackdet.models.torch_internals import is_compiled
from crackdet.running.job import Job, PruneCheck
from crackdet.running.publish import publish, write_settings
from crackdet.running.resume import start_or_resume
from crackdet.store import provenance
from crackdet.store.failures import AttemptPoint, forget_attempts, record_progress
from crackdet.tracking.trackers import EpochHistory
from crackdet.training.cuda_graphs import use_cuda_graphs
from crackdet.training.device import (
    choose_device,
    gpu_name,
    make_deterministic,
    preserve_num_threads,
    resolve_precision,
)
from crackdet.training.frozen import FrozenExtractor
from crackdet.training.loop import TrainContext, train
from crackdet.training.memory import PeakMemory, trim_malloc, tune_malloc
from crackdet.training.networks import FrozenNetwork, Network, WholeNetwork
from crackdet.training.resources import check_resources, estimate_resources
from crackdet.training.resume_state import Checkpointer, Progress, TrainingState


def train_run(
    job: Job,
    datasets: dict[str, ImageDataset],
    *,
    repair_note: str | None = None,
    prune_check: PruneCheck | None = None,
    on_history: Callable[[EpochHistory], None] | None = None,
) -> dict[str, Any]:
    """Train a claimed run to its end, publish it, and return the content of its `result.json`.

    Args:
        job: This process holds the claim on its run.
        datasets: The splits `train` and `valid`.
        repair_note: How an earlier result was corrupt; recorded in the new one.
        prune_check: Called after each epoch but the last; a reason that it returns stops the run.
        on_history: Called with the history of a resumed run, and after each epoch.

    Raises:
        UserError: If weights cannot be loaded.
        RunFailed: If training cannot continue.
        WriteFailed: If the disk is full.
        FolderGone: If the run directory or the store was moved, removed or replaced.
        Pruned: If `prune_check` returns a reason; the state is saved.
        Interrupted: If the process was asked to stop; the state is saved, and the next call resumes.
    """
    run, config = job.run, job.config
    if few := few_observations_warning({name: dataset.records for name, dataset in datasets.items()}):
        warn_once(few)
    with catch_signals() as request, preserve_num_threads(), AttemptPoint(run) as point:
        device = choose_device(config.runtime)
        make_deterministic()
        if device.type == "cpu":
            trim_malloc()
            tune_malloc()
        memory = PeakMemory(device)
        precision = resolve_precision(config, device)
        resources = estimate_resources(config, precision)
        check_resources(resources, device, run)
        _write_inputs(job, device)
        inputs: Mapping[str, Dataset] = datasets
        if config.model.freeze_features:
            extractor = FrozenExtractor(config, job.identity.content["model"], device, precision)
            inputs = extractor.datasets(datasets, point.set)
        cache_on_gpu(inputs["train"], device)
        features = inputs["valid"].cached
        if isinstance(features, FeatureArray):
            state = start_or_resume(job, device, features.dimension)
            network: Network = FrozenNetwork(state.model, extractor, features.costs, precision)
        else:
            state = start_or_resume(job, device)
            network = WholeNetwork(state.model, precision)
        if on_history is not None and state.progress.history:
            on_history(state.progress.history)

        def save() -> None:
            if request.signum is not None:
                forget_attempts(run)  # first: the process may be killed if saving takes long
            state.save(run.state_file, run.id)
            record_progress(run)

        def on_epoch(progress: Progress) -> None:
            write_csv(run.history_file, progress.history)
            if on_history is not None:
                on_history(progress.history)
            network.sample_costs(progress.seconds, progress.history[-1]["images_per_second"])
            is_last = progress.epoch > config.trainer.max_epochs or progress.stopped_early(config.trainer)
            if prune_check is not None and not is_last and (reason := prune_check(progress.history)):
                save()
                request.raise_if_asked()  # a request to stop takes precedence over pruning
                raise Pruned(reason)

        checkpointer = Checkpointer(save, config.runtime.checkpoint_minutes, request)
        graphs = use_cuda_graphs(config, device, resources)
        context = TrainContext(
            state, config, inputs["train"], inputs["valid"], precision, graphs, checkpointer, on_epoch,
            on_batch=point.set,
        )  # fmt: skip
        measures: dict[str, float] = {}
        if config.trainer.probe:
            from crackdet.training.probe_run import fit_probe  # needs scikit-learn

            measures = fit_probe(context)
        else:
            train(context)
        extra: dict[str, str | float | None] = {
            **measures,
            **_measure_costs(job, state, network, memory),
            "device": device.type,
            "gpu": gpu_name(device),
            "processor": cpu_name(),
            "number_format": precision,
            "compiled": is_compiled(state.model),
            "repaired": repair_note,
        }
        result = publish(job, state, network, inputs, extra)
        request.raise_if_asked()  # a signal during publishing: the run is finished, but the sweep has to stop
        return result


def _write_inputs(job: Job, device: torch.device) -> None:
    run = job.run
    write_settings(job)
    now = provenance.collect(str(device), gpu_name(device), torch.get_num_threads(), job.overrides)
    before = run.snapshot().provenance if run.state_file.exists() else {}
    write_json(run.provenance_file, provenance.add_earlier(before, now) if before else now)


def _measure_costs(job: Job, state: TrainingState, network: Network, memory: PeakMemory) -> dict[str, float | None]:
    """Measure latency and throughput, and the peak memory of training."""
    peak = memory.mib()  # before the measurements below add to it
    latency = network.costs(job.config.trainer.batch_size, state.progress.seconds)
    costs = {**latency, "peak_memory_mib": peak}
    return {name: value if value is None else float(f"{value:.4g}") for name, value in costs.items()}
