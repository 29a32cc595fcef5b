"""Options of `model` that are a network of torchvision by name."""

import pytest

from crackdet.config.composing import compose
from crackdet.config.groups import PRESETS
from crackdet.core.errors import UserError
from tests.jobs import job_of


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_the_configuration_of_torchvision_with_its_name(preset: str) -> None:
    settings = ["model.linear_features=8", "model.weights=null"]
    named = compose(["model=torchvision", f"model.name={preset}", *settings])
    assert compose([f"model={preset}", *settings]) == named
    assert compose([f"model={preset}"]) == compose(["model=torchvision", f"model.name={preset}"])
    assert job_of(compose([f"model={preset}", *settings])).run.id == job_of(named).run.id


def test_the_id_of_a_preset_is_that_of_runs_before_there_were_presets() -> None:
    assert job_of(compose(["model=resnet18", "model.weights=null"])).run.id == "resnet18-230a28c06140"


@pytest.mark.parametrize("option", ["resnet18", "resnext50", "custom"])
@pytest.mark.parametrize("override", ["model.name=resnet50", "++model.name='resnet50'"])
def test_the_name_of_another_network_is_refused(option: str, override: str) -> None:
    with pytest.raises(UserError, match=f"model.name=resnet50: contradicts model={option}.* or model=resnet50"):
        compose([f"model={option}", override])


def test_the_own_name_of_a_network_may_be_given() -> None:
    assert compose(["model=resnet18", "model.name=resnet18"]) == compose(["model=resnet18"])
