"""A finished run -> a folder that stands for itself: weights, description, README, and copies in other formats."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import nn

from crackdet.backbone.description import WEIGHTS, Description
from crackdet.backbone.extraction import check_share, extract_body, probe_maps
from crackdet.backbone.formats import check_onnx, write_copies
from crackdet.backbone.network import Backbone
from crackdet.backbone.readme import readme
from crackdet.config.schema import Config, Model, to_dict
from crackdet.core.errors import UserError
from crackdet.core.files import file_digest, read_json, write_text
from crackdet.inference.loaded_run import stored_config
from crackdet.models import classifier, factory
from crackdet.store.integrity import verify_weights
from crackdet.store.run import Run

TRAINING_ONLY = {item.name for item in fields(Model)} - {"name"}  # settings that do not name the network


def export(
    run: Run, to: Path, onnx: bool = False, torch_export: bool = False, licence: str | None = None, trust: bool = False
) -> Description:
    """Writes the backbone of a finished run into a new folder, whole or not at all.

    `license_of` is that of the initial weights, where they came from a file of the user's.

    Raises:
        UserError: where the run is not finished or has no weights, the network is none that a detector can use, the
            folder holds something already, or a copy is not possible.
    """
    if onnx:
        check_onnx()
    config = stored_config(run, trust)
    with _new_folder(to) as folder:
        extractor, mean, std = factory.load_trained_features(config.model, verify_weights(run))
        description, body = _describe(run, config, extractor.eval(), licence)
        description = replace(description, mean=mean or description.mean, std=std or description.std)
        state = {name: tensor.contiguous() for name, tensor in body.state_dict().items()}
        (folder / WEIGHTS).write_bytes(save(state))  # save_file would make it readable to its owner only
        backbone = Backbone(body, description)  # type: ignore[arg-type]
        description = replace(
            description,
            weights_sha256=file_digest(folder / WEIGHTS),
            copies=write_copies(backbone, folder, onnx, torch_export),
        )
        description.write(folder)
        write_text(folder / "README.md", readme(description, to.name))
    return description


def _describe(run: Run, config: Config, extractor: nn.Module, licence: str | None) -> tuple[Description, nn.Module]:
    """The description, still without normalisation, digest and copies; and the module that makes the maps."""
    model, result = config.model, run.snapshot().result or {}
    stages = classifier.stages(extractor, config.data.image_size)
    if not stages:
        raise UserError(f"{run.id}: {model.name} gives no map of any resolution, which is what a detector uses")
    body = extract_body(extractor, stages)
    check_share(body, extractor, config.data.image_size, model.name)
    maps, smallest = probe_maps(body, stages, model.name)
    known = read_json(run.identity_file).get("model", {})
    initial = known.get("weights")
    description = Description(
        run=run.id,
        architecture=_architecture(config),
        image_size=config.data.image_size,
        smallest_image=smallest,
        mean=[0.0] * 3,
        std=[1.0] * 3,
        stages=maps,
        accuracy=float(result["accuracy"]),
        valid_images=int(result["valid_images"]),
        initial_weights=initial,
        license=licence or factory.license_of(model, initial),
        weights_sha256="",
        source_sha256=known.get("_source_"),
        made_with={name: version(name) for name in ("crackdet", "torch", "torchvision")},
    )
    return description, body


def _architecture(config: Config) -> dict[str, Any]:
    model: dict[str, Any] = to_dict(config)["model"]
    return {key: value for key, value in model.items() if key not in TRAINING_ONLY}


@contextmanager
def _new_folder(to: Path) -> Iterator[Path]:
    """A neighbour to fill, which becomes the folder when the block ends well and vanishes when not."""
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise UserError(f"--to {to}: exists and is not empty; name a new folder")
    temporary = to.with_name(f".{to.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        temporary.replace(to)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
