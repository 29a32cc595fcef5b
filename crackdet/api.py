"""What `import crackdet` offers; heavy packages are imported by the function that needs them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from crackdet.backbone.options import IMAGENET_MEAN, IMAGENET_STD, LoadOptions

if TYPE_CHECKING:
    from crackdet.analysis.ranking import Summary
    from crackdet.backbone.network import Backbone
    from crackdet.inference.loaded_run import LoadedRun


def load_backbone(
    folder: str | Path,
    *,
    pyramid: bool = False,
    trainable_stages: int | None = None,
    freeze_batchnorm: bool = True,
    image_mean: Sequence[float] = IMAGENET_MEAN,
    image_std: Sequence[float] = IMAGENET_STD,
    untrained: bool = False,
    trust: bool = False,
) -> "Backbone":
    """Load the backbone that `crackdet export` wrote into a folder, for torchvision's FasterRCNN.

    Args:
        folder: The folder given as `--to`. The run store is not needed.
        pyramid: Add a feature pyramid of 256 channels, with random weights, to the last four stages.
        trainable_stages: Number of trainable stages, counted from the last; None trains all.
        freeze_batchnorm: Freeze the statistics and affine parameters of batch normalization, as torchvision does.
        image_mean: Per RGB channel, what the incoming images are normalized with. Give the detector the same value;
            the defaults are equal.
        image_std: Likewise.
        untrained: Keep random weights, as a baseline.
        trust: Import the user's class that the folder names.

    Raises:
        UserError: If the folder contains no export, or a corrupt one.
    """
    from crackdet.backbone.network import load

    options = LoadOptions(pyramid, trainable_stages, freeze_batchnorm, image_mean, image_std, untrained)
    return load(Path(folder), options, trust)


def load_runs(store: str | Path = "outputs/runs") -> "Summary":
    """Return the ranked runs of a run store or of a sweep's folder, each with its settings and result.

    Raises:
        UserError: If there is no such folder.
    """
    from crackdet.analysis.ranking import summarize

    return summarize(Path(store))


def load_run(name: str, store: str | Path = "outputs/runs", trust: bool = False) -> "LoadedRun":
    """Return one run: settings, history, result, trained classifier, and predictions on images.

    Args:
        name: A run id or a unique prefix of one, `best`, or `best:FOLDER` for the best run of a sweep.
        trust: Import the user's class that the run names.

    Raises:
        UserError: If no run matches, or more than one.
    """
    from crackdet.inference.loaded_run import load_run

    return load_run(name, store, trust)
