"""Runs that are published without training."""

import torch
import yaml
from safetensors.torch import save_file
from torch import nn

from crackdet.config.schema import Config, to_dict
from crackdet.core.files import write_json, write_text
from crackdet.models.factory import build
from crackdet.models.weights import unshared
from crackdet.store.run import Run
from tests.jobs import job_of


def publish_run(config: Config, model: nn.Module | None = None) -> Run:
    """Publish a finished run, once, with the weights of `model`, or with random weights and statistics."""
    job = job_of(config)
    run = job.run
    if not run.result_file.exists():
        run.directory.mkdir(parents=True)
        write_text(run.config_file, yaml.safe_dump(to_dict(config)))
        write_json(run.identity_file, job.identity.content)
        model = randomize_batchnorm(build(config)) if model is None else model
        save_file(unshared(model.state_dict()), run.weights_file)
        costs = {"parameters": 1, "seconds": 1.0, "valid_images": 4}
        run.publish({"accuracy": 0.75, "loss": 0.5, "epoch": 1, **costs})
    return run


def randomize_batchnorm(model: nn.Module) -> nn.Module:
    """Set the statistics and scales of batch normalization to values that no new network has."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.running_var, module.weight.data, module.bias.data):
                assert tensor is not None
                tensor.copy_(torch.rand(tensor.shape, generator=generator) * 0.2 + (0.9 if tensor.min() > 0 else 0.0))
    return model
