"""No override ends in a traceback: it composes, or is refused with one message."""

import sys

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from crackdet.config.composing import CONF, compose
from crackdet.config.hydra_state import own_hydra
from crackdet.config.overrides import override_value, parse_overrides
from crackdet.config.schema import Config
from crackdet.core.errors import UserError
from tests.overrides import OVERRIDES


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(OVERRIDES, min_size=1, max_size=2))
def test_any_overrides_compose_or_are_refused_with_one_short_message(overrides: list[str]) -> None:
    try:
        assert isinstance(compose(overrides), Config)
    except UserError as error:
        assert 0 < len(str(error)) < 2000


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer=[1,2]", "optimizer=[1,2]: must be one of adam, adamw, sgd"),
        ("optimizer=[[]]", "optimizer=[[]]: must be one of adam, adamw, sgd"),
        ("model=[null]", "model=[null]: must be one of "),
        ("trainer=5", "trainer=5: must be one of default"),
        ("scheduler=null", "scheduler=null: must be one of constant, "),
        ("experiment=null", "experiment=null: must be one of article, linear_width, screen"),
        ("model.conv_out=[[4,8],[8,16]]", "model.conv_out=[[4, 8],[8, 16]]: must be a non-empty list of integers"),
        ("model.conv_out=[{a:1}]", "model.conv_out=[{'a': 1}]: must be a non-empty list of integers"),
        ("model.conv_out=[true]", "model.conv_out=[true]: must be a non-empty list of integers"),
        ("model.input_mean=[0.5,[0.5],0.5]", "model.input_mean=[0.5,[0.5],0.5]: must be a list of 3 numbers"),
        ("model.input_mean=[0.5,null,0.5]", "model.input_mean=[0.5,null,0.5]: must be a list of 3 numbers"),
        ("optimizer.learning_rate=inf", "optimizer.learning_rate=inf: must be a number > 0"),
        (f"optimizer.learning_rate={'9' * 400}", "optimizer.learning_rate: must be a number > 0"),
        (f"trainer.batch_size={2**63}", f"trainer.batch_size={2**63}: must be an integer >= 1 of at most 64 bits"),
        ("model.conv_out=[1,", "model.conv_out=[1,: no viable alternative"),
        ("~data", "data: missing; choose an option with data=NAME, from synthetic, folder, filename_labels"),
        ("+seed=1", "+seed: the setting exists already; give seed=VALUE"),
        ("+model=torchvision", "+model: the group has an option already"),
        ("seed=${seed}", "seed: Recursive interpolation"),
        ("optimizer={a:1}", "optimizer.a: unknown key"),
        ("hydra.foo=1", "hydra.foo: unknown key"),
    ],
)
def test_a_value_of_a_wrong_kind_is_refused_with_the_key_and_what_is_allowed(override: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        compose([override])
    assert str(caught.value).startswith(message)


def test_a_number_with_more_digits_than_python_reads_is_refused() -> None:
    with pytest.raises(UserError, match=r"seed=9+\.\.\. .*: has a number with too many digits; must be an integer"):
        compose([f"seed={'9' * (sys.get_int_max_str_digits() + 1)}"])


# --- beside a Hydra of the caller -----------------------------------------------------------------------


def test_the_hydra_of_a_notebook_is_the_same_after_composing() -> None:
    OmegaConf.register_resolver("mine", lambda: 3, replace=True)
    with own_hydra():
        ConfigStore.instance().store("app", {"a": 1, "b": "${mine:}"})
        ConfigStore.instance().repo.pop("crackdet_schema.yaml", None)  # that another test may have registered
        before = dict(ConfigStore.instance().repo)
        with initialize_config_dir(str(CONF), job_name="notebook"):
            hydra = GlobalHydra.instance().hydra
            assert compose(["seed=7"]).seed == 7
            with pytest.raises(UserError):
                compose(["seed=x"])
            assert GlobalHydra.instance().hydra is hydra
            assert set(ConfigStore.instance().repo) == set(before)
            mine = hydra_compose("app", ["a=2"], return_hydra_config=True)
            assert (mine.a, mine.b, mine.hydra.job.name) == (2, 3, "notebook")
    OmegaConf.clear_resolver("mine")


def test_the_job_of_a_program_of_hydra_is_the_same_after_composing() -> None:
    with own_hydra(), initialize_config_dir(str(CONF), job_name="program"):
        ConfigStore.instance().store("app", {"a": 1})
        HydraConfig.instance().set_config(hydra_compose("app", return_hydra_config=True))
        job = HydraConfig.get()
        assert compose(["model=custom"]).model.name == "custom"
        assert HydraConfig.get() is job and job.job.name == "program"


TEXTS = st.text(st.sampled_from("ab7 .,:'\"\\${}[]()=~/-µ"), max_size=8) | st.sampled_from(
    ["null", "True", "1e-3", "inf"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(-1e9, 1e9) | TEXTS,
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.sampled_from(["a", "b_c"]), each, max_size=2),
    max_leaves=5,
)


@settings(deadline=None)
@given(VALUES)
def test_a_value_written_as_an_override_is_read_as_that_value(value: object) -> None:
    (override,) = parse_overrides([f"x={override_value(value)}"])
    assert OmegaConf.to_container(OmegaConf.create({"x": override.value()}), resolve=True) == {"x": value}
