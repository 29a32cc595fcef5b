"""A run with `trainer.probe`: a logistic regression on frozen features, in place of the training loop."""

import logging
import time
import warnings
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import nn

from crackdet.core.errors import UserError
from crackdet.data.batches import mapped_tensor
from crackdet.data.dataset import FeatureDataset
from crackdet.models.classifier import Head
from crackdet.training.loop import TrainContext, evaluation_step, finish_epoch, validate
from crackdet.training.probe.linear import fit_linear_probe
from crackdet.training.probe.logme import logme
from crackdet.training.probe.nearest import knn_accuracy

log = logging.getLogger(__name__)


def fit_probe(context: TrainContext) -> dict[str, float]:
    """Fit the head of a run, which ends up in `state.progress.best` as after one epoch of training.

    With random augmentation the head is fitted to all views of the training images.

    Returns:
        Further measures of the features: `probe_c`, the chosen inverse penalty; `knn_accuracy`, of the validation
        images; `logme`, of the training images.

    Raises:
        UserError: If the features are larger than the cache.
        RunFailed: If the probe cannot be fitted to them.
    """
    train, valid = context.train_set, context.valid_set
    if not isinstance(train, FeatureDataset) or not isinstance(valid, FeatureDataset):
        raise UserError(
            "the features are too large for the cache, and a probe needs them all; set a larger runtime.cache_gib, or "
            "choose a smaller data.image_size or data.max_images"
        )
    # one thread: the result does not depend on their number, and more of them gain nothing and wait for each other
    with threadpool_limits(1, user_api="blas"):
        return _fit(context, train, valid)


def _fit(context: TrainContext, train: FeatureDataset, valid: FeatureDataset) -> dict[str, float]:
    trainer, progress = context.config.trainer, context.state.progress
    began = time.monotonic()
    num_views = len(train.views)
    views = [_features(train.in_epoch(view + 1)) for view in range(num_views)]
    weights = np.ones(len(train)) if train.weights is None else train.weights.astype(np.float64)
    if trainer.pos_weight is not None:
        weights = np.where(train.labels, trainer.pos_weight, 1.0) * weights
    groups = [record.group or record.digest for record in train.records]
    features, labels = views[0] if num_views == 1 else np.concatenate(views), np.tile(train.labels, num_views)
    probe = fit_linear_probe(features, labels, groups * num_views, np.tile(weights, num_views), context.config.seed)
    for note in probe.notes:
        log.info("%s: %s", context.config.model.name, note)
    _set_head(context.state.model, probe.weight, probe.bias)
    logits = probe.logits(features)
    progress.loss_sum = float(np.logaddexp(0, np.where(labels, -logits, logits)).sum()) / num_views
    progress.correct = round(float(((logits > 0) == labels).sum()) / num_views)
    progress.epoch_seconds = time.monotonic() - began
    for group in context.state.optimizer.param_groups:
        group["lr"] = 0.0  # nothing is trained by it
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")  # without a step of the optimizer
        finish_epoch(context, *validate(context, partial(evaluation_step, context.state.model, context.precision)))
    context.on_epoch(progress)
    return {
        "probe_c": float(probe.regularisation),
        "knn_accuracy": knn_accuracy(views[0], train.labels, _features(valid), valid.labels),
        "logme": logme(views[0], train.labels),
    }


def _features(images: FeatureDataset) -> NDArray[np.float32]:
    """Return the features of the images, in their order."""
    rows: NDArray[np.float32] = mapped_tensor(images.cached)[torch.from_numpy(images.rows)].float().numpy()
    return rows


def _set_head(head: nn.Module, weight: NDArray[np.float32], bias: float) -> None:
    assert isinstance(head, Head)
    layer = head[0]
    assert isinstance(layer, nn.Linear)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight)[None])
        layer.bias.fill_(bias)
