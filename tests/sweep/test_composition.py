"""The jobs of a sweep are composed as Hydra would compose each of them."""

from collections.abc import Iterator

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from crackdet.config.composing import CONF
from crackdet.config.groups import register
from crackdet.config.parsing import parse
from crackdet.core.errors import UserError
from crackdet.sweep.composition import CachedComposer

CHOICES = [
    ["model=custom", "model=resnext50", "model=torchvision", "model=timm/resnet18.a1_in1k"],
    ["optimizer=adam", "optimizer=sgd", "optimizer=nothing"],
    ["data/augmentation=full", "data/augmentation=flips"],
    ["+experiment=linear_width", "experiment=linear_width"],
    ["seed=1", "seed=2", "seed=x", "seed=[1]"],
    ["model.linear_features=64", "model.linear_features=${data.image_size}", "+model.linear_features=3"],
    ["data.on_bad_image='\\${seed}'", r"model.weights='a\${x}b.pth'"],
    ["model.conv_out=[8,16]", "model.conv_out=[]", "model.weights=null", "model.weights='a b.pth'"],
    ["optimizer.learning_rate=1e-3", "optimizer.learning_rate=1", "optimizer.momentum=0.5", "~optimizer.weight_decay"],
    ["data.image_size=32", "data.augmentation.rotation=5", "data.augmentation={rotation:5}", "data.nothing=1"],
    ["+model.input_mean=[0.5,0.5,0.5]", "model.input_mean=[0,0,1]", "trainer.gradient_clip_norm=null"],
]
overrides = st.tuples(*(st.none() | st.sampled_from(options) for options in CHOICES)).map(
    lambda chosen: [override for override in chosen if override is not None]
)


@pytest.fixture(scope="module")
def composer() -> Iterator[CachedComposer]:
    register()
    with initialize_config_dir(str(CONF)):
        sweep_config = compose("config", return_hydra_config=True)
        yield CachedComposer(GlobalHydra.instance().config_loader(), sweep_config)


def compose_job(composer: CachedComposer, overrides: list[str]) -> DictConfig:
    """Compose a job as Hydra's own launchers do."""
    return GlobalHydra.instance().config_loader().load_sweep_config(composer._sweep_config, overrides)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(overrides=overrides)
def test_a_job_is_composed_as_hydra_composes_it(composer: CachedComposer, overrides: list[str]) -> None:
    try:
        expected = parse(compose_job(composer, overrides))
    except (HydraException, OmegaConfBaseException, UserError):
        with pytest.raises((HydraException, OmegaConfBaseException, UserError)):
            parse(composer.compose(overrides))
    else:
        assert parse(composer.compose(overrides)) == expected


def test_the_values_of_one_job_do_not_reach_the_next(composer: CachedComposer) -> None:
    def widths(*overrides: str) -> list[int]:
        return list(OmegaConf.create(dict(composer.compose(overrides))).model.conv_out)

    before = widths()
    assert widths("model.conv_out=[1,2,3]") == [1, 2, 3]
    assert widths("seed=5") == before
