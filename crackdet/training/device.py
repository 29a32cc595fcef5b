"""The device of a run, and the number format on it."""

from contextlib import AbstractContextManager

import torch

from crackdet.errors import UserError
from crackdet.schema import Runtime


def choose_device(runtime: Runtime) -> torch.device:
    """`runtime.device`, where `auto` is CUDA, else MPS, else the CPU; sets torch's threads as wished.

    Raises:
        UserError: where this machine has no such device.
    """
    if runtime.threads is not None:
        torch.set_num_threads(runtime.threads)
    if runtime.device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(runtime.device)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(
            f"runtime.device={runtime.device}: cannot be used here ({str(error).splitlines()[0]}); "
            "must be auto, cpu, cuda, cuda:N or mps"
        ) from None
    return device


def make_deterministic() -> None:
    """The same numbers twice on the same machine; where an operation has no such form torch says so once."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # only costs time
    torch.backends.cudnn.benchmark = False


def precision_of(setting: str, device: torch.device) -> str:
    """`auto` by a fixed rule, never by a timing: bf16 on a device that computes in it, else fp32."""
    if setting != "auto":
        return setting
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
        native = device.type == "cpu" and any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16"))
    return "bf16" if native else "fp32"


def autocast(precision: str, device: torch.device) -> AbstractContextManager[None]:
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
