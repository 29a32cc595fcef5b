"""What a run will need of memory and of disk, told before it begins."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import Tensor, nn

from crackdet.config.schema import SGD, Config
from crackdet.core.errors import RunFailed, WriteFailed
from crackdet.core.files import free_bytes
from crackdet.models.factory import build_on_meta
from crackdet.models.flops import MetaFlopCounter
from crackdet.store.run import Run
from crackdet.training.optimizers import depends_on_max_epochs

MIB = 2**20


@dataclass(frozen=True)
class ResourceEstimate:
    """Bytes, about: what stays in memory through a training step."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    best_weights: int  # the copy of the best epoch's

    @property
    def memory(self) -> int:
        return sum(getattr(self, item.name) for item in fields(self))

    @property
    def disk(self) -> int:
        """The resume state twice, since a new one is written beside the old, and the published weights."""
        return 2 * (self.weights + self.optimizer + self.best_weights) + self.weights

    def __str__(self) -> str:
        parts = (f"{item.name.replace('_', ' ')} {getattr(self, item.name) / MIB:.0f}" for item in fields(self))
        return f"{self.memory / MIB:.0f} MiB ({', '.join(parts)})"


def estimate(config: Config, precision: str) -> ResourceEstimate:
    """The needs of a configuration, counted on a network without memory.

    Activations are what autograd saves of one batch, by its saved-tensor hooks.
    """
    model = build_on_meta(config)
    size, batch = config.data.image_size, config.trainer.batch_size
    own = {tensor.untyped_storage()._cdata for tensor in model.state_dict().values()}
    saved: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage()._cdata not in own:
            saved[tensor.untyped_storage()._cdata] = tensor  # held, so that no other takes its place
        return tensor

    with MetaFlopCounter(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(torch.empty(batch, 3, size, size, device="meta"))
    low = precision == "bf16"  # which halves numbers, but not the places that pooling took its maxima from
    sizes = [(tensor.untyped_storage().nbytes(), tensor.is_floating_point()) for tensor in saved.values()]
    activations = sum(size // 2 if low and real else size for size, real in sizes)
    weights, gradients = weight_sizes(model)
    return ResourceEstimate(weights, gradients, _slots(config) * gradients, activations, weights)


def weight_sizes(model: nn.Module) -> tuple[int, int]:
    """Bytes of all weights of a network, and of those that are trained."""
    whole = sum(tensor.nbytes for tensor in model.state_dict().values())
    return whole, sum(parameter.nbytes for parameter in model.parameters() if parameter.requires_grad)


def resume_state_bytes(config: Config, weights: int, trained: int) -> int:
    """Bytes of the state that a finished run leaves, from which it can be trained longer; 0 where it leaves none."""
    state = 2 * weights + _slots(config) * trained  # the last weights and the best ones
    return 0 if depends_on_max_epochs(config) or state > config.runtime.keep_resume_mib * MIB else state


def _slots(config: Config) -> int:
    """Numbers that the optimizer keeps for each weight that is trained."""
    return int(config.optimizer.momentum > 0) if isinstance(config.optimizer, SGD) else 2


def check_resources(needs: ResourceEstimate, device: torch.device, run: Run) -> None:
    """Refuses a run that cannot go well; what it has saved already needs no room again.

    Raises:
        RunFailed: where the main memory is too small (on a GPU it shows when it happens).
        WriteFailed: where the disk has no room for its checkpoints.
    """
    available = available_memory()
    if device.type == "cpu" and available is not None and needs.memory > available:
        raise RunFailed(
            f"out of memory: about {needs} are needed and {available / MIB:.0f} MiB are available; make "
            "trainer.batch_size, model.linear_features or data.image_size smaller"
        )
    free, needed = free_bytes(run.directory), needs.disk
    if run.state_file.exists():
        needed -= run.state_file.stat().st_size
    if needed > free:
        raise WriteFailed(
            f"{run.directory}: checkpoints and weights of this run need {needed / MIB:.1f} MiB and {free / MIB:.1f} "
            "MiB are free; make room there, or give another runtime.store"
        )


def available_memory(root: Path = Path("/")) -> int | None:
    """Bytes that processes can still take, by the kernel and the limits of the control groups; None elsewhere."""
    bounds = [*_of_machine(root), *_of_groups(root)]
    return min(bounds) if bounds else None


def _of_machine(root: Path) -> Iterator[int]:
    for line in _text(root / "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024


def _of_groups(root: Path) -> Iterator[int]:
    """Of the group of this process and of those that it is in, in either version of control groups.

    What the kernel holds of files counts as used there, and is given up when it is wanted.
    """
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, group = line.split(":", 2)
        if not controllers:
            top, names, files = root / "sys/fs/cgroup", ("memory.max", "memory.current"), "{}"
        elif "memory" in controllers.split(","):
            top, names = root / "sys/fs/cgroup/memory", ("memory.limit_in_bytes", "memory.usage_in_bytes")
            files = "total_{}"
        else:
            continue
        own = top / group.lstrip("/")
        for folder in (own, *(parent for parent in own.parents if parent.is_relative_to(top))):
            limit, used = (_text(folder / name).strip() for name in names)
            if limit.isdigit() and used.isdigit():
                known = dict(line.split() for line in _text(folder / "memory.stat").splitlines())
                held = sum(int(known.get(files.format(name), 0)) for name in ("inactive_file", "active_file"))
                yield int(limit) - int(used) + held


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
