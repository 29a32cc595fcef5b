"""What a table says about its runs: the chosen options, and nothing that follows from them."""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crackdet.analysis.differences import Differences
from crackdet.analysis.rows import RunRow
from crackdet.config.composing import CONF, compose
from crackdet.config.groups import AUGMENTATIONS
from crackdet.config.schema import to_dict
from crackdet.store.identity import NON_IDENTITY
from crackdet.store.run_store import RunStore
from crackdet.store.snapshot import RunSnapshot, Status


@dataclass(frozen=True)
class ComposedRow(RunRow):
    """A row with the settings of a composed configuration."""

    settings_tree: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tree(self) -> Mapping[str, Any]:
        return self.settings_tree


@cache
def tree_of(*overrides: str) -> dict[str, Any]:
    return {group: value for group, value in to_dict(compose(list(overrides))).items() if group not in NON_IDENTITY}


def row(*overrides: str) -> RunRow:
    """Return a row with these settings; each group is composed once."""
    groups = {group: [one for one in overrides if re.split("[=./]", one)[0] == group] for group in tree_of()}
    tree = {group: tree_of(*own)[group] for group, own in groups.items()}
    snapshot = RunSnapshot(RunStore(Path("runs")).run(f"{tree['model']['name']}-0123456789ab"), Status.TODO)
    return ComposedRow(snapshot, overrides, tree)


def described(*combinations: str) -> list[str]:
    rows = [row(*combination.split()) for combination in combinations]
    differences = Differences(rows)
    return [differences.describe(one) for one in rows]


@pytest.mark.parametrize(
    ("combinations", "expected"),
    [
        (["optimizer=adam", "optimizer=sgd"], ["optimizer=adam", "optimizer=sgd"]),
        (
            ["optimizer=adam", "optimizer=sgd optimizer.momentum=0.8", "optimizer=sgd"],
            ["optimizer=adam", "optimizer=sgd momentum=0.8", "optimizer=sgd momentum=0.9"],
        ),
        (
            ["optimizer=adam optimizer.learning_rate=0.1", "optimizer=sgd"],
            ["learning_rate=0.1 optimizer=adam", "optimizer=sgd"],
        ),
        (["model=custom", "model=resnet18", "model=resnet18 seed=1"], ["seed=0", "seed=0", "seed=1"]),
        (["model=custom model.conv_out=[8]", "model=resnext50"], ["conv_out=[8]", ""]),
        (
            ["model=custom", "model=custom model.conv_out=[8]", "model=resnet50"],
            ["conv_out=[64,128]", "conv_out=[8]", ""],
        ),
        (["scheduler=step", "scheduler=cosine"], ["scheduler=step", "scheduler=cosine"]),
        (["data/augmentation=none", "data/augmentation=full"], ["augmentation=none", "augmentation=full"]),
        (
            ["data/augmentation=none", "data/augmentation=full data.augmentation.hue=0.1"],
            ["augmentation=none", "augmentation=full hue=0.1"],
        ),
        (["data.augmentation.hue=0.1", "data.augmentation.hue=0.2"], ["hue=0.1", "hue=0.2"]),
        (["data=synthetic", "data=folder data.root=a/photos"], ["data=synthetic", "data=folder root=photos"]),
        (["trainer.gradient_clip_norm=1", ""], ["gradient_clip_norm=1", "gradient_clip_norm=null"]),
        (["optimizer=sgd", "optimizer=sgd optimizer.nesterov=true"], ["nesterov=false", "nesterov=true"]),
        (["model=resnet18", "model=resnet18 model.weights=null"], ["weights=DEFAULT", "weights=null"]),
    ],
)
def test_a_run_is_described_by_what_was_chosen(combinations: list[str], expected: list[str]) -> None:
    assert [sorted(text.split()) for text in described(*combinations)] == [sorted(text.split()) for text in expected]


CHOICES = [
    ["model=custom", "model=resnet18", "model=custom model.conv_out=[8]"],
    ["", "optimizer=sgd", "optimizer=adamw", "optimizer=sgd optimizer.momentum=0.5", "optimizer.learning_rate=1e-3"],
    ["", "scheduler=step", "scheduler=plateau", "scheduler=plateau scheduler.patience=9", "trainer.patience=9"],
    ["", "data/augmentation=flips", "data/augmentation=full", "data.augmentation.hue=0.3", "data.image_size=32"],
    ["", "seed=1"],
]
ALL = [" ".join(filter(None, parts)) for parts in itertools.product(*CHOICES)]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(ALL), min_size=2, max_size=6, unique=True))
def test_runs_with_one_name_and_different_settings_are_described_differently(combinations: list[str]) -> None:
    rows = [row(*combination.split()) for combination in combinations]
    differences = Differences(rows)
    found = [(one.setting("model.name"), differences.describe(one)) for one in rows]
    assert len(set(found)) == len(found)


def test_the_known_augmentations_are_those_of_the_configuration_files() -> None:
    files = sorted((CONF / "data" / "augmentation").glob("*.yaml"))
    composed = {file.stem: compose([f"data/augmentation={file.stem}"]).data.augmentation for file in files}
    assert composed == AUGMENTATIONS


def test_the_keys_of_a_table_are_the_settings_of_its_descriptions() -> None:
    rows = [row("model=custom", "seed=1"), row("model=custom"), row("model=resnet18", "optimizer=sgd")]
    assert Differences(rows).keys == ["model.name", "optimizer.name", "seed"]
