"""Export a backbone to ONNX and torch.export, and compare each file with the network."""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from crackdet.backbone.description import Export
from crackdet.backbone.network import Backbone
from crackdet.core.errors import UserError, first_line
from crackdet.data.synthetic import render
from crackdet.models.intermediates import Intermediates

TOLERANCE = 1e-4  # relative to the largest value of a map if that is above 1
ONNX = "backbone.onnx"
TORCH_EXPORT = "backbone.pt2"

Maps = Callable[[Tensor], Sequence[Tensor]]


class MapsModule(nn.Module):
    """A backbone that returns its maps as a tuple, finest first: images (N, 3, H, W) in [0, 1]."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.backbone.maps_of_pixels(images).values())


def write_exports(backbone: Backbone, folder: Path, onnx: bool, torch_export: bool) -> list[Export]:
    """Write the requested formats, for any number of images of any size if possible.

    Networks with attention or channels-last maps are exported for the training size only: torch.export takes minutes to
    trace Swin's attention windows for any size. A torch.export file is also limited to it if torch adds guards on the
    size.

    Raises:
        UserError: If torch cannot convert the network, or the converted one computes something else.
    """
    if not onnx and not torch_export:
        return []
    maps = MapsModule(backbone).eval()
    names = [f"stride{stage.stride}" for stage in backbone.stages]
    names = [name if names.count(name) == 1 else f"{name}_{index}" for index, name in enumerate(names)]
    size = backbone.description.image_size
    any_size = not any(stage.channels_last for stage in backbone.stages) and not _has_attention(backbone.body)
    examples = [_example_images(2, size, size), _example_images(1, size, size)]
    if any_size:
        examples += [_example_images(2, size, size + 32), _example_images(3, size + 17, 2 * size)]
    # a map that is one pixel in the traced images would be exported with that fixed size
    traced = max(size, 2 * max(stage.stride for stage in backbone.stages)) if any_size else size
    program = _torch_export(maps, _example_images(2, traced, traced), any_size)
    exports = []
    if torch_export:
        accepts_all = any_size and _accepts_all(program, examples)  # torch 2.11 adds guards when a map is halved
        saved = program if accepts_all == any_size else _torch_export(maps, examples[0], accepts_all)
        torch.export.save(saved, folder / TORCH_EXPORT)
        loaded = torch.export.load(folder / TORCH_EXPORT).module()
        difference = _max_difference(maps, loaded, examples if accepts_all else examples[:2], "--torch-export")
        exports.append(Export(TORCH_EXPORT, names, accepts_all, difference))
    if onnx:
        import onnxruntime

        _write_onnx(program, examples[0], names, folder / ONNX)
        session = onnxruntime.InferenceSession(folder / ONNX, providers=["CPUExecutionProvider"])

        def run_session(images: Tensor) -> list[Tensor]:
            return [torch.from_numpy(output) for output in session.run(None, {"images": images.numpy()})]

        difference = _max_difference(maps, run_session, examples, "--onnx")
        exports.append(Export(ONNX, names, any_size, difference))
    return exports


def _has_attention(body: nn.Module) -> bool:
    """Return whether a body depends on the size of its images: timm's transformers, or images that are padded."""
    if not isinstance(body, Intermediates):
        return False
    return body.multiple > 1 or any("attention" in type(module).__name__.lower() for module in body.modules())


def _example_images(count: int, height: int, width: int) -> Tensor:
    """Return synthetic images; on noise, large activations would hide rounding errors."""
    side = max(height, width, 24)
    images = [
        render(index, seed=0, image_size=side, crack_fraction=0.5, hard_negatives=0.5, difficulty=0.4).image
        for index in range(count)
    ]
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)[:, :, :height, :width].contiguous() / 255


def _torch_export(maps: nn.Module, images: Tensor, any_size: bool) -> ExportedProgram:
    sizes = {0: Dim.AUTO} | ({2: Dim.AUTO, 3: Dim.AUTO} if any_size else {})
    try:
        with _silenced_exporters(), torch.no_grad():
            return torch.export.export(maps, (images,), dynamic_shapes=(sizes,))
    except Exception as error:  # torch.export has no exception type of its own
        raise UserError(
            f"--onnx, --torch-export: torch.export cannot trace this network ({first_line(error)})"
        ) from None


def _accepts_all(program: ExportedProgram, examples: Sequence[Tensor]) -> bool:
    """Return whether no guard of the exported program rejects the size of an example."""
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
        with _silenced_exporters():
            torch.onnx.export(
                program, (images,), file, dynamo=True, input_names=["images"], output_names=names,
                external_data=False, verbose=False,
            )  # fmt: skip
    except Exception as error:  # from torch, onnxscript or onnx
        raise UserError(f"--onnx: torch cannot convert this network to ONNX ({first_line(error)})") from None


@torch.no_grad()
def _max_difference(maps: Maps, exported: Maps, examples: Sequence[Tensor], option: str) -> float:
    """Return the largest difference of any value of any map; raise UserError if it or a shape is wrong."""
    largest = 0.0
    for images in examples:
        for expected, actual in zip(maps(images), exported(images), strict=True):
            if actual.shape != expected.shape:
                shapes = f"shape {tuple(actual.shape)} instead of {tuple(expected.shape)}"
                raise UserError(f"{option}: a map has {shapes}; nothing was exported")
            difference = float((expected - actual).abs().max())
            limit = TOLERANCE * max(1.0, float(expected.abs().max()))
            if not difference <= limit:
                raise UserError(
                    f"{option}: its maps differ from the network's by {difference:.2g}, more than {limit:.2g}; "
                    "nothing was exported"
                )
            largest = max(largest, difference)
    return largest


@contextmanager
def _silenced_exporters() -> Iterator[None]:
    """Suppress warnings that torch's exporters address to their developers."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(disabled)
