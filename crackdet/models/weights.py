"""Weights from files: read without executing anything, loaded strictly."""

import pickle
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from crackdet.core.errors import UserError


def read(path: Path, key: str = "model.weights") -> dict[str, Tensor]:
    """The state dict in a `.safetensors` or `.pth` file.

    Raises:
        UserError: where the file is missing, damaged, or more than tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{key}={path}: there is no such file") from None
    except Exception as error:  # a damaged pickle fails in any way: IndexError, KeyError, struct.error, ...
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        if isinstance(error, pickle.UnpicklingError | RuntimeError):  # torch's own text advises to execute the file
            reason = "it is damaged, or more than tensors"
        raise UserError(
            f"{key}={path}: cannot be read as weights ({reason}); a state dict saved by "
            "safetensors or torch.save is needed"
        ) from None
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    ):
        raise UserError(f"{key}={path}: is no state dict (tensors by name)")
    return content


def load(module: nn.Module, state: dict[str, Tensor], key: str) -> None:
    """Loads a state dict that must fit to the letter.

    Raises:
        UserError: where names or shapes differ.
    """
    own = module.state_dict()
    problems = [f"{name} is missing" for name in own if name not in state]
    problems += [f"{name} is unknown" for name in state if name not in own]
    problems += [
        f"{name} is {tuple(state[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in own.items()
        if name in state and state[name].shape != tensor.shape
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise UserError(f"{key}: the weights do not fit the network: {'; '.join(problems[:3])}{more}")
    if not any(tensor.is_meta for tensor in own.values()):  # on the meta device the comparison was all
        module.load_state_dict(state)
