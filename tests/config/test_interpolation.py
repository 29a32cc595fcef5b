"""Text that looks like an interpolation stays text, and a stored interpolation is never resolved."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from crackdet.config.composing import compose
from crackdet.config.interpolation import escape, unescape
from crackdet.config.parsing import parse, parse_literal
from crackdet.config.schema import Config, to_dict
from crackdet.core.errors import StoreError
from crackdet.store.config_file import load_config, write_config
from crackdet.store.run import Run

TEXT = st.lists(st.sampled_from([*"\\${}:x.a'\" ", "${", "\\${", "${oc.env:HOME}"]), max_size=8).map("".join)


@pytest.fixture(scope="module")
def folder() -> Config:
    """The configuration of a run on a folder of images."""
    return compose(["data=folder", "data.root=x"])


@dataclass
class Settings:
    text: str = ""
    texts: list[str] | None = None


@given(text=TEXT)
def test_escaped_text_is_literal_to_omegaconf_and_can_be_restored(text: str) -> None:
    assert unescape(escape({"a": [text]})) == {"a": [text]}
    merged = OmegaConf.merge(OmegaConf.structured(Settings), escape({"text": text, "texts": [text]}))
    assert OmegaConf.to_object(merged) == Settings(text, [text])


@pytest.mark.parametrize("text", ["${x}", "a${oc.env:HOME}", "\\\\${x}", "\\${x}${y}", "${", "${${x}}"])
def test_an_interpolation_is_not_restored(text: str) -> None:
    with pytest.raises(ValueError, match="holds an interpolation"):
        unescape([{"a": text}])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(text=TEXT.filter(bool))
def test_text_survives_parsing_storing_and_reading(text: str, folder: Config, tmp_path: Path) -> None:
    config = folder
    config = replace(config, data=replace(config.data, root=text, crack_names=[text]))  # type: ignore[call-arg]
    run = Run(tmp_path, "custom-0123456789ab")
    run.directory.mkdir(exist_ok=True)
    write_config(run, config)
    assert load_config(run) == to_dict(config)
    assert parse_literal(load_config(run)) == config


def test_text_with_an_escaped_interpolation_means_what_it_means_to_hydra(base_overrides: list[str]) -> None:
    config = compose([*base_overrides, "data=folder", r'data.root="a\${x}b"', r'data.groups="\${oc.env:HOME}"'])
    assert (config.data.root, config.data.groups) == ("a${x}b", "${oc.env:HOME}")  # type: ignore[attr-defined]


@pytest.mark.parametrize("where", ["data.root", "model.name", "runtime.store", "data.crack_names", "extra"])
def test_a_stored_interpolation_is_refused(
    where: str, folder: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_SECRET", "hunter2")
    tree: Any = OmegaConf.create(escape(to_dict(folder)))
    OmegaConf.update(tree, where, ["${oc.env:MY_SECRET}"] if where.endswith("names") else "/x/${oc.env:MY_SECRET}")
    run = Run(tmp_path, "custom-0123456789ab")
    run.directory.mkdir()
    run.config_file.write_text(OmegaConf.to_yaml(tree))
    with pytest.raises(StoreError, match=r"config\.yaml: holds an interpolation") as error:
        load_config(run)
    assert "hunter2" not in str(error.value)
    assert run.snapshot().config == {}


def test_composed_interpolations_are_resolved_once(folder: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHOTOGRAPHS", "/photos/${x}")
    tree = to_dict(folder)
    tree["data"]["root"] = "${oc.env:PHOTOGRAPHS}"
    assert parse(tree).data.root == "/photos/${x}"  # type: ignore[attr-defined]
