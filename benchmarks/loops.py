"""The loops that crackdet is compared with; each runs in its own process and prints one line of JSON.

article    the article's loop: fp32, default layout, default Adam, PIL in every epoch, one process
bare       the fastest known step over tensors in memory, with crackdet's network, precision and batch size
lightning  as in lightning-hydra-template: Lightning's Trainer and a DataLoader with default settings
latency    the time that a run takes to measure latency and throughput of its network
files      batches from JPEG files by a DataLoader, with as many workers as crackdet has threads that decode
batches    batches as crackdet's training gets them
"""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader

from benchmarks.article import ImageFiles, accuracy, build_network, training_step
from benchmarks.environment import default_device, synchronize
from crackdet.core.errors import UserError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

Folder = Annotated[Path, typer.Option()]
WARM_UP = 16  # steps until memory and kernels have settled, as in the last epoch of the runs compared with


def report(**values: Any) -> None:
    print(json.dumps(values))


@app.command()
def article(
    images: Folder, network: str = "custom", size: int = 224, batch: int = 32, steps: int = 8,
    conv_out: str = "64,128", linear: int = 512,
) -> None:  # fmt: skip
    """Images per second of the article's training loop, after two warm-up steps."""
    torch.manual_seed(0)
    device = default_device()
    model = build_network(network, size, _pair(conv_out), linear).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    times: list[float] = []
    loader = DataLoader(ImageFiles(images, size), batch_size=batch, shuffle=True, drop_last=True)
    start = time.perf_counter()
    for inputs, labels in _repeat(loader):
        training_step(model, optimizer, inputs.to(device), labels.to(device))
        times.append(time.perf_counter() - start)
        start = time.perf_counter()
        if len(times) == steps + 2:
            break
    report(images_per_second=batch * steps / sum(times[2:]), seconds=sorted(times[2:])[steps // 2])


@app.command()
def article_sweep(images: Folder, size: int = 64, batch: int = 32, epochs: int = 4) -> None:
    """Seconds of the article's search over its four combinations."""
    device = default_device()
    start = time.perf_counter()
    for conv_out, linear in (((64, 128), 256), ((128, 256), 512), ((64, 128), 512), ((64, 128), 1024)):
        torch.manual_seed(0)
        model = build_network("custom", size, conv_out, linear).to(device)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
        train = DataLoader(ImageFiles(images, size, "train"), batch_size=batch, shuffle=True)
        valid = DataLoader(ImageFiles(images, size, "valid"), batch_size=batch)
        for _ in range(epochs):
            model.train()
            for inputs, labels in train:
                training_step(model, optimizer, inputs.to(device), labels.to(device))
            accuracy(model, valid, device)
    report(seconds=time.perf_counter() - start)


@app.command()
def bare(
    network: str = "custom", size: int = 224, batch: int = 32, steps: int = 8, precision: str = "auto",
    conv_out: str = "64,128", linear: int = 512,
) -> None:  # fmt: skip
    """Images per second of the fastest known step over tensors in memory; it need not be reproducible.

    On a GPU the whole step is one CUDA graph. `network` is custom, resnext50 or any classification network of
    torchvision.
    """
    from crackdet.models.factory import build
    from crackdet.training.device import resolve_precision
    from crackdet.training.memory import PeakMemory, tune_malloc
    from crackdet.training.resources import estimate_resources

    config = _config(network, size, batch, precision, conv_out, linear)
    device = default_device()
    torch.backends.cudnn.benchmark = True
    tune_malloc()
    memory = PeakMemory(device)
    model = build(config).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    number_format = resolve_precision(config, device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True, capturable=device.type == "cuda")
    images = torch.rand(batch, 3, size, size, device=device).contiguous(memory_format=torch.channels_last)
    labels = (torch.rand(batch, device=device) > 0.5).float()

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=number_format == "bf16"):
            logits = model(images)
        binary_cross_entropy_with_logits(logits.float(), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    for _ in range(WARM_UP):
        step()
    if device.type == "cuda":
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        step = graph.replay
        step()
    synchronize(device)
    start = time.perf_counter()
    for _ in range(steps):
        step()
    synchronize(device)  # once: waiting after each step would leave a GPU idle
    seconds = (time.perf_counter() - start) / steps
    required = estimate_resources(config, number_format)
    report(
        images_per_second=batch / seconds, seconds=seconds, peak_mib=memory.mib(), precision=number_format,
        required_mib=(required.memory - required.best_weights) / 2**20,
    )  # fmt: skip


@app.command()
def latency(
    run_seconds: Annotated[float, typer.Option()], network: str = "custom", size: int = 224, batch: int = 32
) -> None:
    """Seconds that a run of this length takes to measure the latency of its network, with warm memory."""
    from crackdet.models.factory import build
    from crackdet.training.device import autocast, make_deterministic, resolve_precision
    from crackdet.training.latency import LatencyMeter
    from crackdet.training.memory import tune_malloc

    config = _config(network, size, batch)
    device = default_device()
    make_deterministic()
    tune_malloc()
    model = build(config).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    precision = resolve_precision(config, device)
    with torch.no_grad(), autocast(precision, device):
        images = torch.zeros(batch, 3, size, size, device=device).contiguous(memory_format=torch.channels_last)
        for _ in range(3):
            model.eval()(images)
    synchronize(device)
    start = time.perf_counter()
    LatencyMeter(model, precision).result(batch, run_seconds)
    report(seconds=time.perf_counter() - start)


@app.command()
def files(images: Folder, size: int = 224, batch: int = 32, seconds: float = 8.0) -> None:
    """Images per second from files, decoded and resized by worker processes."""
    from crackdet.data.workers import num_decoders

    workers = num_decoders(None)
    loader = DataLoader(
        ImageFiles(images, size), batch_size=batch, shuffle=True, num_workers=workers, persistent_workers=True
    )
    batch_iterator = _repeat(loader)
    next(batch_iterator)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        count += len(next(batch_iterator)[0])
    report(images_per_second=count / (time.perf_counter() - start), workers=workers)


@app.command()
def batches(images: Folder, size: int = 224, batch: int = 32, seconds: float = 4.0, cache_gib: float = 16.0) -> None:
    """Images per second as crackdet's training gets them, from the second run on."""
    from crackdet.config.composing import compose
    from crackdet.data.batches import cache_on_gpu, iter_batches, make_batches, shuffled_indices
    from crackdet.data.dataset import load_splits
    from crackdet.training.memory import tune_malloc

    paths = [f"data.root={images}", "runtime.cache=cache", f"runtime.cache_gib={cache_gib}"]
    config = compose(["data=folder", f"data.image_size={size}", *paths])
    device = default_device()
    tune_malloc()
    dataset = load_splits(config.data, config.runtime)["train"]
    cache_on_gpu(dataset, device)
    count, epoch, start = 0, 0, 0.0
    while epoch < 2 or time.perf_counter() - start < seconds:
        if epoch == 1:
            start, count = time.perf_counter(), 0
        indices = make_batches(shuffled_indices(len(dataset), 0, epoch), batch)
        for loaded in iter_batches(dataset, indices, device, None):
            count += len(loaded.labels)
        synchronize(device)
        epoch += 1
    report(images_per_second=count / (time.perf_counter() - start))


@app.command()
def lightning(
    images: Folder, size: int = 64, batch: int = 32, accuracy: float = 0.97, epochs: int = 30, seed: int = 0
) -> None:
    """Seconds and epochs until Lightning's Trainer reaches a validation accuracy, start-up included."""
    from lightning import LightningModule, Trainer
    from lightning.pytorch.callbacks import EarlyStopping
    from torchmetrics.classification import BinaryAccuracy

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = build_network("custom", size, (64, 128), 512)
            self.valid_accuracy = BinaryAccuracy()

        def training_step(self, batch: list[Tensor], _index: int) -> Tensor:
            return binary_cross_entropy_with_logits(self.net(batch[0]).squeeze(1), batch[1].float())

        def validation_step(self, batch: list[Tensor], _index: int) -> None:
            self.valid_accuracy(self.net(batch[0]).squeeze(1), batch[1])
            self.log("accuracy", self.valid_accuracy)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=1e-4)

    torch.manual_seed(seed)
    start = time.perf_counter()
    threshold = accuracy - 1e-6  # Lightning compares in float32 and stops only above the threshold
    trainer = Trainer(
        max_epochs=epochs, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        callbacks=[EarlyStopping("accuracy", mode="max", stopping_threshold=threshold, patience=epochs)],
    )  # fmt: skip
    options: dict[str, Any] = {"batch_size": batch, "num_workers": 2, "persistent_workers": True}
    train = DataLoader(ImageFiles(images, size, "train"), shuffle=True, **options)
    valid = DataLoader(ImageFiles(images, size, "valid"), **options)
    trainer.fit(Module(), train, valid)
    seconds = time.perf_counter() - start
    last = float(trainer.callback_metrics["accuracy"])
    report(seconds=seconds, epochs=trainer.current_epoch, accuracy=last, reached=last > threshold)


def _config(
    network: str, size: int, batch: int, precision: str = "auto", conv_out: str = "64,128", linear: int = 512
) -> Any:
    from crackdet.config.composing import compose

    if network == "custom":
        model = [f"model.conv_out=[{conv_out}]"]
    elif network == "resnext50":
        model = ["model=resnext50", "model.weights=null"]
    else:
        model = ["model=torchvision", f"model.name={network}", "model.weights=null"]
    trainer = [f"trainer.precision={precision}", f"trainer.batch_size={batch}"]
    return compose([*model, f"model.linear_features={linear}", f"data.image_size={size}", *trainer])


def _repeat(loader: "DataLoader[Any]") -> Iterator[Any]:
    while True:
        yield from loader


def _pair(text: str) -> tuple[int, int]:
    a, b = map(int, text.split(","))
    return a, b


if __name__ == "__main__":
    try:
        app()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
