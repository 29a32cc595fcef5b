"""Weights from files: read without executing anything, loaded strictly."""

import pickle
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from crackdet.core.errors import UserError


def read_state_dict(path: Path, key: str = "model.weights") -> dict[str, Tensor]:
    """Return the state dict in a `.safetensors` or `.pth` file.

    Raises:
        UserError: If the file is missing, damaged, or contains anything but tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{key}={path}: there is no such file") from None
    except Exception as error:  # a damaged pickle raises anything: IndexError, KeyError, struct.error, ...
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        if isinstance(error, pickle.UnpicklingError | RuntimeError):  # torch's message recommends executing the file
            reason = "damaged, or not only tensors"
        raise UserError(
            f"{key}={path}: cannot be read as weights ({reason}); must be a state dict saved by "
            "safetensors or torch.save"
        ) from None
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    ):
        raise UserError(f"{key}={path}: not a state dict (tensors by name)")
    return content


def load_strict(module: nn.Module, state: dict[str, Tensor], key: str) -> None:
    """Load a state dict strictly; on the meta device, only check it.

    Raises:
        UserError: If names or shapes differ.
    """
    expected = module.state_dict()
    problems = [f"{name} is missing" for name in expected if name not in state]
    problems += [f"{name} is unknown" for name in state if name not in expected]
    problems += [
        f"{name} is {tuple(state[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise UserError(f"{key}: the weights do not fit the network: {'; '.join(problems[:3])}{more}")
    if not any(tensor.is_meta for tensor in expected.values()):
        module.load_state_dict(state)
