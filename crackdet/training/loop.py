"""The training loop, to be read from top to bottom."""

import logging
import math
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim.lr_scheduler import ReduceLROnPlateau

from crackdet.config.schema import Config
from crackdet.core.console import ON_BAR, bar
from crackdet.core.errors import NotFinite
from crackdet.data.augmentation import augment
from crackdet.data.batches import iter_batches, make_batches, shuffled_indices, to_input
from crackdet.data.dataset import Dataset
from crackdet.data.mixing import mix_images, mix_labels, smooth_labels
from crackdet.metrics.torch_metrics import Metrics, compute_metrics
from crackdet.training.cuda_graphs import GraphedStep, capture_stream
from crackdet.training.device import autocast
from crackdet.training.draws import sample_epoch
from crackdet.training.memory import trim_malloc
from crackdet.training.optimizers import warmup_factor
from crackdet.training.param_groups import scaled_rates
from crackdet.training.resume_state import BestEpoch, Checkpointer, Progress, TrainingState

log = logging.getLogger(__name__)

StepFn = Callable[..., Sequence[Tensor]]  # training_step or evaluation_step, with or without a CUDA graph


@dataclass(frozen=True)
class TrainContext:
    """The arguments of `train`."""

    state: TrainingState
    config: Config
    train_set: Dataset
    valid_set: Dataset
    precision: str  # fp32 or bf16
    use_cuda_graphs: bool
    checkpointer: Checkpointer
    on_epoch: Callable[[Progress], None]  # called after each epoch
    on_batch: Callable[[str], None]  # called before each batch, and before validation, with where training is

    @property
    def device(self) -> torch.device:
        return next(self.state.model.parameters()).device

    @cached_property
    def steps_per_epoch(self) -> int:
        """Optimizer steps per epoch."""
        trainer, num_images = self.config.trainer, len(self.train_set)
        num_batches = len(make_batches(np.arange(num_images), trainer.batch_size))
        return math.ceil(num_batches / trainer.accumulate_grad_batches)

    def warmup(self, step: int) -> float:
        """Return the factor of the learning rates at an optimizer step of the current epoch, counted from 0."""
        steps = (self.state.progress.epoch - 1) * self.steps_per_epoch + step
        return warmup_factor(self.config.scheduler, steps, self.steps_per_epoch)


@dataclass(frozen=True)
class EpochTotals:
    """Sums over the images of an epoch so far. They stay on the device, so that adding to them does not wait for it."""

    loss: Tensor  # (), in the highest precision of the device
    correct: Tensor  # ()


def train(context: TrainContext) -> None:
    """Train from the current state to the last epoch; the best epoch ends up in `state.progress.best`.

    Raises:
        NotFinite: If the loss is no longer finite.
        Interrupted: If the process was asked to stop; the state has been saved.
    """
    state, config, device = context.state, context.config, context.device
    trainer, progress = config.trainer, state.progress
    zero = torch.zeros((), dtype=torch.float32 if device.type == "mps" else torch.float64, device=device)
    totals = EpochTotals(zero, torch.zeros_like(zero, dtype=torch.int64))
    train_step: StepFn = partial(training_step, context, totals)
    eval_step: StepFn = partial(evaluation_step, state.evaluated, context.precision)
    if context.use_cuda_graphs:
        train_step = GraphedStep(train_step, trainer.batch_size, state.optimizer)
        eval_step = GraphedStep(eval_step, trainer.batch_size)
    with (
        capture_stream(device) if context.use_cuda_graphs else nullcontext(),
        warnings.catch_warnings(),
        bar(config.model.name, trainer.max_epochs, done=progress.epoch - 1) as epochs,
    ):
        # torch counts the optimizer's steps, and a resumed epoch may have none left
        warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
        while progress.epoch <= trainer.max_epochs and not progress.stopped_early(trainer):
            train_epoch(context, train_step, totals)
            logits, metrics, seconds = validate(context, eval_step)
            finish_epoch(context, logits, metrics, seconds)
            context.on_epoch(progress)
            row = progress.history[-1]
            epochs.advance(description=f"{config.model.name} accuracy {metrics.accuracy:.4f}")
            log.info(
                "epoch %d/%d: train loss %.4f accuracy %.4f, valid loss %.4f accuracy %.4f%s, %.0f images/s",
                row["epoch"], trainer.max_epochs, row["train_loss"], row["train_accuracy"], metrics.loss,
                metrics.accuracy, " *" if progress.best.epoch == row["epoch"] else "", row["images_per_second"],
                extra=ON_BAR,
            )  # fmt: skip
            if context.checkpointer.due():
                context.checkpointer.save()


def train_epoch(context: TrainContext, train_step: StepFn, totals: EpochTotals) -> None:
    """Train on the remaining batches of the current epoch; `train_step` adds to `totals`."""
    config, state, device = context.config, context.state, context.device
    trainer, progress, checkpointer = config.trainer, state.progress, context.checkpointer
    images = context.train_set.in_epoch(progress.epoch)
    batches = make_batches(shuffled_indices(len(images), config.seed, progress.epoch), trainer.batch_size)
    draws = sample_epoch(config, images, progress.epoch, len(batches), device)
    totals.loss.fill_(progress.loss_sum)
    totals.correct.fill_(progress.correct)
    began, seconds_before = time.monotonic(), progress.epoch_seconds

    def update_progress(batches_done: int) -> None:
        progress.batch = batches_done
        progress.loss_sum, progress.correct = totals.loss.item(), int(totals.correct.item())
        progress.epoch_seconds = seconds_before + time.monotonic() - began

    state.set_training_mode()
    state.optimizer.zero_grad()
    remaining = iter_batches(images, batches[progress.batch :], device, config.runtime.num_workers)
    for number, batch in enumerate(remaining, progress.batch):
        first = number - number % trainer.accumulate_grad_batches
        step_batches = batches[first : first + trainer.accumulate_grad_batches]
        ends_step = number + 1 - first == len(step_batches)
        context.on_batch(f"epoch {progress.epoch}, batch {number + 1}")
        inputs, params = draws.inputs(batch, batches[number]), draws.of_batch(batch, number)
        with scaled_rates(state.optimizer, context.warmup(number // trainer.accumulate_grad_batches)):
            train_step(inputs, batch.labels, batch.weights, *params, sum(map(len, step_batches)), ends_step)

        is_last, is_due = number + 1 == len(batches), checkpointer.due()
        check_loss = device.type == "cpu" or is_last or is_due  # reading the loss waits for a GPU
        if check_loss and not math.isfinite(totals.loss.item()):
            raise NotFinite(
                f"the loss is {totals.loss.item()} in epoch {progress.epoch}, by batch {number + 1} of "
                f"{len(batches)}, at learning rate {state.optimizer.param_groups[0]['lr']:g}"
            )
        if progress.epoch == 1 and first == 0 and ends_step:
            trim_malloc()  # the new optimizer state has fragmented the heap
        if is_due and ends_step and not is_last:
            update_progress(number + 1)
            checkpointer.save()
    update_progress(len(batches))


def training_step(
    context: TrainContext, totals: EpochTotals, inputs: Tensor, labels: Tensor, weights: Tensor | None,
    aug_params: Tensor | None, mixing: Tensor | None, step_images: int, ends_step: bool,
) -> tuple[()]:  # fmt: skip
    """Compute the gradients of a `Batch`, and apply them if it `ends_step`; add its results to `totals`.

    `step_images` counts the images of all batches of the optimizer step; `weights` is None if all images count
    alike, `aug_params` without augmentation, and `mixing` without mixup and CutMix.
    """
    model, optimizer, trainer = context.state.model, context.state.optimizer, context.config.trainer
    images = to_input(inputs)
    if aug_params is not None:
        images = augment(images, aug_params, context.config.data.augmentation)
    if mixing is not None:
        images = mix_images(images, mixing)
        labels, weights = mix_labels(labels, weights, mixing)
    targets = labels if trainer.label_smoothing is None else smooth_labels(labels, trainer.label_smoothing)
    with autocast(context.precision, images.device):
        logits = model(images)
    pos_weight = None if trainer.pos_weight is None else torch.full((), trainer.pos_weight, device=images.device)
    loss = binary_cross_entropy_with_logits(logits.float(), targets, weights, pos_weight=pos_weight, reduction="sum")
    (loss / step_images).backward()  # type: ignore[no-untyped-call]  # the mean over all images of the step
    totals.loss.add_(loss.detach())
    totals.correct.add_(((logits > 0) == (labels > 0.5)).sum())
    if ends_step:
        if trainer.gradient_clip_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), trainer.gradient_clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        if context.state.average is not None:
            context.state.average.update()
    return ()


def evaluation_step(model: nn.Module, precision: str, inputs: Tensor) -> tuple[Tensor]:
    """Return the logits (N,) of the inputs of a `Batch`."""
    with autocast(precision, inputs.device):
        return (model(to_input(inputs)),)


def validate(context: TrainContext, eval_step: StepFn) -> tuple[Tensor, Metrics, float]:
    """Return logits and metrics of the validation images, and the seconds that they took."""
    began, trainer, images = time.monotonic(), context.config.trainer, context.valid_set
    context.on_batch(f"validation after epoch {context.state.progress.epoch}")
    logits = predict(
        context.state.evaluated, images, trainer.batch_size, context.precision, context.config.runtime.num_workers,
        context.checkpointer, eval_step,
    )  # fmt: skip
    metrics = compute_metrics(logits, torch.from_numpy(images.labels).float(), trainer.pos_weight)
    return logits, metrics, time.monotonic() - began


@torch.no_grad()
def predict(
    model: nn.Module, images: Dataset, batch_size: int, precision: str, num_workers: int | None,
    checkpointer: Checkpointer | None = None, eval_step: StepFn | None = None,
) -> Tensor:  # fmt: skip
    """Return the logits (N,) of all images in order, as float32 on the CPU.

    `eval_step` replaces `evaluation_step`; `checkpointer` saves the state if the process is asked to stop meanwhile.
    """
    device = next(model.parameters()).device
    eval_step = eval_step or partial(evaluation_step, model, precision)
    batches = make_batches(torch.arange(len(images)).numpy(), batch_size)
    model.eval()
    logits = []
    with autocast(precision, device):  # one block for all batches converts the weights once
        for batch in iter_batches(images, batches, device, num_workers):
            logits.append(eval_step(batch.inputs)[0].float())
            if checkpointer is not None and checkpointer.stop_requested:
                checkpointer.save()
    return torch.cat(logits).cpu()


def finish_epoch(context: TrainContext, logits: Tensor, metrics: Metrics, valid_seconds: float) -> None:
    """Add the epoch to the history, keep its weights if they are the best, step the scheduler, move to the next."""
    config, state, num_images = context.config, context.state, len(context.train_set)
    progress = state.progress
    values = {f"valid_{name}": value for name, value in asdict(metrics).items()}
    monitored = values[config.trainer.monitor]
    if not math.isfinite(monitored):
        raise NotFinite(f"{config.trainer.monitor} is {monitored} after epoch {progress.epoch}")
    progress.history.append(
        {
            "epoch": progress.epoch,
            "train_loss": progress.loss_sum / num_images,
            "train_accuracy": progress.correct / num_images,
            **values,
            "learning_rate": state.optimizer.param_groups[0]["lr"] * context.warmup(context.steps_per_epoch - 1),
            "seconds": round(progress.epoch_seconds + valid_seconds, 3),
            "images_per_second": round(num_images / max(progress.epoch_seconds, 1e-9), 1),
        }
    )
    if progress.best.improved_by(monitored, config.trainer):
        weights = progress.best.weights  # overwritten in place: two copies of a large network may not fit
        for name, tensor in state.evaluated.state_dict().items():
            if name in weights:
                weights[name].copy_(tensor)
            else:
                weights[name] = tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        if progress.best.epoch == 0:
            trim_malloc()
        progress.best = BestEpoch(progress.epoch, monitored, weights, logits, asdict(metrics))
    if isinstance(state.scheduler, ReduceLROnPlateau):
        state.scheduler.step(monitored)
    else:
        state.scheduler.step()
    progress.seconds += progress.epoch_seconds + valid_seconds
    progress.epoch, progress.batch, progress.loss_sum, progress.correct = progress.epoch + 1, 0, 0.0, 0
    progress.epoch_seconds = 0.0
