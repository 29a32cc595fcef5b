"""Memory and disk that a run needs, estimated and checked before it begins."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import Tensor, nn

from crackdet.config.schema import Config
from crackdet.core.errors import RunFailed, WriteFailed
from crackdet.core.files import free_bytes
from crackdet.models.factory import build_head, build_on_meta, extractor_bytes, validate_model
from crackdet.models.flops import MetaFlopCounter
from crackdet.models.torch_internals import storage_id
from crackdet.store.run import Run
from crackdet.training.memory import kernel_bytes
from crackdet.training.optimizers import depends_on_max_epochs, optimizer_slots

MIB = 2**20


@dataclass(frozen=True)
class ResourceEstimate:
    """Approximate bytes that stay in memory throughout a training step."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    best_weights: int  # a copy of the best epoch's weights
    averaged_weights: int = 0  # of trainer.ema_decay

    @property
    def memory(self) -> int:
        return sum(getattr(self, item.name) for item in fields(self))

    @property
    def disk(self) -> int:
        """Two resume states, since a new one is written before the old is removed, and the published weights."""
        return 2 * (self.weights + self.optimizer + self.best_weights + self.averaged_weights) + self.weights

    def __str__(self) -> str:
        parts = (f"{item.name.replace('_', ' ')} {getattr(self, item.name) / MIB:.0f}" for item in fields(self))
        return f"{self.memory / MIB:.0f} MiB ({', '.join(parts)})"


def estimate_resources(config: Config, precision: str) -> ResourceEstimate:
    """Estimate the resources of a run on the meta device.

    Activations are the tensors that autograd saves for one batch, counted by its saved-tensor hooks.
    """
    size, batch = config.data.image_size, config.trainer.batch_size
    model: nn.Module
    if config.model.freeze_features:  # autograd saves nothing of the feature extractor
        dimension, frozen = validate_model(config), extractor_bytes(config)
        with torch.device("meta"):
            model = build_head(config, dimension)
        inputs = torch.empty(batch, dimension, device="meta")
    else:
        model, frozen = build_on_meta(config), 0
        inputs = torch.empty(batch, 3, size, size, device="meta")
    weight_storages = {storage_id(tensor) for tensor in model.state_dict().values()}
    saved: dict[int, Tensor] = {}

    def save(tensor: Tensor) -> Tensor:
        if storage_id(tensor) not in weight_storages:
            saved[storage_id(tensor)] = tensor  # kept alive, so that no other tensor gets its storage
        return tensor

    with MetaFlopCounter(), torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        model(inputs)
    divisor = 2 if precision == "bf16" else 1  # the indices of max-pooling stay as large
    sizes = ((t.untyped_storage().nbytes(), t.is_floating_point()) for t in saved.values())
    activations = sum(size // divisor if is_float else size for size, is_float in sizes)
    weights, gradients = weight_sizes(model)
    slots = round(optimizer_slots(config.optimizer) * gradients)
    averaged = weights if config.trainer.ema_decay is not None else 0
    return ResourceEstimate(weights + frozen, gradients, slots, activations, weights, averaged)


def weight_sizes(model: nn.Module) -> tuple[int, int]:
    """Return the bytes of all weights of a network, and of those that are trained."""
    trained = sum(parameter.nbytes for parameter in model.parameters() if parameter.requires_grad)
    return sum(tensor.nbytes for tensor in model.state_dict().values()), trained


def resume_state_bytes(config: Config, weights: int, trained: int) -> int:
    """Return the bytes of the resume state that a finished run keeps for more epochs; 0 if it keeps none."""
    copies = 2 if config.trainer.ema_decay is None else 3  # the last weights, the best ones, and their average
    state = copies * weights + round(optimizer_slots(config.optimizer) * trained)
    is_useless = config.trainer.probe or depends_on_max_epochs(config)
    return 0 if is_useless or state > config.runtime.keep_resume_mib * MIB else state


def check_resources(needs: ResourceEstimate, device: torch.device, run: Run) -> None:
    """Check that memory and disk suffice for a run; the space of its saved state counts as free.

    Raises:
        RunFailed: If the main memory is too small. The memory of a GPU is not checked.
        WriteFailed: If the disk has no space for the checkpoints.
    """
    available = available_memory()
    if device.type == "cpu" and available is not None and needs.memory > available:
        raise RunFailed(
            f"out of memory: the run needs about {needs}, and {available / MIB:.0f} MiB are available; reduce "
            "trainer.batch_size, model.linear_features or data.image_size"
        )
    free, needed = free_bytes(run.directory), needs.disk
    if run.state_file.exists():
        needed -= run.state_file.stat().st_size
    if needed > free:
        raise WriteFailed(
            f"{run.directory}: checkpoints and weights of this run need {needed / MIB:.1f} MiB, and {free / MIB:.1f} "
            "MiB are free; free some space, or set another runtime.store"
        )


def available_memory(root: Path = Path("/")) -> int | None:
    """Return the bytes that this process can still allocate, by the kernel and its control groups; None if unknown."""
    machine = kernel_bytes(root / "proc/meminfo", "MemAvailable")
    return min([*_cgroup_memory(root), *([] if machine is None else [machine])], default=None)


def _cgroup_memory(root: Path) -> Iterator[int]:
    """Yield the bytes left in the control group of this process and in each of its parents, in cgroup v1 or v2."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, group = line.split(":", 2)
        if not controllers:
            top, names, key = root / "sys/fs/cgroup", ("memory.max", "memory.current"), "{}"
        elif "memory" in controllers.split(","):
            top, names = root / "sys/fs/cgroup/memory", ("memory.limit_in_bytes", "memory.usage_in_bytes")
            key = "total_{}"
        else:
            continue
        innermost = top / group.lstrip("/")
        for folder in (innermost, *(parent for parent in innermost.parents if parent.is_relative_to(top))):
            limit, used = (_text(folder / name).strip() for name in names)
            if limit.isdigit() and used.isdigit():
                stat = dict(line.split() for line in _text(folder / "memory.stat").splitlines())
                cached = sum(int(stat.get(key.format(name), 0)) for name in ("inactive_file", "active_file"))
                yield int(limit) - int(used) + cached  # the page cache counts as used, but can be reclaimed


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
