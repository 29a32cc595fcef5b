"""The loops that crackdet is measured against, each in a process of its own: it prints one line of JSON.

article    the article's: fp32, default layout, default Adam, PIL in every epoch, one process
bare       the best step known here over tensors in memory: the same network, precision and batch as crackdet's
lightning  the way of lightning-hydra-template: Lightning's Trainer and a DataLoader, its defaults
costs      what a run takes to measure latency and throughput of its network, at its end
reading    batches from JPEG files by a DataLoader, with as many workers as crackdet has threads that decode
gathering  batches as crackdet's training gets them
"""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader, Dataset
from torchvision.models import resnext50_32x4d
from torchvision.transforms import Compose, Resize, ToTensor

from benchmarks.environment import chosen_device, finish
from crackdet.core.errors import UserError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

Folder = Annotated[Path, typer.Option()]
VALID_SHARE = 5  # every fifth image
WARM_UP = 16  # steps: memory and kernels have settled, as they have in the last epoch of the runs compared with


class Photographs(Dataset[tuple[Tensor, float]]):
    """As the article reads them: opened, resized and scaled at every access."""

    def __init__(self, folder: Path, size: int, part: str = "all") -> None:
        files = sorted(folder.glob("*/*.jpg"))
        valid = set(files[::VALID_SHARE])
        self.files = [path for path in files if part == "all" or (path in valid) == (part == "valid")]
        self.transform = Compose([Resize((size, size)), ToTensor()])

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, float]:
        path = self.files[index]
        return self.transform(Image.open(path).convert("RGB")), float(path.parent.name == "Positive")


def article_network(network: str, size: int, conv_out: tuple[int, int], linear: int) -> nn.Module:
    if network == "resnext50":
        extractor: nn.Module = resnext50_32x4d(weights=None)
        features = 1000
    elif network != "custom":
        raise UserError(f"--network={network}: must be custom or resnext50, which the article trains")
    else:
        a, b = conv_out
        extractor = nn.Sequential(
            nn.Conv2d(3, a, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        )  # fmt: skip
        features = b * (size // 4) ** 2
    classifier = nn.Sequential(
        nn.Flatten(), nn.Linear(features, linear), nn.ReLU(), nn.Linear(linear, linear), nn.ReLU(), nn.Linear(linear, 1)
    )
    return nn.Sequential(extractor, classifier)


def report(**values: Any) -> None:
    print(json.dumps(values))


@app.command()
def article(
    photographs: Folder, network: str = "custom", size: int = 224, batch: int = 32, steps: int = 8,
    conv_out: str = "64,128", linear: int = 512,
) -> None:  # fmt: skip
    """Images a second of the article's training loop, over so many steps after two to warm up."""
    torch.manual_seed(0)
    device = chosen_device()
    model = article_network(network, size, _pair(conv_out), linear).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    times: list[float] = []
    loader = DataLoader(Photographs(photographs, size), batch_size=batch, shuffle=True, drop_last=True)
    began = time.perf_counter()
    for images, labels in _endless(loader):
        _article_step(model, optimizer, images.to(device), labels.to(device))
        times.append(time.perf_counter() - began)
        began = time.perf_counter()
        if len(times) == steps + 2:
            break
    report(images_per_second=batch * steps / sum(times[2:]), seconds=sorted(times[2:])[steps // 2])


@app.command()
def article_sweep(photographs: Folder, size: int = 64, batch: int = 32, epochs: int = 4) -> None:
    """Seconds that the article's search takes for its four combinations, so many epochs each."""
    device = chosen_device()
    began = time.perf_counter()
    for conv_out, linear in (((64, 128), 256), ((128, 256), 512), ((64, 128), 512), ((64, 128), 1024)):
        torch.manual_seed(0)
        model = article_network("custom", size, conv_out, linear).to(device)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
        train = DataLoader(Photographs(photographs, size, "train"), batch_size=batch, shuffle=True)
        valid = DataLoader(Photographs(photographs, size, "valid"), batch_size=batch)
        for _ in range(epochs):
            model.train()
            for images, labels in train:
                _article_step(model, optimizer, images.to(device), labels.to(device))
            _article_accuracy(model, valid, device)
    report(seconds=time.perf_counter() - began)


@app.command()
def bare(
    network: str = "custom", size: int = 224, batch: int = 32, steps: int = 8, precision: str = "auto",
    conv_out: str = "64,128", linear: int = 512,
) -> None:  # fmt: skip
    """Images a second of the best step known here, over tensors in memory; it need not be the same twice.

    On a GPU all of it is one CUDA graph. `network` is custom, resnext50 or the name of any classification network of
    torchvision.
    """
    from crackdet.models.factory import build
    from crackdet.training.device import precision_of
    from crackdet.training.memory import PeakMemory, tune_malloc
    from crackdet.training.resources import estimate

    config = _config(network, size, batch, precision, conv_out, linear)
    device = chosen_device()
    torch.backends.cudnn.benchmark = True
    tune_malloc()
    memory = PeakMemory(device)
    model = build(config).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    number_format = precision_of(config, device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True, capturable=device.type == "cuda")
    images = torch.rand(batch, 3, size, size, device=device).contiguous(memory_format=torch.channels_last)
    labels = (torch.rand(batch, device=device) > 0.5).float()

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=number_format == "bf16"):
            logits = model(images)
        binary_cross_entropy_with_logits(logits.float(), labels).backward()  # type: ignore[no-untyped-call]
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
    finish(device)
    began = time.perf_counter()
    for _ in range(steps):
        step()
    finish(device)  # once: a wait after each step would keep a GPU idle
    seconds = (time.perf_counter() - began) / steps
    needs = estimate(config, number_format)
    report(
        images_per_second=batch / seconds, seconds=seconds, peak_mib=memory.mib(), precision=number_format,
        needs_mib=(needs.memory - needs.best_weights) / 2**20,
    )  # fmt: skip


@app.command()
def costs(
    run_seconds: Annotated[float, typer.Option()], network: str = "custom", size: int = 224, batch: int = 32
) -> None:
    """Seconds that a run of so many seconds takes to measure what its network costs, its memory in use as by then."""
    from crackdet.models.factory import build
    from crackdet.training.device import autocast, make_deterministic, precision_of
    from crackdet.training.latency import measure_latency
    from crackdet.training.memory import tune_malloc

    config = _config(network, size, batch)
    device = chosen_device()
    make_deterministic()
    tune_malloc()
    model = build(config).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    precision = precision_of(config, device)
    with torch.no_grad(), autocast(precision, device):
        images = torch.zeros(batch, 3, size, size, device=device).contiguous(memory_format=torch.channels_last)
        for _ in range(3):
            model.eval()(images)
    finish(device)
    began = time.perf_counter()
    measure_latency(model, batch, precision, run_seconds)
    report(seconds=time.perf_counter() - began)


@app.command()
def reading(photographs: Folder, size: int = 224, batch: int = 32, seconds: float = 8.0) -> None:
    """Images a second from files, decoded and resized by worker processes."""
    from crackdet.data.workers import num_decoders

    workers = num_decoders(None)
    loader = DataLoader(
        Photographs(photographs, size), batch_size=batch, shuffle=True, num_workers=workers, persistent_workers=True
    )
    endless = _endless(loader)
    next(endless)
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        count += len(next(endless)[0])
    report(images_per_second=count / (time.perf_counter() - began), workers=workers)


@app.command()
def gathering(
    photographs: Folder, size: int = 224, batch: int = 32, seconds: float = 4.0, cache_gib: float = 16.0
) -> None:
    """Images a second as crackdet's training gets them, from the second run on."""
    from crackdet.config.composing import compose
    from crackdet.data.batches import cache_on_gpu, iter_batches, make_batches, shuffled_indices
    from crackdet.data.dataset import load_splits
    from crackdet.training.memory import tune_malloc

    places = [f"data.root={photographs}", "runtime.cache=cache", f"runtime.cache_gib={cache_gib}"]
    config = compose(["data=folder", f"data.image_size={size}", *places])
    device = chosen_device()
    tune_malloc()
    images = load_splits(config.data, config.runtime)["train"]
    cache_on_gpu(images, device)
    count, epoch, began = 0, 0, 0.0
    while epoch < 2 or time.perf_counter() - began < seconds:
        if epoch == 1:
            began, count = time.perf_counter(), 0
        for loaded in iter_batches(images, make_batches(shuffled_indices(len(images), 0, epoch), batch), device, None):
            count += len(loaded.labels)
        finish(device)
        epoch += 1
    report(images_per_second=count / (time.perf_counter() - began))


@app.command()
def lightning(
    photographs: Folder, size: int = 64, batch: int = 32, accuracy: float = 0.97, epochs: int = 30, seed: int = 0
) -> None:
    """Seconds and epochs until Lightning's Trainer has reached a validation accuracy, its start included."""
    from lightning import LightningModule, Trainer
    from lightning.pytorch.callbacks import EarlyStopping
    from torchmetrics.classification import BinaryAccuracy

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = article_network("custom", size, (64, 128), 512)
            self.valid_accuracy = BinaryAccuracy()

        def training_step(self, batch: list[Tensor], _index: int) -> Tensor:
            return binary_cross_entropy_with_logits(self.net(batch[0]).squeeze(1), batch[1].float())

        def validation_step(self, batch: list[Tensor], _index: int) -> None:
            self.valid_accuracy(self.net(batch[0]).squeeze(1), batch[1])
            self.log("accuracy", self.valid_accuracy)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=1e-4)

    torch.manual_seed(seed)
    began = time.perf_counter()
    threshold = accuracy - 1e-6  # Lightning compares in float32, and stops only above it
    trainer = Trainer(
        max_epochs=epochs, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        callbacks=[EarlyStopping("accuracy", mode="max", stopping_threshold=threshold, patience=epochs)],
    )  # fmt: skip
    options: dict[str, Any] = {"batch_size": batch, "num_workers": 2, "persistent_workers": True}
    train = DataLoader(Photographs(photographs, size, "train"), shuffle=True, **options)
    valid = DataLoader(Photographs(photographs, size, "valid"), **options)
    trainer.fit(Module(), train, valid)
    seconds = time.perf_counter() - began
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


def _article_step(model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> float:
    optimizer.zero_grad()
    loss = binary_cross_entropy_with_logits(model(images).squeeze(1), labels.float())
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.item()


@torch.no_grad()
def _article_accuracy(model: nn.Module, valid: "DataLoader[Any]", device: torch.device) -> float:
    model.eval()
    correct = [
        ((torch.sigmoid(model(images.to(device))).squeeze(1) > 0.5) == (labels.to(device) > 0.5)).float().mean().item()
        for images, labels in valid
    ]
    return sum(correct) / len(correct)


def _endless(loader: "DataLoader[Any]") -> Iterator[Any]:
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
