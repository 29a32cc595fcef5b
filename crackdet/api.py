"""What `import crackdet` offers; heavy packages are imported by the function that needs them."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from crackdet.backbone.options import IMAGENET_MEAN, IMAGENET_STD, LoadOptions
from crackdet.core.errors import UserError
from crackdet.core.files import expand_home

if TYPE_CHECKING:
    from crackdet.analysis.ranking import Summary
    from crackdet.backbone.network import Backbone
    from crackdet.inference.loaded_run import LoadedRun


def load_backbone(
    folder: str | Path,
    *,
    store: str | Path = "outputs/runs",
    pyramid: bool = False,
    trainable_stages: int | None = None,
    freeze_batchnorm: bool = True,
    image_mean: Sequence[float] = IMAGENET_MEAN,
    image_std: Sequence[float] = IMAGENET_STD,
    untrained: bool = False,
    trust: bool = False,
) -> "Backbone":
    """Load a backbone for torchvision's FasterRCNN: from a folder that `crackdet export` wrote, or of a run.

    Args:
        folder: The folder given as `--to`, for which the run store is not needed; or the name of a run, as in
            `load_run`.
        store: The run store, or the folder of a sweep; only for the name of a run.
        pyramid: Add a feature pyramid of 256 channels, with random weights, to the last four stages.
        trainable_stages: Number of trainable stages, counted from the last; None trains all.
        freeze_batchnorm: Freeze the statistics and affine parameters of batch normalization, as torchvision does.
        image_mean: Per RGB channel, what the incoming images are normalized with. Give the detector the same value;
            the defaults are equal.
        image_std: Likewise.
        untrained: Keep random weights, as a baseline.
        trust: Import the user's class that the folder names.

    Raises:
        UserError: If the folder contains no export, or a corrupt one; if there is no such run, or it cannot be
            exported.
    """
    options = LoadOptions(pyramid, trainable_stages, freeze_batchnorm, image_mean, image_std, untrained)
    path, run = expand_home(folder), None
    if not path.is_dir() or (path / "identity.json").is_file():  # the path is not that of an exported backbone
        try:
            run = load_run(str(folder), store, trust).run
        except UserError as error:
            raise UserError(
                f"{folder}: is neither a folder that crackdet export RUN --to FOLDER wrote, nor a run ({error})"
            ) from None
    from crackdet.backbone.network import load

    if run is None:
        return load(path, options, trust)
    from crackdet.backbone.export import export

    with TemporaryDirectory() as temporary:
        exported = Path(temporary) / "backbone"
        export(run, exported, trust=trust)
        return load(exported, options, trust)


def load_runs(store: str | Path = "outputs/runs") -> "Summary":
    """Return the ranked runs of a run store or of a sweep's folder, each with its settings and result.

    `print` shows them as a table, and a notebook as well.

    Raises:
        UserError: If there is no such folder.
    """
    from crackdet.analysis.ranking import summarize

    return summarize(expand_home(store))


def load_run(name: str, store: str | Path = "outputs/runs", trust: bool = False) -> "LoadedRun":
    """Return one run: settings, history, result, trained classifier, and predictions on images.

    Args:
        name: A run id or a unique prefix of one; `best`, the best run of the newest sweep; `best:FOLDER`, that of a
            sweep's folder or of another store; `last`, the run that finished last; or the path of a run directory.
        store: The run store, or the folder of a sweep.
        trust: Import the user's class that the run names.

    Raises:
        UserError: If no run matches, or more than one.
    """
    from crackdet.inference.loaded_run import load_run

    return load_run(name, store, trust)
