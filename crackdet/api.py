"""What `import crackdet` offers. Heavy packages are imported by the call that needs them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from crackdet.backbone.normalization import IMAGENET_MEAN, IMAGENET_STD

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
    """The backbone that `crackdet export` wrote into a folder, as torchvision's FasterRCNN takes it.

    Args:
        folder: what `--to` named; the run store is not needed.
        pyramid: puts a feature pyramid of 256 channels, with random weights, on the last four stages.
        trainable_stages: so many of the last stages stay trainable; None: all of them.
        freeze_batchnorm: keeps the statistics and the scale of batch normalisation, as torchvision's detectors do.
        image_mean: by what the images that arrive are normalised, per RGB channel; the detector must be given the
            same, and has the same default.
        image_std: likewise.
        untrained: the same network with random weights, to compare with.
        trust: imports the user's class that the folder names.

    Raises:
        UserError: where the folder holds no export, or a damaged one.
    """
    from crackdet.backbone.load import load

    return load(Path(folder), pyramid, trainable_stages, freeze_batchnorm, image_mean, image_std, untrained, trust)


def load_runs(store: str | Path = "outputs/runs") -> "Summary":
    """All runs of a run store (or of a sweep's folder), ranked; each has its settings and its result.

    Raises:
        UserError: where there is no such folder.
    """
    from crackdet.analysis.ranking import summarize

    return summarize(Path(store))


def load_run(name: str, store: str | Path = "outputs/runs", trust: bool = False) -> "LoadedRun":
    """A run: its settings, history and result, the trained classifier, and its predictions on images.

    `name` is a run id or the beginning of one, `best`, or `best:FOLDER` of a sweep. A network of somebody's own is
    imported only with `trust`.

    Raises:
        UserError: where no run, or more than one, is meant.
    """
    from crackdet.inference.loaded_run import load_run

    return load_run(name, store, trust)
