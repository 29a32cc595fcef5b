"""The device of a run, and the number format on it."""

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

from crackdet.config.schema import Config, Runtime
from crackdet.core.errors import UserError
from crackdet.models.factory import depthwise_share
from crackdet.models.torch_internals import has_triton

log = logging.getLogger(__name__)

# Attention kernels of a GPU with nondeterministic gradients; the plain kernel, which stays enabled, is deterministic.
ATTENTION = ("flash", "mem_efficient", "cudnn")
MIN_DEPTHWISE_SHARE = 0.05  # of the floating-point operations, from which a CPU gains nothing from bf16
CUDA_VARIABLES = {  # read at the first use of the GPU
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # makes cuBLAS deterministic
    # a better heuristic for cuDNN's kernels, deterministic too: custom at 64x64 takes 0.69 ms a step instead of 0.84
    "TORCH_CUDNN_USE_HEURISTIC_MODE_B": "1",
}


def choose_device(runtime: Runtime) -> torch.device:
    """Return `runtime.device`; `auto` is CUDA, else MPS, else the CPU. Sets torch's number of threads.

    Raises:
        UserError: If this machine has no such device.
    """
    if runtime.num_threads is not None:
        torch.set_num_threads(runtime.num_threads)
    return find_device(runtime.device, "runtime.device=")


def find_device(name: str, option: str) -> torch.device:
    """Return the device of this name, `auto` as in `choose_device`; `option` names it in the error message.

    Raises:
        UserError: If this machine has no such device.
    """
    for variable, value in CUDA_VARIABLES.items():
        os.environ.setdefault(variable, value)
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda", "mps"):
            raise NotImplementedError(f"crackdet does not train on {device.type}")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(
            f"{option}{name}: cannot be used here ({str(error).splitlines()[0]}); "
            "must be auto, cpu, cuda, cuda:N or mps"
        ) from None
    return device


def gpu_name(device: torch.device) -> str | None:
    """Return the model of a GPU, such as `NVIDIA H100 PCIe`; None for another device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else None


def gpu_is_unusable() -> bool:
    """Return whether the GPU has failed for the rest of this process, as after an illegal memory access."""
    try:
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.synchronize()
    except RuntimeError:
        return True
    return False


@contextmanager
def preserve_num_threads() -> Iterator[None]:
    """Restore torch's number of threads after the block: a resumed run sets the number that it began with."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def make_deterministic() -> None:
    """Make results reproducible on the same machine; torch warns once of an operation that it cannot make so."""
    torch.set_deterministic_debug_mode("warn")  # `use_deterministic_algorithms` would import the compiler
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # only costs time
    torch.backends.cudnn.benchmark = False
    for kernel in ATTENTION:
        getattr(torch.backends.cuda, f"enable_{kernel}_sdp")(False)


@contextmanager
def deterministic() -> Iterator[None]:
    """Apply `make_deterministic` to a block only, in a process that may not be ours."""
    mode, benchmark = torch.get_deterministic_debug_mode(), torch.backends.cudnn.benchmark
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    were_enabled = {kernel: getattr(torch.backends.cuda, f"{kernel}_sdp_enabled")() for kernel in ATTENTION}
    make_deterministic()
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(mode)
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark = benchmark
        for kernel, was_enabled in were_enabled.items():
            getattr(torch.backends.cuda, f"enable_{kernel}_sdp")(was_enabled)


def resolve_precision(config: Config, device: torch.device) -> str:
    """Return the number format of a run, fp32 or bf16.

    `auto` is bf16 if the device computes in it. On a CPU, networks with many depthwise convolutions use fp32, since
    these gain nothing from bf16 there (measured in docs/performance.md). The rule times nothing, so that it always
    gives the same format.
    """
    setting = config.trainer.precision
    if setting != "auto":
        return setting
    if device.type == "cuda":
        with torch.cuda.device(device):  # several GPUs may differ
            has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
        has_bf16 = device.type == "cpu" and any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16"))
        has_bf16 = has_bf16 and depthwise_share(config) < MIN_DEPTHWISE_SHARE
    return "bf16" if has_bf16 else "fp32"


def should_compile(config: Config, device: torch.device) -> bool:
    """Return whether to compile the network: if `trainer.compile` is set and a compiler is installed."""
    if not config.trainer.compile:
        return False
    variable, *usual = ("CC", "gcc", "clang") if device.type == "cuda" else ("CXX", "g++", "clang++")
    if not any(shutil.which(compiler) for compiler in (os.environ.get(variable, ""), *usual) if compiler):
        language = "C" if device.type == "cuda" else "C++"
        log.warning("trainer.compile=true is ignored: no %s compiler found (install %s)", language, " or ".join(usual))
        return False
    if device.type == "cuda" and not has_triton():
        log.warning("trainer.compile=true is ignored: Triton is not installed, or does not support this GPU")
        return False
    return True


def autocast(precision: str, device: torch.device) -> AbstractContextManager[None]:
    """Compute in a number format; converted weights are cached until the outermost block ends."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
