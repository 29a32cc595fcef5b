"""An exported folder -> a backbone, without the run store; nothing in the folder is executed."""

from collections.abc import Sequence
from pathlib import Path

from crackdet.backbone.description import DESCRIPTION, WEIGHTS, Description
from crackdet.backbone.extraction import extract_body, freeze
from crackdet.backbone.network import Backbone, with_frozen_batchnorm
from crackdet.backbone.normalization import IMAGENET_MEAN, IMAGENET_STD
from crackdet.config.parsing import parse_model
from crackdet.core.errors import UserError
from crackdet.core.files import file_digest
from crackdet.models import factory
from crackdet.models import weights as weight_files
from crackdet.store.code_digest import check_source


def load(
    folder: Path,
    pyramid: bool = False,
    trainable_stages: int | None = None,
    freeze_batchnorm: bool = True,
    image_mean: Sequence[float] = IMAGENET_MEAN,
    image_std: Sequence[float] = IMAGENET_STD,
    untrained: bool = False,
    trust: bool = False,
) -> Backbone:
    """See `crackdet.load_backbone`."""
    description = Description.read(folder)
    count = len(description.stages)
    if trainable_stages is not None and not 0 <= trainable_stages <= count:
        raise UserError(f"trainable_stages={trainable_stages}: must be from 0 to {count}, the number of stages")
    if (target := description.architecture.get("_target_")) is not None:
        if not trust:
            raise UserError(
                f"{folder / DESCRIPTION}: its network is {target}, code from outside crackdet; "
                "say trust=True where you know it"
            )
        check_source(target, description.source_sha256, str(folder / WEIGHTS))
    body = extract_body(factory.feature_extractor(parse_model(description.architecture)), description.stages)
    if not untrained:
        file = folder / WEIGHTS
        state = weight_files.read(file, "weights")
        if file_digest(file) != description.weights_sha256:
            raise UserError(f"{file}: is not the file that {DESCRIPTION} belongs to; export the run again")
        weight_files.load(body, state, str(file))
    if freeze_batchnorm:
        with_frozen_batchnorm(body)
    if trainable_stages is not None:
        freeze(body, trainable_stages)
    return Backbone(body, description, image_mean, image_std, pyramid)
