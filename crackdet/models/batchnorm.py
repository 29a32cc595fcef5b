"""Whether batch normalization can train on the batches of a configuration."""

from collections.abc import Callable

import torch

from crackdet.config.schema import Config
from crackdet.core.errors import UserError
from crackdet.models.classifier import Classifier
from crackdet.models.flops import MetaFlopCounter


def check_batch_size(config: Config, build_on_meta: Callable[[], Classifier]) -> None:
    """Check that a network trains on batches of one image, if that is the batch size; larger batches always have two.

    Args:
        config: The configuration of the run.
        build_on_meta: Returns its network on the meta device, in training mode.

    Raises:
        UserError: If a batch normalization gets one value per channel, whose variance is undefined.
    """
    if config.trainer.batch_size > 1:
        return
    size = config.data.image_size
    try:
        with torch.no_grad(), MetaFlopCounter():
            build_on_meta()(torch.empty(1, 3, size, size, device="meta"))
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise UserError(
            f"trainer.batch_size=1: {config.model.name} has batch normalization, which cannot train on one value per "
            "channel; set trainer.batch_size to 2 or more, or model.batchnorm=eval"
        ) from None
