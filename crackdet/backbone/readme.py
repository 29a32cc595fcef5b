"""The README of an exported backbone."""

from crackdet.backbone.description import DESCRIPTION, WEIGHTS, Description
from crackdet.core.console import sanitize


def readme(description: Description, folder: str) -> str:
    """Return the text of README.md in an exported folder."""
    size = description.image_size
    stages = "\n".join(f"| {stage.name} | {stage.channels} | {stage.stride} |" for stage in description.stages)
    exports = "".join(
        f"- {export.file}: images (N, 3, {'H, W' if export.any_size else f'{size}, {size}'}) in [0, 1] -> "
        f"{', '.join(export.outputs)}.\n  Its maps differ from the network's by at most {export.max_difference:.1g}.\n"
        for export in description.exports
    )
    name = description.architecture.get("_target_", description.architecture["name"])
    initial = description.initial_weights or "random"
    return sanitize(f"""# The backbone of {description.run}

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
""")
