"""A finished run judged on images, its own or others, by the measures of its training."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from omegaconf import OmegaConf

from crackdet import models
from crackdet.compose import compose
from crackdet.config import parse
from crackdet.data import ImageSet, load_splits
from crackdet.errors import UserError
from crackdet.inference.loaded import stored_config
from crackdet.schema import Config
from crackdet.store import Run
from crackdet.training.device import choose_device, make_deterministic
from crackdet.training.loop import predict
from crackdet.training.metrics import Metrics, measure


def other_data(run: Run, overrides: Sequence[str]) -> Config:
    """What overrides make of a run's own data, or, where they choose a source, of that source's defaults.

    Raises:
        UserError: where they are not valid.
    """
    if any(override.startswith("data=") for override in overrides):
        return compose(overrides)
    return parse(OmegaConf.merge(OmegaConf.create(run.config), OmegaConf.from_dotlist(list(overrides))))  # type: ignore[arg-type]


def evaluate(
    run: Run, elsewhere: Config | None = None, split: str = "valid", trust: bool = False
) -> tuple[Metrics, ImageSet]:
    """The measures of a run's published weights on a split of its own data, or of the data of another configuration.

    Raises:
        UserError: where the run has no weights, or the data no such split.
    """
    config = stored_config(run, trust)
    data = replace((elsewhere or config).data, image_size=config.data.image_size)
    runtime = (elsewhere or config).runtime
    device = choose_device(runtime)
    make_deterministic()
    images = load_splits(data, runtime)[split]
    if not len(images):
        raise UserError(f"data: has no {split} split; data.test_fraction draws one")
    assert run.result is not None, "checked by stored_config"
    model = models.restore(config, run.check_weights()).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    number_format = str(run.result.get("number_format", "fp32"))
    logits = predict(model, images, config.trainer.batch_size, number_format, runtime.num_workers)
    return measure(logits, torch.tensor(images.labels, dtype=torch.float32)), images
