"""Which configurations are one run, and which are not."""

import re
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crackdet.config.composing import compose
from crackdet.config.parsing import parse
from crackdet.config.schema import GROUPS, Augmentation, Config, MLflow, SyntheticData, TensorBoard, to_dict
from crackdet.core.errors import UserError
from crackdet.core.files import file_digest
from crackdet.running.command_cache import dependencies
from crackdet.store.code_digest import check_source, code_digest, source_files
from crackdet.store.identity import Identity, identify

FINGERPRINT = "of the data"
DEFAULT = {group: next(iter(options.values())) for group, options in GROUPS.items()}


def configuration(**groups: Any) -> Config:
    """The first option of every group with the schema's defaults, but for the given ones."""
    return Config(**{group: schema() for group, schema in DEFAULT.items()} | groups)


def run_id(config: Config) -> str:
    return identify(config, FINGERPRINT).run_id


def composed_id(*overrides: str) -> str:
    return run_id(compose(overrides))


# --- one run ------------------------------------------------------------------------------------------


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

GIVEN: dict[str, Any] = {  # what is null by default
    "max_images": 8,
    "weights": "IMAGENET1K_V1",
    "groups": "wall",
    "input_mean": [0.5] * 3,
    "input_std": [0.5] * 3,
    "gradient_clip_norm": 1.0,
    "pos_weight": 2.0,
    "num_workers": 1,
    "num_threads": 1,
    "cuda_graphs": True,
    "exclude": "seed == 1",
    "masks": "masks",
    "tensorboard": TensorBoard(),
    "mlflow": MLflow(),
}


def another(name: str, value: Any) -> Any:
    if value is None:
        return GIVEN[name]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return value + value[-1:] if isinstance(value, list) else value + "x"


def variations(node: Any, prefix: str = "") -> dict[str, Any]:
    """A configuration, or a group of it, with one setting changed, by the setting's dotted key."""
    changed: dict[str, Any] = {}
    for item in fields(node):
        value = getattr(node, item.name)
        if is_dataclass(value):
            inner = variations(value, f"{prefix}{item.name}.")
            changed |= {key: replace(node, **{item.name: one}) for key, one in inner.items()}
        else:
            changed[f"{prefix}{item.name}"] = replace(node, **{item.name: another(item.name, value)})
    return changed


LEFT_OUT = {"data.root", "data.manifest", "data.masks"}  # places: no network is trained on a mask


@pytest.mark.parametrize(("group", "option"), [(group, option) for group in GROUPS for option in GROUPS[group]])
def test_every_setting_but_places_runtime_tracker_and_sweep_makes_another_run(group: str, option: str) -> None:
    config = configuration(**{group: GROUPS[group][option]()})
    ids = {key: run_id(changed) for key, changed in variations(config).items()}
    same = {key for key, changed in ids.items() if changed == run_id(config)}
    assert same == {key for key in ids if key in LEFT_OUT or key.startswith(("runtime.", "tracker.", "sweep."))}
    different = [changed for key, changed in ids.items() if key not in same]
    assert len(set(different)) == len(different)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_configurations_are_one_run_exactly_when_they_are_equal(data: st.DataObject) -> None:
    rates = st.sampled_from([1e-4, 0.0001, 1e-3, 1.0])
    drawn = [
        configuration(
            seed=data.draw(st.integers(0, 1)),
            data=SyntheticData(augmentation=Augmentation(horizontal_flip=data.draw(st.booleans()))),
            optimizer=DEFAULT["optimizer"](learning_rate=data.draw(rates)),
        )
        for _ in range(2)
    ]
    assert (run_id(drawn[0]) == run_id(drawn[1])) == (drawn[0] == drawn[1])


def test_other_images_make_another_run() -> None:
    config = configuration()
    assert identify(config, "of some").run_id != identify(config, "of others").run_id


# --- the form of an identity --------------------------------------------------------------------------


def test_a_run_id_is_the_name_of_the_model_and_twelve_digits() -> None:
    assert re.fullmatch(r"custom-[0-9a-f]{12}", run_id(configuration()))


def test_null_settings_are_no_part_of_an_identity() -> None:
    content = identify(configuration(), FINGERPRINT).content
    assert configuration().model.input_mean is None
    assert "input_mean" not in content["model"]
    assert "null" not in identify(configuration(), FINGERPRINT).canonical


def test_replicates_are_one_combination() -> None:
    first, second = (identify(configuration(seed=seed), FINGERPRINT) for seed in (0, 1))
    assert first.without("seed") == second.without("seed")
    assert first != second


def test_leaving_out_a_nested_key_leaves_the_original_as_it_was() -> None:
    identity = identify(configuration(), FINGERPRINT)
    before = identity.canonical
    assert "conv_out" not in identity.without("model.conv_out", "seed").content["model"]
    assert identity.canonical == before


def test_the_order_of_keys_is_no_part_of_an_identity() -> None:
    assert Identity({"a": 1, "model": {"name": "m"}}).run_id == Identity({"model": {"name": "m"}, "a": 1}).run_id


# These ids name directories in the stores of users. If this test fails, finished runs would be trained again:
# give a new setting the default null or, where a meaning changed, raise SCHEMA and migrate stores.
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
def test_run_ids_stay_what_they_are_on_every_machine_and_in_every_version(overrides: list[str], pinned: str) -> None:
    assert composed_id(*overrides) == pinned


# --- weights ------------------------------------------------------------------------------------------


def weights_id(file: Path | str) -> str:
    return run_id(configuration(model=DEFAULT["model"](weights=str(file))))


def test_a_weights_file_counts_by_its_content_and_not_by_its_name(tmp_path: Path) -> None:
    here, there, other = tmp_path / "here.pth", tmp_path / "there" / "a.safetensors", tmp_path / "other.pth"
    there.parent.mkdir()
    for file, content in ((here, b"weights"), (there, b"weights"), (other, b"others")):
        file.write_bytes(content)
    assert weights_id(here) == weights_id(there)
    assert weights_id(here) != weights_id(other)


def test_published_weights_count_by_their_name() -> None:
    assert weights_id("IMAGENET1K_V1") != weights_id("IMAGENET1K_V2")


def test_a_weights_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^model\.weights=.*nowhere\.pth: there is no such file$"):
        weights_id(tmp_path / "nowhere.pth")


# --- a network of one's own ---------------------------------------------------------------------------

NETWORK = """
class Net:
    def __init__(self, width: int = 8, slope: float = 0.1, source: str = "", depth: int | None = 2) -> None:
        pass
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Config]:
    """Configurations of a network in `<package>/net.py`, which the package itself offers too."""
    package = f"package_of_{tmp_path.name}"  # not yet imported by another test
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("from .net import Net as Net\n")
    (tmp_path / package / "net.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    stored = to_dict(configuration())

    def configure(target: str = "net.Net", **arguments: Any) -> Config:
        return parse(stored | {"model": {"name": "mine", "_target_": f"{package}.{target}", **arguments}})

    return configure


@pytest.mark.parametrize("target", ["net.Net", "Net"])
def test_other_source_of_a_network_of_ones_own_makes_another_run(
    own: Callable[..., Config], tmp_path: Path, target: str
) -> None:
    config = own(target, source="an argument of this name")
    before = run_id(config)
    assert run_id(config) == before
    (source,) = tmp_path.glob("*/net.py")
    source.write_text(NETWORK.replace("pass", "self.width = width"))
    assert run_id(config) != before


def test_what_a_network_of_ones_own_imports_is_part_of_it(own: Callable[..., Config], tmp_path: Path) -> None:
    (source,) = tmp_path.glob("*/net.py")
    package = source.parent
    source.write_text("from . import parts\nimport torch\n" + NETWORK)
    (package / "parts.py").write_text(f"def late():\n    from {package.name}.deep.down import depth\n")
    (package / "deep").mkdir()
    (package / "deep/down.py").write_text("depth = 1\n")  # in a package without a file of its own
    (package / "unrelated.py").write_text("other = 1\n")
    config = own()
    ids = {run_id(config)}
    assert {Path(path).name for path in dependencies(config)} >= {"net.py", "parts.py", "down.py"}
    for edited, makes_another in (("parts.py", True), ("deep/down.py", True), ("unrelated.py", False)):
        with (package / edited).open("a") as file:
            file.write("# edited\n")
        assert (run_id(config) not in ids) is makes_another
        ids.add(run_id(config))


def test_what_an_import_names_is_found_though_no_process_has_imported_it(
    own: Callable[..., Config], tmp_path: Path
) -> None:
    """In folders without a file of their own, within a package that only the import names."""
    (source,) = tmp_path.glob("*/net.py")
    (tmp_path / "beside" / "deep").mkdir(parents=True)
    (tmp_path / "beside" / "deep" / "down.py").write_text("depth = 1\n")
    source.write_text(
        NETWORK + "\ndef late():\n    from beside.deep.down import depth\n    import time, zlib, nowhere.at.all\n"
    )
    (tmp_path / "time.py").write_text("not = Python, and never loaded: that of Python comes first\n")
    assert [path.name for path in source_files(own().model.target).values()] == ["net.py", "down.py"]  # type: ignore[union-attr]


def test_the_file_that_a_target_names_counts_where_another_makes_the_class(
    own: Callable[..., Config], tmp_path: Path
) -> None:
    (source,) = tmp_path.glob("*/net.py")
    (source.parent / "making.py").write_text("def made(one):\n    class Made(one):\n        pass\n    return Made\n")
    source.write_text("from .making import made\n\n@made" + NETWORK)
    config = own()
    before = run_id(config)
    with source.open("a") as file:
        file.write("# edited\n")
    assert run_id(config) != before


def test_weights_of_when_only_one_file_counted_are_given_out(own: Callable[..., Config], tmp_path: Path) -> None:
    (source,) = tmp_path.glob("*/net.py")
    source.write_text("from . import parts\n" + NETWORK)
    (source.parent / "parts.py").write_text("depth = 1\n")
    target = own().model.target  # type: ignore[union-attr]
    assert code_digest(target) != file_digest(source)
    check_source(target, file_digest(source), "the run")


def test_a_network_that_imports_itself_in_a_circle_is_one_too(own: Callable[..., Config], tmp_path: Path) -> None:
    (source,) = tmp_path.glob("*/net.py")
    source.write_text(f"import {source.parent.name}.net\nfrom .net import *\n" + NETWORK)
    assert code_digest(own().model.target) == file_digest(source)  # type: ignore[union-attr]


def test_weights_are_not_given_to_other_code(own: Callable[..., Config], tmp_path: Path) -> None:
    target = own().model.target  # type: ignore[union-attr]
    digest = code_digest(target)
    check_source(target, digest, "the run")
    check_source(target, None, "a run of before this was known")
    (source,) = tmp_path.glob("*/net.py")
    source.write_text(NETWORK + "# edited\n")
    with pytest.raises(
        UserError, match=r"the run: .*net\.py, or what it imports, is not the code that its weights were trained with"
    ):
        check_source(target, digest, "the run")


@pytest.mark.parametrize(
    "arguments", [{"width": 9}, {"slope": 0.2}, {"source": "a"}, {"depth": None}, {"linear_features": 4}]
)
def test_every_argument_of_a_network_of_ones_own_makes_another_run(
    own: Callable[..., Config], arguments: dict[str, Any]
) -> None:
    assert run_id(own(**arguments)) != run_id(own())


def test_a_whole_number_for_a_float_argument_is_the_same_run(own: Callable[..., Config]) -> None:
    assert run_id(own(slope=1)) == run_id(own(slope=1.0))


def test_a_network_without_source_is_refused() -> None:
    config = parse(to_dict(configuration()) | {"model": {"name": "mine", "_target_": "builtins.object"}})
    with pytest.raises(UserError, match=r"^model\._target_=builtins\.object: the source of its module"):
        run_id(config)
