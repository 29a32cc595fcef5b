"""Load state dicts with prefixes, other heads or extra tensors into a network: all of its tensors, or none."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from crackdet.core.errors import UserError
from crackdet.core.text import list_first
from crackdet.models.checkpoint_file import read_state_dict
from crackdet.models.torch_internals import storage_id

__all__ = ["Fit", "Unused", "fit", "load_fit", "load_strict", "read_state_dict", "unshared"]

AVERAGED = re.compile(r"(^|[._])(ema|swa|averaged)")  # names of averaged copies of the weights
COUNTER = "num_batches_tracked"  # absent from state dicts of before PyTorch 0.4.1 and of frozen batch normalisation
MAX_SHOWN = 3  # problems of a message


@dataclass(frozen=True)
class Unused:
    """Parts of the published network that the feature extractor lacks."""

    head: str = ""  # the module of the last layer, which may have any number of classes
    classes: int = 0  # that it has as published
    others: tuple[str, ...] = ()  # prefixes of auxiliary classifiers

    def covers(self, name: str) -> bool:
        return name.startswith(self.others) or self.is_head(name)

    def is_head(self, name: str) -> bool:
        return bool(self.head) and name.startswith(f"{self.head}.")


NOTHING = Unused()


@dataclass
class Fit:
    """The tensors of a file that a network takes, by the network's names."""

    prefix: str  # of the network's names in the file
    tensors: dict[str, Tensor]
    notes: list[str] = field(default_factory=list)  # what had to be done to load them
    problems: list[str] = field(default_factory=list)


def unshared(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return contiguous tensors, no two of which share memory, as safetensors requires."""
    found: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name, tensor in state.items():
        contiguous = tensor.contiguous()
        found[name] = contiguous.clone() if storage_id(contiguous) in storages else contiguous
        storages.add(storage_id(contiguous))
    return found


def load_strict(module: nn.Module, state: Mapping[str, Tensor], key: str) -> None:
    """Load a state dict with exactly the names and shapes of a network.

    Raises:
        UserError: If names or shapes differ.
    """
    expected = module.state_dict()
    problems = [f"{name} is missing" for name in expected if name not in state]
    problems += [f"{name} is unknown" for name in state if name not in expected]
    problems += [
        f"{name} has shape {tuple(state[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape
    ]
    _refuse(key, problems)
    _load(module, state)


def load_fit(module: nn.Module, state: Mapping[str, Tensor], key: str, unused: Unused = NOTHING) -> Fit:
    """Load the weights of a network from a state dict in which they have a prefix, another head, or neighbours.

    On the meta device, the state dict is only checked.

    Raises:
        UserError: If the state dict holds several such networks, or not every tensor of one.
    """
    found = fit(module.state_dict(), state, key, unused)
    without = f", without the prefix '{found.prefix}'," if found.prefix else ""
    names = list_first(list(state), MAX_SHOWN, ", ")
    other = f"; no tensor of the file fits, so it is of another network: it has {names}" if not found.tensors else ""
    _refuse(key, found.problems, without, other)
    _load(module, found.tensors)
    return found


def fit(expected: Mapping[str, Tensor], state: Mapping[str, Tensor], key: str, unused: Unused = NOTHING) -> Fit:
    """Find the tensors of a network in a state dict; the reasons why they cannot be loaded are in `problems`.

    Raises:
        UserError: If the state dict holds several networks that fit.
    """
    prefix = _find_prefix(expected, state, key)
    inside = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    found = Fit(prefix, {})
    converted, counters = set(), 0
    for name, own in expected.items():
        tensor = inside.get(name)
        if tensor is None:
            counters += name.endswith(COUNTER)
            if not name.endswith(COUNTER):
                found.problems.append(f"{name} is missing")
        elif problem := _problem(tensor, own):
            found.problems.append(f"{name} {problem}")
        elif tensor.dtype == own.dtype:
            found.tensors[name] = tensor
        elif own.is_floating_point():
            converted.add(str(tensor.dtype).removeprefix("torch."))
            found.tensors[name] = tensor.to(own.dtype)
        # else an index or a counter, which half-precision numbers do not hold exactly: the network has its own
    frozen = {f"{name.removesuffix('running_mean')}{COUNTER}" for name in expected if name.endswith("running_mean")}
    known = (expected.keys() | frozen).__contains__
    found.problems += [f"{name} is unknown" for name in inside if not known(name) and not unused.covers(name)]
    found.problems += [f"{name} holds NaN or infinity" for name, own in found.tensors.items() if not _is_finite(own)]
    outside = [name for name in state if not name.startswith(prefix)]
    found.notes = [
        *([f"prefix '{prefix}' removed"] if prefix else []),
        *_head_notes(inside, unused),
        *([f"{len(outside)} other tensors ignored, such as {outside[0]}"] if outside else []),
        *([f"{', '.join(sorted(converted))} converted"] if converted else []),
        *([f"{COUNTER} starts at 0"] if counters else []),
    ]
    return found


def _find_prefix(expected: Mapping[str, Tensor], state: Mapping[str, Tensor], key: str) -> str:
    """Return the prefix of the network's names: the one that matches all of them, or else the most."""
    required = {name: tensor.shape for name, tensor in expected.items() if not name.endswith(COUNTER)}
    matches: Counter[str] = Counter()
    for name, tensor in state.items():
        for start in [0, *(match.end() for match in re.finditer(r"\.", name))]:
            if required.get(name[start:]) == tensor.shape:
                matches[name[:start]] += 1
    complete = [prefix for prefix, count in matches.items() if count == len(required)]
    current = [prefix for prefix in complete if not AVERAGED.search(prefix)]
    if len(current or complete) > 1:
        raise UserError(
            f"{key}: the file holds several networks that fit, under {', '.join(map(repr, sorted(complete)))}; save "
            "the one to start from in a file of its own"
        )
    if complete:
        return (current or complete)[0]
    return max(matches, key=lambda prefix: (matches[prefix], -len(prefix)), default="")


def _problem(tensor: Tensor, own: Tensor) -> str | None:
    """Return why a tensor cannot take the place of the network's own."""
    if tensor.shape != own.shape:
        return f"has shape {tuple(tensor.shape)}, not {tuple(own.shape)}"
    if tensor.is_meta or tensor.layout != torch.strided:
        return "has no values" if tensor.is_meta else "is not dense"
    if own.is_floating_point() and not tensor.is_floating_point():
        return f"is {str(tensor.dtype).removeprefix('torch.')}, not {str(own.dtype).removeprefix('torch.')}"
    return None


def _is_finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def _head_notes(inside: Mapping[str, Tensor], unused: Unused) -> list[str]:
    sizes = [len(tensor) for name, tensor in inside.items() if unused.is_head(name) and tensor.ndim]
    return [f"last layer ({sizes[-1]} classes) ignored"] if sizes and sizes[-1] != unused.classes else []


def _refuse(key: str, problems: Sequence[str], without: str = "", hint: str = "") -> None:
    if problems:
        shown = list_first(problems, MAX_SHOWN, "; ")
        raise UserError(f"{key}: the weights{without} do not fit the network: {shown}{hint}")


def _load(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy checked tensors; the network's own state dict has the versions that its modules ask for."""
    state = module.state_dict()
    if not any(tensor.is_meta for tensor in state.values()):
        state.update(tensors)
        module.load_state_dict(state)
