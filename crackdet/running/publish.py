"""Publish a trained run: weights, history and predictions of the best epoch, and `result.json` last."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from crackdet.core.bitmask import encode
from crackdet.core.files import atomic_write, write_csv, write_json
from crackdet.data.dataset import Dataset
from crackdet.data.records import ImageRecord, image_digest
from crackdet.metrics.torch_metrics import compute_score_metrics
from crackdet.models.costs import detector_flops, feature_parameters, initial_license
from crackdet.models.factory import feature_flops
from crackdet.running.job import Job
from crackdet.running.resume import keep_state
from crackdet.store.config_file import write_config
from crackdet.store.run import Run
from crackdet.training.networks import Network
from crackdet.training.resume_state import TrainingState


def publish(
    job: Job, state: TrainingState, network: Network, datasets: Mapping[str, Dataset],
    extra: Mapping[str, str | float | None],
) -> dict[str, Any]:  # fmt: skip
    """Write the files of a finished run, and return the content of `result.json`.

    Args:
        state: The state of the job after training.
        network: What was trained.
        datasets: The splits `train` and `valid`.
        extra: More fields of the result.
    """
    progress, best = state.progress, state.progress.best
    records, labels = datasets["valid"].records, torch.from_numpy(datasets["valid"].labels)
    write_settings(job)  # again: an unfinished run's files may have been deleted
    weights = network.weights(best.weights)
    _write_weights(job.run, best.epoch, weights)
    write_csv(job.run.history_file, progress.history)
    write_csv(job.run.predictions_file, _prediction_rows(records, best.logits.tolist()))
    result = {
        "schema": 2,
        "identity": job.identity.digest,
        **best.metrics,
        **compute_score_metrics(best.logits, labels),
        "epoch": best.epoch,
        "epochs": len(progress.history),
        "stopped_early": progress.stopped_early(job.config.trainer),
        "parameters": network.num_parameters,
        "feature_dimension": network.feature_dimension,
        "weights_mib": float(f"{sum(tensor.nbytes for tensor in weights.values()) / 2**20:.4g}"),
        "feature_parameters": feature_parameters(job.config),
        "feature_flops": feature_flops(job.config),
        "detector_flops": detector_flops(job.config),
        "license": initial_license(job.config.model, job.identity.content["model"].get("weights")),
        "seconds": round(progress.seconds, 3),
        "images_per_second": sorted(row["images_per_second"] for row in progress.history)[len(progress.history) // 2],
        "train_images": len(datasets["train"]),
        "valid_images": len(records),
        "valid_digest": image_digest(records),
        "right": encode(((best.logits > 0) == labels).numpy()),
        **extra,
        "settings": job.settings,
    }
    keep_state(job, state)
    job.run.publish(result)
    return result


def write_settings(job: Job) -> None:
    """Write the configuration and the identity of a run."""
    write_config(job.run, job.config)
    write_json(job.run.identity_file, json.loads(job.identity.canonical))


def _write_weights(run: Run, epoch: int, weights: dict[str, Tensor]) -> None:
    with atomic_write(run.weights_file, sum(tensor.nbytes for tensor in weights.values())) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode
        save_file(weights, temporary, metadata={"crackdet": json.dumps({"run": run.id, "epoch": epoch})})
        temporary.chmod(mode)  # save_file makes the file private, but a store may be shared


def _prediction_rows(records: Sequence[ImageRecord], logits: Sequence[float]) -> list[dict[str, Any]]:
    """Return the rows of `predictions.csv`; there is a column `group` if an image has a group."""
    grouped = any(record.group for record in records)
    return [
        {
            "image": record.name,
            "digest": record.digest,
            **({"group": record.group} if grouped else {}),
            "crack": int(record.crack),
            "logit": logit,
        }
        for record, logit in zip(records, logits, strict=True)
    ]
