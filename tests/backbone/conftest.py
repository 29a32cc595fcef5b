"""Finished runs of several networks with random weights, published as training publishes them."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from crackdet.backbone.export import export
from crackdet.config.schema import Model
from crackdet.store.run import Run
from tests.backbone.published import publish_run
from tests.composing import compose

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
        return publish_run(replace(config, model=model or config.model))

    return published


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
