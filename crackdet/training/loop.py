"""The training loop, to be read from top to bottom."""

import logging
import math
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim.lr_scheduler import ReduceLROnPlateau

from crackdet.config.schema import Config
from crackdet.core.console import ON_BAR, bar
from crackdet.core.errors import NotFinite
from crackdet.data.augmentation import augment, is_active, sample_params
from crackdet.data.batches import iter_batches, make_batches, shuffled_indices, to_device, to_input
from crackdet.data.dataset import ImageDataset
from crackdet.metrics.torch_metrics import Metrics, measure
from crackdet.training.cuda_graphs import GraphedStep, capture_stream
from crackdet.training.device import autocast
from crackdet.training.memory import trim_malloc
from crackdet.training.state import Best, Checkpointer, Progress, TrainingState

log = logging.getLogger(__name__)

OfBatch = Callable[..., Sequence[Tensor]]  # learn_batch or judge_batch, recorded or not


@dataclass(frozen=True)
class Sums:
    """Over the images of the unfinished epoch; on the device, which adds to them without being waited for."""

    loss: Tensor  # (), in the greatest precision of the device
    correct: Tensor  # ()

    @classmethod
    def on(cls, device: torch.device) -> "Sums":
        precise = torch.float32 if device.type == "mps" else torch.float64
        return cls(torch.zeros((), dtype=precise, device=device), torch.zeros((), dtype=torch.int64, device=device))


def train(
    state: TrainingState,
    config: Config,
    train_set: ImageDataset,
    valid_set: ImageDataset,
    precision: str,
    recorded: bool,
    checkpointer: Checkpointer,
    on_epoch: Callable[[Progress], None],
) -> None:
    """Trains from wherever `state` stands to the last epoch; the best epoch ends up in `state.progress.best`.

    `recorded` is whether batches become CUDA graphs.

    Raises:
        NotFinite: where the loss is no longer finite.
        Interrupted: where the process was asked to stop; the state has been saved.
    """
    trainer, progress, device = config.trainer, state.progress, next(state.model.parameters()).device
    sums = Sums.on(device)
    learn: OfBatch = partial(learn_batch, state, config, precision, sums)
    judge: OfBatch = partial(judge_batch, state.model, precision)
    if recorded:
        learn = GraphedStep(learn, trainer.batch_size, state.optimizer)
        judge = GraphedStep(judge, trainer.batch_size)
    stream = capture_stream(device) if recorded else nullcontext()
    with (
        stream,
        warnings.catch_warnings(),
        bar(config.model.name, trainer.max_epochs, done=progress.epoch - 1) as epochs,
    ):
        # torch counts the optimizer's steps, and a resumed epoch may need none
        warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
        while progress.epoch <= trainer.max_epochs and not progress.stopped_early(trainer):
            train_epoch(state, config, train_set, learn, sums, checkpointer)
            began = time.monotonic()
            workers = config.runtime.num_workers
            logits = predict(state.model, valid_set, trainer.batch_size, precision, workers, checkpointer, judge)
            metrics = measure(logits, torch.from_numpy(valid_set.labels).float(), trainer.pos_weight)
            finish_epoch(state, config, len(train_set), logits, metrics, time.monotonic() - began)
            on_epoch(progress)
            row = progress.history[-1]
            epochs.advance(description=f"{config.model.name} accuracy {metrics.accuracy:.4f}")
            log.info(
                "epoch %d/%d: train loss %.4f accuracy %.4f, valid loss %.4f accuracy %.4f%s, %.0f images/s",
                row["epoch"], trainer.max_epochs, row["train_loss"], row["train_accuracy"], metrics.loss,
                metrics.accuracy, " *" if progress.best.epoch == row["epoch"] else "", row["images_per_second"],
                extra=ON_BAR,
            )  # fmt: skip
            if checkpointer.due():
                checkpointer.save()


def train_epoch(
    state: TrainingState, config: Config, images: ImageDataset, learn: OfBatch, sums: Sums, checkpointer: Checkpointer
) -> None:
    """The rest of the epoch that `state.progress` stands in; `learn` adds to `sums`."""
    trainer, progress, optimizer, device = config.trainer, state.progress, state.optimizer, sums.loss.device
    batches = make_batches(shuffled_indices(len(images), config.seed, progress.epoch), trainer.batch_size)
    numbers = None
    if is_active(config.data.augmentation):
        numbers = to_device(sample_params(len(images), config.seed, progress.epoch), device)
    sums.loss.fill_(progress.loss_sum)
    sums.correct.fill_(progress.correct)
    began, seconds_before = time.monotonic(), progress.epoch_seconds

    def record(batches_done: int) -> None:
        progress.batch = batches_done
        progress.loss_sum, progress.correct = sums.loss.item(), int(sums.correct.item())
        progress.epoch_seconds = seconds_before + time.monotonic() - began

    state.model.train()
    optimizer.zero_grad()
    todo = iter_batches(images, batches[progress.batch :], device, config.runtime.num_workers)
    for number, batch in enumerate(todo, progress.batch):
        first = number - number % trainer.accumulate_grad_batches
        step = batches[first : first + trainer.accumulate_grad_batches]
        ends_step = number + 1 - first == len(step)
        drawn = None if numbers is None else numbers[batch.indices]
        learn(batch.pixels, batch.labels, drawn, sum(map(len, step)), ends_step)

        last, due = number + 1 == len(batches), checkpointer.due()
        looked_at = device.type == "cpu" or last or due  # a look makes a GPU wait
        if looked_at and not math.isfinite(sums.loss.item()):
            raise NotFinite(
                f"the loss is {sums.loss.item()} in epoch {progress.epoch}, by batch {number + 1} of {len(batches)}, "
                f"at learning rate {optimizer.param_groups[0]['lr']:g}"
            )
        if progress.epoch == 1 and first == 0 and ends_step:
            trim_malloc()  # the optimizer's state has come to lie in holes between what was freed
        if due and ends_step and not last:
            record(number + 1)
            checkpointer.save()
    record(len(batches))


def learn_batch(
    state: TrainingState,
    config: Config,
    precision: str,
    sums: Sums,
    pixels: Tensor,
    labels: Tensor,
    numbers: Tensor | None,
    total: int,
    ends_step: bool,
) -> tuple[()]:
    """Adds the gradients of a batch, its losses and how many images it had right; may be the end of a step.

    `pixels` and `labels` are those of a `Batch`, `numbers` the random ones of their augmentation. `total` is how many
    images the step has, of which this batch may be a part.
    """
    model, optimizer, trainer = state.model, state.optimizer, config.trainer
    images = to_input(pixels)
    if numbers is not None:
        images = augment(images, numbers, config.data.augmentation)
    with autocast(precision, images.device):
        logits = model(images)
    weight = trainer.pos_weight
    pos_weight = None if weight is None else torch.full((), weight, device=images.device)
    loss = binary_cross_entropy_with_logits(logits.float(), labels, pos_weight=pos_weight, reduction="sum")
    (loss / total).backward()  # type: ignore[no-untyped-call]  # the mean over all images of the step, however it is cut
    sums.loss.add_(loss.detach())
    sums.correct.add_(((logits > 0) == (labels > 0.5)).sum())
    if ends_step:
        if trainer.gradient_clip_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), trainer.gradient_clip_norm)
        optimizer.step()
        optimizer.zero_grad()
    return ()


def judge_batch(model: nn.Module, precision: str, pixels: Tensor) -> tuple[Tensor]:
    """Logits (N,) of the pixels of a `Batch`."""
    with autocast(precision, pixels.device):
        return (model(to_input(pixels)),)


@torch.no_grad()
def predict(
    model: nn.Module,
    images: ImageDataset,
    batch_size: int,
    precision: str,
    num_workers: int | None,
    checkpointer: Checkpointer | None = None,
    judge: OfBatch | None = None,
) -> Tensor:
    """Logits (N,), float32 on the CPU, of all images in their order; `judge` is `judge_batch` where it is recorded."""
    device = next(model.parameters()).device
    judge = judge or partial(judge_batch, model, precision)
    model.eval()
    logits = []
    with autocast(precision, device):  # around all batches: weights are converted once
        for batch in iter_batches(
            images, make_batches(torch.arange(len(images)).numpy(), batch_size), device, num_workers
        ):
            logits.append(judge(batch.pixels)[0].float())
            if checkpointer is not None and checkpointer.asked_to_stop:
                checkpointer.save()
    return torch.cat(logits).cpu()


def finish_epoch(
    state: TrainingState, config: Config, num_images: int, logits: Tensor, metrics: Metrics, valid_seconds: float
) -> None:
    """Writes the epoch into the history, keeps its weights where it is the best, steps the schedule, goes on."""
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
            "learning_rate": state.optimizer.param_groups[0]["lr"],
            "seconds": round(progress.epoch_seconds + valid_seconds, 3),
            "images_per_second": round(num_images / max(progress.epoch_seconds, 1e-9), 1),
        }
    )
    if progress.best.improved_by(monitored, config.trainer):
        weights = progress.best.weights  # written over, since two copies of a large network may not fit
        came_to_stay = not weights
        for name, tensor in state.model.state_dict().items():
            if name in weights:
                weights[name].copy_(tensor)
            else:
                weights[name] = tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        progress.best = Best(progress.epoch, monitored, weights, logits, asdict(metrics))
        if came_to_stay:
            trim_malloc()
    if isinstance(state.scheduler, ReduceLROnPlateau):
        state.scheduler.step(monitored)
    else:
        state.scheduler.step()
    progress.seconds += progress.epoch_seconds + valid_seconds
    progress.epoch, progress.batch, progress.loss_sum, progress.correct = progress.epoch + 1, 0, 0.0, 0
    progress.epoch_seconds = 0.0
