"""Export the backbone of a finished run to a self-contained folder: weights, description, README, other formats."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from importlib.metadata import version
from pathlib import Path

from safetensors.torch import save

from crackdet.backbone.description import DESCRIPTION, WEIGHTS, Description
from crackdet.backbone.extraction import check_flop_share, extract_body, find_size_multiple, probe_maps
from crackdet.backbone.formats import write_exports
from crackdet.backbone.network import Backbone
from crackdet.backbone.options import check_onnx
from crackdet.backbone.readme import readme
from crackdet.config.schema import Config, Model, TimmModel, to_dict
from crackdet.core.errors import UserError
from crackdet.core.files import write_json, write_text
from crackdet.core.output_paths import check_new_folder
from crackdet.core.reading import file_digest
from crackdet.inference.loaded_run import stored_config
from crackdet.models import classifier, factory
from crackdet.models.costs import initial_license
from crackdet.models.intermediates import Intermediates
from crackdet.models.weights import unshared
from crackdet.store.identity import read_identity
from crackdet.store.integrity import verify_weights
from crackdet.store.run import Run

TRAINING_ONLY = {item.name for item in fields(Model)} - {"name"}  # settings that do not define the network


def export(
    run: Run, to: Path, onnx: bool = False, torch_export: bool = False, license: str | None = None, trust: bool = False
) -> Description:
    """Write the backbone of a finished run into a new folder, atomically, with exports to other formats on request.

    `license` is the license of the initial weights, if they were a file of the user's.

    Raises:
        UserError: If the run is not finished or has no weights, the network cannot serve as a backbone, the folder is
            not empty, or the network cannot be converted.
    """
    if onnx:
        check_onnx()
    config = stored_config(run, trust)
    with _new_folder(to) as folder:
        backbone = _load_backbone(run, config, license)
        state = unshared(backbone.body.state_dict())
        (folder / WEIGHTS).write_bytes(save(state))  # save_file would make it readable by its owner only
        exports = write_exports(backbone, folder, onnx, torch_export)
        digest = file_digest(folder / WEIGHTS)
        description = replace(backbone.description, weights_sha256=digest, exports=exports)
        write_json(folder / DESCRIPTION, asdict(description))
        write_text(folder / "README.md", readme(description, to.name))
    return description


def _load_backbone(run: Run, config: Config, license: str | None) -> Backbone:
    """Return the trained backbone of a run; its description lacks the digest of the weights and the exports."""
    extractor, mean, std = factory.load_trained_features(config.model, verify_weights(run))
    model, image_size, result = config.model, config.data.image_size, run.snapshot().result or {}
    stages = classifier.stages(extractor.eval(), image_size)
    if not stages:
        raise UserError(f"{run.id}: {model.name} has no feature maps, which a detector needs")
    body = extract_body(extractor, stages)
    multiple = 1
    if isinstance(body, Intermediates):
        body.multiple = multiple = find_size_multiple(body, stages)
    else:
        check_flop_share(body, extractor, image_size, model.name)
    maps, smallest = probe_maps(body, stages, model.name)
    identity = read_identity(run).get("model", {})
    initial = identity.get("weights")
    description = Description(
        run=run.id,
        architecture={key: value for key, value in to_dict(config)["model"].items() if key not in TRAINING_ONLY},
        image_size=image_size,
        smallest_image=smallest,
        mean=mean or [0.0] * 3,
        std=std or [1.0] * 3,
        stages=maps,
        accuracy=float(result["accuracy"]),
        valid_images=int(result.get("valid_images") or 0),
        initial_weights=initial,
        license=license or initial_license(model, initial),
        weights_sha256="",
        source_sha256=identity.get("_source_"),
        made_with={name: version(name) for name in ("crackdet", "torch", "torchvision", *_library(model))},
        size_multiple=multiple,
    )
    return Backbone(body, description)


def _library(model: Model) -> list[str]:
    return [model.library] if isinstance(model, TimmModel) else []


@contextmanager
def _new_folder(to: Path) -> Iterator[Path]:
    """Yield a temporary neighbour that becomes the folder on success and is deleted on failure."""
    check_new_folder(to)
    temporary = to.with_name(f".{to.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        temporary.replace(to)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
