"""What an exported folder says of itself."""

from crackdet.backbone.description import DESCRIPTION, WEIGHTS, Description

TEXT = """# The backbone of {run}

The feature extractor of a crack classifier: {name}, validation accuracy {accuracy:.4f} on {valid_images} images of
{image_size} x {image_size} pixels. In a detector of torchvision:

```python
import crackdet
from torchvision.models.detection import FasterRCNN

backbone = crackdet.load_backbone("{folder}")
detector = FasterRCNN(backbone, num_classes=2, rpn_anchor_generator=backbone.anchors())
```

| stage | channels | stride |
| --- | --- | --- |
{stages}

- The detector normalises images, by ImageNet's values where nothing else is said, and the backbone takes them as they
  come from there. Other values (`image_mean`, `image_std`) must be given to both.
- `load_backbone(..., pyramid=True)` puts a feature pyramid on the stages; `trainable_stages=0` freezes them.
- `backbone.features(regions)` turns regions cut out of images into vectors, as the first R-CNN wants them.
- {weights}: weights. {description}: how they are to be used. Nothing in this folder is executed.
{copies}- Initial weights: {initial}. Licence of the initial weights: {licence}.
"""


def readme(description: Description, folder: str) -> str:
    """The README of an exported folder."""
    stages = "\n".join(f"| {stage.name} | {stage.channels} | {stage.stride} |" for stage in description.stages)
    size = description.image_size
    copies = "".join(
        f"- {copy.file}: images (N, 3, {'H, W' if copy.any_size else f'{size}, {size}'}) in [0, 1] -> "
        f"{', '.join(copy.outputs)}.\n  Its maps differ from the network's by {copy.max_difference:.1g} at most.\n"
        for copy in description.copies
    )
    return TEXT.format(
        run=description.run,
        name=description.architecture.get("_target_", description.architecture["name"]),
        accuracy=description.accuracy,
        valid_images=description.valid_images,
        image_size=description.image_size,
        folder=folder,
        stages=stages,
        weights=WEIGHTS,
        description=DESCRIPTION,
        copies=copies,
        initial=description.initial_weights or "none",
        license=description.license,
    )
