"""The device of a run, and the number format on it."""

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch.utils._triton import has_triton

from crackdet.config.schema import Config, Runtime
from crackdet.core.errors import UserError
from crackdet.models.factory import depthwise_share

log = logging.getLogger(__name__)

# Kernels of attention on a GPU whose gradients are not the same twice; the plain one, which is left, is.
ATTENTION: tuple[tuple[Callable[[], bool], Callable[[bool], None]], ...] = (
    (torch.backends.cuda.flash_sdp_enabled, torch.backends.cuda.enable_flash_sdp),
    (torch.backends.cuda.mem_efficient_sdp_enabled, torch.backends.cuda.enable_mem_efficient_sdp),
    (torch.backends.cuda.cudnn_sdp_enabled, torch.backends.cuda.enable_cudnn_sdp),
)
MUCH = 0.05  # of the floating-point operations
CUDA_VARIABLES = {  # read when they are used first
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # cuBLAS then gives the same numbers twice
    # cuDNN then chooses its kernels by a better rule, still without timing any: custom at 64x64 takes 0.69 ms a step
    # instead of 0.84
    "TORCH_CUDNN_USE_HEURISTIC_MODE_B": "1",
}


def choose_device(runtime: Runtime) -> torch.device:
    """`runtime.device`, where `auto` is CUDA, else MPS, else the CPU; sets torch's threads as wished.

    Raises:
        UserError: where this machine has no such device.
    """
    if runtime.num_threads is not None:
        torch.set_num_threads(runtime.num_threads)
    return find_device(runtime.device, "runtime.device=")


def find_device(name: str, option: str) -> torch.device:
    """The device of this name, `auto` as above; `option` is what the user has given it as.

    Raises:
        UserError: where this machine has no such device.
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
    """`NVIDIA H100 PCIe`: what times depend on; None for another device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else None


def gpu_is_unusable() -> bool:
    """Whether the GPU of this process has failed for good, as after an illegal access to its memory."""
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return False
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return True
    return False


@contextmanager
def preserve_num_threads() -> Iterator[None]:
    """Leaves torch with as many threads as it had: a run that goes on takes those that it began with, for itself."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def make_deterministic() -> None:
    """The same numbers twice on the same machine; where an operation has no such form torch says so once."""
    torch.set_deterministic_debug_mode("warn")  # as `use_deterministic_algorithms`, which imports the compiler
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # only costs time
    torch.backends.cudnn.benchmark = False
    for _, allow in ATTENTION:
        allow(False)


@contextmanager
def deterministic() -> Iterator[None]:
    """As `make_deterministic`, for the time of a block: the process may be anybody's."""
    before = (
        torch.get_deterministic_debug_mode(),
        torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark,
    )
    allowed = [asked() for asked, _ in ATTENTION]
    make_deterministic()
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before[0])
        torch.utils.deterministic.fill_uninitialized_memory = before[1]  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark = before[2]
        for (_, allow), was in zip(ATTENTION, allowed, strict=True):
            allow(was)


def precision_of(config: Config, device: torch.device) -> str:
    """The number format of a run; `auto` is a fixed rule, never a timing, so that a run is the same twice.

    bf16 on a device that computes in it, else fp32. On a CPU a network that computes much in depthwise convolutions
    stays in fp32: those gain nothing from bf16 there (docs/performance.md has the measurements).
    """
    setting = config.trainer.precision
    if setting != "auto":
        return setting
    if device.type == "cuda":
        with torch.cuda.device(device):  # of several, which may differ
            native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
        native = device.type == "cpu" and any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16"))
        native = native and depthwise_share(config) < MUCH
    return "bf16" if native else "fp32"


def compiles(config: Config, device: torch.device) -> bool:
    """Whether the network is compiled: where it is wished and can be."""
    if not config.trainer.compile:
        return False
    variable, *usual = ("CC", "gcc", "clang") if device.type == "cuda" else ("CXX", "g++", "clang++")
    if not any(shutil.which(compiler) for compiler in (os.environ.get(variable, ""), *usual) if compiler):
        language = "C" if device.type == "cuda" else "C++"
        log.warning("trainer.compile=true is left out: there is no %s compiler (one of %s)", language, ", ".join(usual))
        return False
    if device.type == "cuda" and not has_triton():
        log.warning("trainer.compile=true is left out: Triton is not there, or does not know this GPU")
        return False
    return True


def autocast(precision: str, device: torch.device) -> AbstractContextManager[None]:
    """Computes in a number format; weights that were converted to it are kept to the end of the outermost block."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
