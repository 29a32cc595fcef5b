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
from crackdet.backbone.extraction import check_flop_share, extract_body, probe_maps
from crackdet.backbone.formats import check_onnx, write_exports
from crackdet.backbone.network import Backbone
from crackdet.config.schema import Config, Model, to_dict
from crackdet.core.errors import UserError
from crackdet.core.files import file_digest, read_json, write_json, write_text
from crackdet.inference.loaded_run import stored_config
from crackdet.models import classifier, factory
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
        state = {name: tensor.contiguous() for name, tensor in backbone.body.state_dict().items()}
        (folder / WEIGHTS).write_bytes(save(state))  # save_file would make it readable by its owner only
        exports = write_exports(backbone, folder, onnx, torch_export)
        digest = file_digest(folder / WEIGHTS)
        description = replace(backbone.description, weights_sha256=digest, exports=exports)
        write_json(folder / DESCRIPTION, asdict(description))
        write_text(folder / "README.md", _readme(description, to.name))
    return description


def _load_backbone(run: Run, config: Config, license: str | None) -> Backbone:
    """Return the trained backbone of a run; its description lacks the digest of the weights and the exports."""
    extractor, mean, std = factory.load_trained_features(config.model, verify_weights(run))
    model, image_size, result = config.model, config.data.image_size, run.snapshot().result or {}
    stages = classifier.stages(extractor.eval(), image_size)
    if not stages:
        raise UserError(f"{run.id}: {model.name} has no feature maps, which a detector needs")
    body = extract_body(extractor, stages)
    check_flop_share(body, extractor, image_size, model.name)
    maps, smallest = probe_maps(body, stages, model.name)
    identity = read_json(run.identity_file).get("model", {})
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
        valid_images=int(result["valid_images"]),
        initial_weights=initial,
        license=license or (factory.architecture(model).license(initial) if initial else "random initial weights"),
        weights_sha256="",
        source_sha256=identity.get("_source_"),
        made_with={name: version(name) for name in ("crackdet", "torch", "torchvision")},
    )
    return Backbone(body, description)


def _readme(description: Description, folder: str) -> str:
    size = description.image_size
    stages = "\n".join(f"| {stage.name} | {stage.channels} | {stage.stride} |" for stage in description.stages)
    exports = "".join(
        f"- {export.file}: images (N, 3, {'H, W' if export.any_size else f'{size}, {size}'}) in [0, 1] -> "
        f"{', '.join(export.outputs)}.\n  Its maps differ from the network's by at most {export.max_difference:.1g}.\n"
        for export in description.exports
    )
    name = description.architecture.get("_target_", description.architecture["name"])
    initial = description.initial_weights or "random"
    return f"""# The backbone of {description.run}

The feature extractor of a crack classifier: {name}, validation accuracy {description.accuracy:.4f}
on {description.valid_images} images of {size} x {size} pixels. Use it in a torchvision detector:

```python
import crackdet
from torchvision.models.detection import FasterRCNN

backbone = crackdet.load_backbone("{folder}")
detector = FasterRCNN(backbone, num_classes=2, rpn_anchor_generator=backbone.anchors())
```

| stage | channels | stride |
| --- | --- | --- |
{stages}

- The detector normalizes images, by default with ImageNet's mean and standard deviation, and the backbone expects
  images normalized this way. If you give the detector another `image_mean` or `image_std`, give the same to
  `load_backbone`.
- `load_backbone(..., pyramid=True)` adds a feature pyramid; `trainable_stages=0` freezes the stages.
- `backbone.features(regions)` turns regions cropped from images into feature vectors, as in the first R-CNN.
- {WEIGHTS} contains the weights, {DESCRIPTION} what is needed to load them. Loading executes no code from this
  folder.
{exports}- Initial weights: {initial}. License of the initial weights: {description.license}.
"""


@contextmanager
def _new_folder(to: Path) -> Iterator[Path]:
    """Yield a temporary neighbour that becomes the folder on success and is deleted on failure."""
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise UserError(f"--to {to}: exists and is not empty; give a new folder")
    temporary = to.with_name(f".{to.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        temporary.replace(to)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
