"""Which configurations are the same run, and which are not."""

import re
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crackdet.config.groups import GROUPS
from crackdet.config.schema import Augmentation, Config, MLflow, SyntheticData, TensorBoard
from crackdet.core.errors import UserError
from crackdet.store.identity import Identity, identify
from tests.composing import compose

FINGERPRINT = "of the data"
DEFAULT = {group: next(iter(options.values())) for group, options in GROUPS.items()}


def configuration(**groups: Any) -> Config:
    """The first option of every group with the schema's defaults, but for the given ones."""
    return Config(**{group: schema() for group, schema in DEFAULT.items()} | groups)


def run_id(config: Config) -> str:
    return identify(config, FINGERPRINT).run_id


def composed_id(*overrides: str) -> str:
    return run_id(compose(overrides))


# --- the same run ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["optimizer.learning_rate=1e-4"], ["optimizer.learning_rate=0.0001"]),
        (["optimizer.weight_decay=1"], ["optimizer.weight_decay=1.0"]),
        (["model.conv_out=[8,16]"], ["model.conv_out=[ 8, 16 ]"]),
        (["model=custom", "trainer.max_epochs=25"], []),
        (["model.weights=null"], []),
        (["data/augmentation=none"], ["data.augmentation.hue=0"]),
    ],
)
def test_the_form_of_overrides_does_not_matter(one: list[str], other: list[str]) -> None:
    assert composed_id(*one) == composed_id(*other)


def test_the_order_of_overrides_does_not_matter() -> None:
    overrides = ["seed=3", "optimizer=sgd", "optimizer.momentum=0.5", "data/augmentation=full"]
    assert composed_id(*overrides) == composed_id(*reversed(overrides))


def test_where_and_how_fast_a_run_happens_does_not_matter(tmp_path: Path) -> None:
    elsewhere = [f"runtime.store={tmp_path}", "runtime.device=cuda", "runtime.num_threads=3", "runtime.retrain=true"]
    assert composed_id(*elsewhere) == composed_id()


# --- other runs: every setting, one at a time ---------------------------------------------------------

OTHER_VALUES: dict[str, Any] = {  # settings that are null by default
    "max_images": 8,
    "weights": "IMAGENET1K_V1",
    "groups": "wall",
    "input_mean": [0.5] * 3,
    "input_std": [0.5] * 3,
    "gradient_clip_norm": 1.0,
    "pos_weight": 2.0,
    "probe": True,
    "label_smoothing": 0.1,
    "mixup": 0.2,
    "cutmix": 1.0,
    "ema_decay": 0.99,
    "unfreeze_epochs": 1,
    "rand_augment": 9.0,
    "backbone_learning_rate": 1e-5,
    "layer_decay": 0.7,
    "decay_norm_and_bias": False,
    "warmup_epochs": 1.0,
    "warmup_start_fraction": 0.1,
    "top": 8,
    "screen": "multirun",
    "views": 3,
    "num_workers": 1,
    "num_threads": 1,
    "cuda_graphs": True,
    "exclude": "seed == 1",
    "masks": "masks",
    "mask_suffix": "_mask",
    "annotations": "annotations.json",
    "stride": 112,
    "scale": 2.0,
    "hard_negatives": "custom-0123456789ab",
    "white_level": 4095.0,
    "positive_mark": ["crack", "riss"],
    "root": "elsewhere",
    "path_column": "image",
    "label_column": "class",
    "split_column": "subset",
    "weight_column": "sample_weight",
    "tensorboard": TensorBoard(),
    "mlflow": MLflow(),
}


def other_value(name: str, value: Any) -> Any:
    if value is None:
        return OTHER_VALUES[name]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, dict):
        return {**value, "other": 1}
    return value + value[-1:] if isinstance(value, list) else value + "x"


def variations(node: Any, prefix: str = "") -> dict[str, Any]:
    """Return a configuration, or a group of one, with one setting changed, by the dotted key of the setting."""
    changed: dict[str, Any] = {}
    for item in fields(node):
        value = getattr(node, item.name)
        if is_dataclass(value):
            inner = variations(value, f"{prefix}{item.name}.")
            changed |= {key: replace(node, **{item.name: one}) for key, one in inner.items()}
        else:
            changed[f"{prefix}{item.name}"] = replace(node, **{item.name: other_value(item.name, value)})
    return changed


PATH_SETTINGS = {"data.root", "data.manifest", "data.masks", "data.annotations", "data.table"}


@pytest.mark.parametrize(("group", "option"), [(group, option) for group in GROUPS for option in GROUPS[group]])
def test_every_setting_except_paths_runtime_tracker_and_sweep_makes_another_run(group: str, option: str) -> None:
    config = configuration(**{group: GROUPS[group][option]()})
    ids = {key: run_id(changed) for key, changed in variations(config).items()}
    same = {key for key, changed in ids.items() if changed == run_id(config)}
    assert same == {key for key in ids if key in PATH_SETTINGS or key.startswith(("runtime.", "tracker.", "sweep."))}
    different = [changed for key, changed in ids.items() if key not in same]
    assert len(set(different)) == len(different)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_configurations_are_the_same_run_if_and_only_if_they_are_equal(data: st.DataObject) -> None:
    rates = st.sampled_from([1e-4, 0.0001, 1e-3, 1.0])
    pair = [
        configuration(
            seed=data.draw(st.integers(0, 1)),
            data=SyntheticData(augmentation=Augmentation(horizontal_flip=data.draw(st.booleans()))),
            optimizer=DEFAULT["optimizer"](learning_rate=data.draw(rates)),
        )
        for _ in range(2)
    ]
    assert (run_id(pair[0]) == run_id(pair[1])) == (pair[0] == pair[1])


def test_other_images_make_another_run() -> None:
    config = configuration()
    assert identify(config, "of some").run_id != identify(config, "of others").run_id


# --- the form of an identity --------------------------------------------------------------------------


def test_a_run_id_is_the_model_name_and_twelve_hex_digits() -> None:
    assert re.fullmatch(r"custom-[0-9a-f]{12}", run_id(configuration()))


def test_null_settings_are_not_part_of_the_identity() -> None:
    content = identify(configuration(), FINGERPRINT).content
    assert configuration().model.input_mean is None
    assert "input_mean" not in content["model"]
    assert "null" not in identify(configuration(), FINGERPRINT).canonical


def test_the_order_of_keys_does_not_matter() -> None:
    assert Identity({"a": 1, "model": {"name": "m"}}).run_id == Identity({"model": {"name": "m"}, "a": 1}).run_id


# These ids name directories in the stores of users. If this test fails, finished runs would be trained again:
# give a new setting the default null or, if a meaning changed, raise SCHEMA, which refuses older stores.
PINNED = [
    ([], "custom-636086c6f310"),
    (
        ["model=resnext50", "data=folder", "data.root=anywhere", "optimizer=sgd", "scheduler=step"],
        "resnext50-7142740dd836",
    ),
    (
        [
            "model=torchvision",
            "model.weights=IMAGENET1K_V2",
            "data=filename_labels",
            "data.root=anywhere",
            "scheduler=plateau",
        ],
        "mobilenet_v2-133c198d6039",
    ),
    (["scheduler=cosine", "data/augmentation=full", "seed=7", "data.max_images=100"], "custom-ffceb6d91db0"),
]


@pytest.mark.parametrize(("overrides", "pinned"), PINNED)
def test_run_ids_are_the_same_on_every_machine_and_in_every_version(overrides: list[str], pinned: str) -> None:
    assert composed_id(*overrides) == pinned


# --- weights ------------------------------------------------------------------------------------------


def weights_id(file: Path | str) -> str:
    return run_id(configuration(model=DEFAULT["model"](weights=str(file))))


def test_a_weights_file_is_identified_by_its_content_not_by_its_name(tmp_path: Path) -> None:
    here, there, other = tmp_path / "here.pth", tmp_path / "there" / "a.safetensors", tmp_path / "other.pth"
    there.parent.mkdir()
    for file, content in ((here, b"weights"), (there, b"weights"), (other, b"others")):
        file.write_bytes(content)
    assert weights_id(here) == weights_id(there)
    assert weights_id(here) != weights_id(other)


def test_torchvisions_weights_are_identified_by_their_name() -> None:
    assert weights_id("IMAGENET1K_V1") != weights_id("IMAGENET1K_V2")


def test_a_missing_weights_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^model\.weights=.*nowhere\.pth: there is no such file$"):
        weights_id(tmp_path / "nowhere.pth")
