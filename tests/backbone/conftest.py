"""Finished runs of several networks with random weights, published as training publishes them."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file
from torch import nn

from crackdet.backbone.export import export
from crackdet.config.schema import Model, to_dict
from crackdet.core.files import write_json, write_text
from crackdet.models.factory import build
from crackdet.store.run import Run
from tests.composing import compose
from tests.jobs import job_of

Publish = Callable[..., Run]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def publish(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Publish:
    """A function that publishes a finished run of the given overrides, with random weights and statistics."""
    store = tmp_path_factory.mktemp("backbone") / "runs"

    def published(*overrides: str, model: Model | None = None) -> Run:
        config = compose(
            [
                "data.num_images=16",
                "model.linear_features=8",
                f"runtime.store={store}",
                f"runtime.cache={cache}",
                "runtime.device=cpu",
                *overrides,
            ]
        )
        config = replace(config, model=model or config.model)
        job = job_of(config)
        run = job.run
        if not run.result_file.exists():
            run.directory.mkdir(parents=True)
            write_text(run.config_file, yaml.safe_dump(to_dict(config)))
            write_json(run.identity_file, job.identity.content)
            save_file(
                {n: t.contiguous() for n, t in randomize_batchnorm(build(config)).state_dict().items()},
                run.weights_file,
            )
            costs = {"parameters": 1, "seconds": 1.0, "valid_images": 4}
            run.publish({"accuracy": 0.75, "loss": 0.5, "epoch": 1, **costs})
        return run

    return published


def randomize_batchnorm(model: nn.Module) -> nn.Module:
    """Set the statistics and scales of batch normalization to values that no new network has."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.running_var, module.weight.data, module.bias.data):
                assert tensor is not None
                tensor.copy_(torch.rand(tensor.shape, generator=generator) * 0.2 + (0.9 if tensor.min() > 0 else 0.0))
    return model


CUSTOM = (
    "model.conv_out=[4,8,16]",
    "data.image_size=32",
    "model.input_mean=[0.4,0.5,0.6]",
    "model.input_std=[0.2,0.3,0.4]",
)
RESNEXT = ("model=resnext50", "model.weights=null", "data.image_size=32")
MOBILENET = ("model=torchvision", "model.name=mobilenet_v3_small", "model.weights=null", "data.image_size=32")


@pytest.fixture(scope="session")
def exported(publish: Publish, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Run, Path]]:
    """A function that returns a run and the folder of its exported backbone, cached per network."""
    root = tmp_path_factory.mktemp("exports")

    def export_once(*overrides: str) -> tuple[Run, Path]:
        run = publish(*overrides)
        if not (root / run.id).exists():
            export(run, root / run.id)
        return run, root / run.id

    return export_once
