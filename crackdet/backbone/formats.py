"""The backbone in formats that other programs read, each compared with the network itself."""

import importlib.util
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from crackdet.backbone.description import Copy
from crackdet.backbone.network import Backbone
from crackdet.core.errors import UserError
from crackdet.data.synthetic import draw

TOLERANCE = 1e-4  # of the largest value of a map where that is above 1
ONNX = "backbone.onnx"
TORCH_EXPORT = "backbone.pt2"


class Maps(nn.Module):
    """Images (N, 3, H, W) in [0, 1] -> a map of each stage, finest first: the backbone without dictionaries."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.backbone.maps_of(images).values())


def check_onnx() -> None:
    """Raises UserError where a package that writing or checking ONNX needs is missing."""
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"--onnx: needs {', '.join(missing)}; uv pip install -e '.[onnx]'")


def write_copies(backbone: Backbone, folder: Path, onnx: bool, torch_export: bool) -> list[Copy]:
    """Writes what is wished, for any number of images of any size; of one size where a map has its channels last.

    That is how Swin's windows of attention are known: torch.export needs minutes to follow them for any size. What
    torch.export writes is of one size, too, where it does not take others.

    Raises:
        UserError: where torch cannot convert the network, or the copy computes something else.
    """
    if not onnx and not torch_export:
        return []
    maps = Maps(backbone).eval()
    names = [f"stride{stage.stride}" for stage in backbone.stages]
    names = [name if names.count(name) == 1 else f"{name}_{index}" for index, name in enumerate(names)]
    size = backbone.description.image_size
    any_size = not any(stage.channels_last for stage in backbone.stages)
    examples = [_photographs(2, size, size), _photographs(1, size, size)]
    if any_size:
        examples += [_photographs(2, size, size + 32), _photographs(3, size + 17, 2 * size)]
    # a map of one pixel would be taken for one of that size whatever the image
    traced = max(size, 2 * max(stage.stride for stage in backbone.stages)) if any_size else size
    program = _exported(maps, _photographs(2, traced, traced), any_size)
    copies = []
    if torch_export:
        every_size = any_size and _takes_all(program, examples)  # torch 2.11 guards the halving of a map
        shown = examples if every_size else examples[:2]
        saved = program if every_size == any_size else _exported(maps, examples[0], every_size)
        torch.export.save(saved, folder / TORCH_EXPORT)
        again = torch.export.load(folder / TORCH_EXPORT).module()
        copies.append(Copy(TORCH_EXPORT, names, every_size, _difference(maps, again, shown, "--torch-export")))
    if onnx:
        _write_onnx(program, examples[0], names, folder / ONNX)
        copies.append(Copy(ONNX, names, any_size, _difference(maps, _onnx_session(folder / ONNX), examples, "--onnx")))
    return copies


def _photographs(count: int, height: int, width: int) -> Tensor:
    """Drawn concrete: on noise, activations are so large that their rounding errors say nothing."""
    side = max(height, width, 24)
    drawings = [
        draw(index, seed=0, image_size=side, crack_fraction=0.5, hard_negatives=0.5, difficulty=0.4).image
        for index in range(count)
    ]
    return torch.from_numpy(np.stack(drawings)).permute(0, 3, 1, 2)[:, :, :height, :width].contiguous() / 255


def _exported(maps: nn.Module, images: Tensor, any_size: bool) -> ExportedProgram:
    sizes = {0: Dim.AUTO} | ({2: Dim.AUTO, 3: Dim.AUTO} if any_size else {})
    try:
        with _quiet(), torch.no_grad():
            return torch.export.export(maps, (images,), dynamic_shapes=(sizes,))
    except Exception as error:  # torch.export has no exception of its own
        raise UserError(f"--onnx, --torch-export: torch.export cannot follow this network ({_first(error)})") from None


def _takes_all(program: ExportedProgram, examples: Sequence[Tensor]) -> bool:
    """Whether none of these sizes is refused by guards that torch has put in."""
    module = program.module()
    try:
        with torch.no_grad():
            for images in examples:
                module(images)
    except (AssertionError, RuntimeError):
        return False
    return True


def _write_onnx(program: ExportedProgram, images: Tensor, names: list[str], file: Path) -> None:
    try:
        with _quiet():
            torch.onnx.export(
                program, (images,), file, dynamo=True, input_names=["images"], output_names=names,
                external_data=False, verbose=False,
            )  # fmt: skip
    except Exception as error:  # of torch, onnxscript or onnx
        raise UserError(f"--onnx: torch cannot write this network as ONNX ({_first(error)})") from None


def _onnx_session(file: Path) -> Callable[[Tensor], list[Tensor]]:
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return lambda images: [torch.from_numpy(found) for found in session.run(None, {"images": images.numpy()})]


def _difference(
    maps: nn.Module, other: Callable[[Tensor], Sequence[Tensor]], examples: Sequence[Tensor], option: str
) -> float:
    """The largest of any value of any map."""
    largest = 0.0
    with torch.no_grad():
        for images in examples:
            for own, copied in zip(maps(images), other(images), strict=True):
                difference = float((own - copied).abs().max())
                if own.shape != copied.shape or not difference <= TOLERANCE * max(1.0, float(own.abs().max())):
                    raise UserError(
                        f"{option}: its maps differ from the network's by {difference:.2g}, more than {TOLERANCE}; "
                        "the copy is not to be trusted and was not kept"
                    )
                largest = max(largest, difference)
    return largest


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch's exporters have to say to their developers."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _first(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
