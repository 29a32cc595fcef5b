"""Load an exported backbone, without the run store; no code from the folder is executed."""

from pathlib import Path

from crackdet.backbone.description import DESCRIPTION, WEIGHTS, Description
from crackdet.backbone.extraction import extract_body, freeze_stages
from crackdet.backbone.network import Backbone, freeze_batchnorm
from crackdet.backbone.options import LoadOptions
from crackdet.config.parsing import parse_group
from crackdet.core.errors import UserError
from crackdet.core.files import file_digest
from crackdet.models import factory
from crackdet.models import weights as weight_files
from crackdet.store.code_digest import check_source


def load(folder: Path, options: LoadOptions, trust: bool = False) -> Backbone:
    """See `crackdet.load_backbone`."""
    description = Description.read(folder)
    count, trainable = len(description.stages), options.trainable_stages
    if trainable is not None and not 0 <= trainable <= count:
        raise UserError(f"trainable_stages={trainable}: must be from 0 to {count}, the number of stages")
    if (target := description.architecture.get("_target_")) is not None:
        if not trust:
            raise UserError(
                f"{folder / DESCRIPTION}: its network is {target}, code from outside crackdet; "
                "give trust=True if you trust it"
            )
        check_source(target, description.source_sha256, str(folder / WEIGHTS))
    body = extract_body(factory.feature_extractor(parse_group("model", description.architecture)), description.stages)
    if not options.untrained:
        file = folder / WEIGHTS
        state = weight_files.read_state_dict(file, "weights")
        if file_digest(file) != description.weights_sha256:
            raise UserError(f"{file}: does not match {DESCRIPTION}; export the run again")
        weight_files.load_strict(body, state, str(file))
    if options.freeze_batchnorm:
        freeze_batchnorm(body)
    if trainable is not None:
        freeze_stages(body, trainable)
    return Backbone(body, description, options.image_mean, options.image_std, options.pyramid)
