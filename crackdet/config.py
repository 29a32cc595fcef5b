"""The typed schema of `conf/`: every setting with its unit, its range and its default.

A composed Hydra configuration, or the `config.yaml` of a run directory, becomes a `Config` by `parse`,
which refuses unknown keys, wrong types and values out of range before anything is trained.
Nothing here imports torch: recognising a finished run must not cost it.
"""

import difflib
import importlib
import inspect
import math
import re
import sys
from collections.abc import Mapping
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_type_hints

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

from crackdet.errors import UserError

MONITORS: dict[str, Literal["min", "max"]] = {  # what an epoch can be chosen by, and which way is better
    "valid_loss": "min",
    "valid_accuracy": "max",
    "valid_f1": "max",
    "valid_roc_auc": "max",
}

FLOATS = (float, "float", float | None, "float | None")  # annotations, also as `from __future__` leaves them


def setting(default: Any = NO_DEFAULT, **allowed: Any) -> Any:
    """A dataclass field with what its value may be.

    `allowed`: `at_least`, `at_most`, `above`, `below` (numbers), `choices`, `pattern`, `length` (of a list),
    `path=True` (where something lies on this machine: never part of a run's identity).
    """
    if isinstance(default, (list, dict, type)):
        factory = default if isinstance(default, type) else lambda: type(default)(default)
        return field(default_factory=factory, metadata=allowed)
    return field(default=default, metadata=allowed)


# --- model: the network -------------------------------------------------------------------------------


@dataclass
class Model:
    """What every network has; the settings of a network of one's own stand beside these."""

    name: str = MISSING  # part of the run id
    linear_features: int = setting(512, at_least=1)  # width of the classifier's two hidden layers
    weights: str | None = None  # torchvision weights name, local .pth / .safetensors, or null: random
    freeze_features: bool = False  # train the classifier only
    batchnorm: str = setting("train", choices=("train", "eval"))  # eval: keep the running statistics
    input_mean: list[float] | None = setting(None, length=3)  # per RGB channel of [0, 1]; null: the weights'
    input_std: list[float] | None = setting(None, length=3, above=0)


@dataclass
class CustomModel(Model):
    name: str = setting("custom", choices=("custom",))
    conv_out: list[int] = setting([64, 128], at_least=1, length=(1, None))  # channels of each convolution


@dataclass
class ResNeXt50Model(Model):
    name: str = setting("resnext50", choices=("resnext50",))
    weights: str | None = "IMAGENET1K_V2"


@dataclass
class TorchvisionModel(Model):
    name: str = "mobilenet_v2"  # any classification network of torchvision
    weights: str | None = "DEFAULT"


@dataclass
class UserModel(Model):
    """A feature extractor of the user's: a class of their package and its arguments."""

    target: str = MISSING
    arguments: dict[str, Any] = field(default_factory=dict)


# --- data: photographs --------------------------------------------------------------------------------


@dataclass
class Augmentation:
    """Drawn for each image of the training split anew in every epoch; the article has none."""

    horizontal_flip: bool = False
    vertical_flip: bool = False
    right_angles: bool = False  # a turn by 0, 90, 180 or 270 degrees
    rotation: float = setting(0.0, at_least=0, at_most=180)  # degrees, drawn from [-rotation, rotation]
    brightness: float = setting(0.0, at_least=0, at_most=1)  # factor drawn from [1 - x, 1 + x]
    contrast: float = setting(0.0, at_least=0, at_most=1)  # likewise
    saturation: float = setting(0.0, at_least=0, at_most=1)  # likewise
    hue: float = setting(0.0, at_least=0, at_most=0.5)  # shift drawn from [-x, x] of the colour circle


@dataclass
class Data:
    name: str = MISSING
    image_size: int = setting(64, at_least=1)  # pixels a side: every image is resized to a square
    max_images: int | None = setting(None, at_least=4)  # a stratified subset of so many; null: all
    valid_fraction: float = setting(0.2, above=0, below=1)  # drawn where the data has no valid split itself
    test_fraction: float = setting(0.0, at_least=0, below=1)  # held out beside it; 0: none
    split_seed: int = setting(0, at_least=0)  # of the split and of the subset
    on_bad_image: str = setting("error", choices=("error", "skip"))  # unreadable or truncated files
    augmentation: Augmentation = field(default_factory=Augmentation)


@dataclass
class SyntheticData(Data):
    name: str = setting("synthetic", choices=("synthetic",))
    num_images: int = setting(600, at_least=4)
    crack_fraction: float = setting(0.5, above=0, below=1)
    hard_negatives: float = setting(0.5, at_least=0, at_most=1)  # share of negatives with something crack-like
    difficulty: float = setting(0.4, at_least=0, at_most=1)  # 0: wide dark cracks; 1: hairlines and clutter
    seed: int = setting(0, at_least=0)  # of the drawing; replicates (`seed`) see the same images


@dataclass
class FolderData(Data):
    name: str = setting("folder", choices=("folder",))
    root: str = setting(MISSING, path=True)  # holds [train|valid|test/]<class>/**/*.jpg
    image_size: int = setting(224, at_least=1)
    crack_names: list[str] = setting(["crack", "cracks", "cracked", "positive"], length=(1, None))
    no_crack_names: list[str] = setting(
        ["noncrack", "nocrack", "noncracked", "uncracked", "intact", "background", "negative"],
        length=(1, None),
    )  # folder names: case, spaces, "-" and "_" do not matter
    groups: str | None = None  # column of the manifest: images of one group stay in one split
    manifest: str = setting("manifest.csv", path=True)  # CSV with a column `path`, relative to root


@dataclass
class ArticleData(Data):
    name: str = setting("article", choices=("article",))
    root: str = setting(MISSING, path=True)  # holds train/images and valid/images
    image_size: int = setting(224, at_least=1)
    negative_mark: str = setting("noncrack", length=(1, None))  # in a file name: there is no crack


# --- optimizer and scheduler --------------------------------------------------------------------------


@dataclass
class Optimizer:
    name: str = MISSING
    learning_rate: float = setting(1e-4, above=0)
    weight_decay: float = setting(0.0, at_least=0)


@dataclass
class Adam(Optimizer):
    name: str = setting("adam", choices=("adam",))
    beta1: float = setting(0.9, at_least=0, below=1)
    beta2: float = setting(0.999, at_least=0, below=1)
    eps: float = setting(1e-8, above=0)


@dataclass
class AdamW(Adam):
    name: str = setting("adamw", choices=("adamw",))
    weight_decay: float = setting(0.01, at_least=0)


@dataclass
class SGD(Optimizer):
    name: str = setting("sgd", choices=("sgd",))
    learning_rate: float = setting(0.01, above=0)
    momentum: float = setting(0.9, at_least=0, below=1)
    nesterov: bool = False


@dataclass
class Scheduler:
    name: str = MISSING


@dataclass
class Constant(Scheduler):
    name: str = setting("constant", choices=("constant",))


@dataclass
class Cosine(Scheduler):
    name: str = setting("cosine", choices=("cosine",))
    final_fraction: float = setting(0.0, at_least=0, at_most=1)  # of the learning rate, after max_epochs


@dataclass
class Step(Scheduler):
    name: str = setting("step", choices=("step",))
    step_epochs: int = setting(10, at_least=1)
    gamma: float = setting(0.1, above=0, at_most=1)


@dataclass
class Plateau(Scheduler):
    name: str = setting("plateau", choices=("plateau",))
    factor: float = setting(0.1, above=0, below=1)
    patience: int = setting(3, at_least=0)  # epochs without a better trainer.monitor


# --- trainer, runtime, tracker ------------------------------------------------------------------------


@dataclass
class Trainer:
    max_epochs: int = setting(25, at_least=1)
    batch_size: int = setting(32, at_least=1)  # images
    accumulate_batches: int = setting(1, at_least=1)  # batches to one optimizer step
    patience: int = setting(7, at_least=1)  # epochs without a better monitor until training stops
    monitor: str = setting("valid_loss", choices=tuple(MONITORS))  # chooses the best epoch
    min_delta: float = setting(0.0, at_least=0)  # what counts as better
    precision: str = setting("auto", choices=("auto", "fp32", "bf16"))
    clip_norm: float | None = setting(None, above=0)  # of the gradient; null: no clipping
    pos_weight: float | None = setting(None, above=0)  # weight of the crack class in the loss


@dataclass
class Runtime:
    """Where and how fast a run happens, never what it results in."""

    store: str = setting("outputs/runs", path=True, length=(1, None))
    cache: str = setting("~/.cache/crackdet", path=True, length=(1, None))  # decoded images, file digests
    cache_gib: float = setting(16.0, at_least=0)  # larger sets are streamed from their files
    device: str = "auto"  # auto, cpu, cuda, cuda:1, mps
    num_workers: int | None = setting(None, at_least=0)  # that decode images; null: one a core, up to 8
    threads: int | None = setting(None, at_least=1)  # of torch on the CPU; null: torch's choice
    checkpoint_minutes: float = setting(5.0, at_least=0)  # between two saves of the resume state
    keep_state_mib: float = setting(512.0, at_least=0)  # a finished run's state, kept to be trained longer
    keep_weights: str = setting("all", pattern="all|none|best:[1-9][0-9]*")  # of finished runs
    wait_for_others: bool = False  # let a sweep end only when runs in other processes have ended
    retry_failed: int = setting(3, at_least=0)  # attempts at a run that fails; those that came further do not count
    rerun: bool = False  # train finished runs again


@dataclass
class Tracker:
    name: str = setting("none", choices=("none",))


@dataclass
class Seeded:
    seed: int = setting(0, at_least=0)  # initial weights, order of the images, augmentation


@dataclass
class Config(Seeded):
    """All that one run needs to know."""

    model: Model = MISSING
    data: Data = MISSING
    optimizer: Optimizer = MISSING
    scheduler: Scheduler = MISSING
    trainer: Trainer = MISSING
    runtime: Runtime = MISSING
    tracker: Tracker = MISSING


@dataclass
class Schema(Seeded):
    """The root of a composed configuration; the groups bring their own schema, the model may be anybody's."""

    model: Any = MISSING
    data: Data = MISSING
    optimizer: Optimizer = MISSING
    scheduler: Scheduler = MISSING
    trainer: Trainer = MISSING
    runtime: Runtime = MISSING
    tracker: Tracker = MISSING


GROUPS: dict[str, dict[str, type]] = {
    "model": {"custom": CustomModel, "resnext50": ResNeXt50Model, "torchvision": TorchvisionModel},
    "data": {"synthetic": SyntheticData, "folder": FolderData, "article": ArticleData},
    "optimizer": {"adam": Adam, "adamw": AdamW, "sgd": SGD},
    "scheduler": {"constant": Constant, "cosine": Cosine, "step": Step, "plateau": Plateau},
    "trainer": {"default": Trainer},
    "runtime": {"default": Runtime},
    "tracker": {"none": Tracker},
}


def register() -> None:
    """Makes the schema known to Hydra, outside the groups so that it is not listed among their options."""
    store = ConfigStore.instance()
    store.store(name="crackdet_schema", node=Schema)
    for group, options in GROUPS.items():
        for option, schema in options.items():
            store.store(name=f"schema_{group}_{option}", node=schema)


# --- from a composed configuration to a valid one -----------------------------------------------------


def parse(composed: DictConfig | Mapping[str, Any]) -> Config:
    """The configuration as typed objects.

    Raises:
        UserError: for an unknown key, a missing or mistyped value, a value out of range; names the key,
            the value and what is allowed.
    """
    try:
        tree = _resolved(composed)
    except OmegaConfBaseException as error:
        raise UserError(f"{error.full_key or 'configuration'}: {_first_line(error)}") from None
    unknown = set(tree) - {item.name for item in fields(Config)}
    if unknown:
        key = sorted(unknown)[0]
        raise UserError(f"{key}: unknown key{nearest(key, [item.name for item in fields(Config)])}")
    groups = {group: _parse_group(group, tree.get(group)) for group in GROUPS}
    config = Config(**groups, **vars(_merge(Seeded, {"seed": tree.get("seed", 0)}, "")))
    _check_ranges(config, "")
    _check_together(config)
    return config


def to_dict(config: Config) -> dict[str, Any]:
    """The configuration as it is stored: plain values, a network of one's own with its `_target_`."""
    tree: dict[str, Any] = {}
    for item in fields(config):
        value = getattr(config, item.name)
        tree[item.name] = _plain(value)
    return tree


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"model": {"name": "custom"}}` as `{"model.name": "custom"}`; lists stay whole."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def allowed(key: str) -> str:
    """What the schema allows for a dotted key, in words; empty where the schema does not know the key."""
    head, *rest = key.split(".")
    if not rest:
        schemas: list[type] = [Config]
        rest = [head]
    else:
        schemas = list(GROUPS.get(head, {}).values())
    for schema in schemas:
        found: Any = schema
        kind: Any = None
        metadata: Mapping[str, Any] = {}
        for part in rest:
            items = {item.name: item for item in fields(found)} if is_dataclass(found) else {}
            if part not in items:
                break
            kind = get_type_hints(found)[part]
            metadata = items[part].metadata
            found = kind
        else:
            return _describe(kind, metadata)
    return ""


def _resolved(composed: DictConfig | Mapping[str, Any]) -> dict[str, Any]:
    """Plain values, without Hydra's own settings, some of which are known to a running job only."""
    tree = composed if isinstance(composed, DictConfig) else OmegaConf.create(dict(composed))
    ours = OmegaConf.masked_copy(tree, [str(key) for key in tree if key != "hydra"])
    return cast(dict[str, Any], OmegaConf.to_container(ours, resolve=True))


def _parse_group(group: str, tree: Any) -> Any:
    if not isinstance(tree, dict):
        raise UserError(f"{group}: missing; one of {', '.join(GROUPS[group])} is needed, as in {group}=NAME")
    if group == "model" and "_target_" in tree:
        return _parse_user_model(tree)
    options = GROUPS[group]
    if len(options) == 1:
        schema = next(iter(options.values()))
    elif group == "model":
        schema = options.get(str(tree.get("name")), CustomModel if "conv_out" in tree else TorchvisionModel)
    elif tree.get("name") in options:
        schema = options[tree["name"]]
    else:
        raise UserError(f"{group}.name={tree.get('name')}: must be one of {', '.join(options)}")
    return _merge(schema, tree, group)


def _merge(schema: type, tree: dict[str, Any], group: str) -> Any:
    def full(key: str) -> str:
        return f"{group}.{key}" if group and key else group or key

    try:
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), tree))
    except MissingMandatoryValue as error:
        key = full(str(error.full_key or ""))
        raise UserError(f"{key}: missing; give it as in {key}=VALUE") from None
    except OmegaConfBaseException as error:
        key = str(error.full_key or "")
        names = [item.name for item in fields(schema)]
        if isinstance(error, ConfigKeyError):
            *parents, last = key.split(".")
            if parents:
                names = [item.name for item in fields(get_type_hints(schema)[parents[0]])]
            raise UserError(f"{full(key)}: unknown key{nearest(last, names)}") from None
        value = OmegaConf.select(OmegaConf.create(tree), key)
        raise UserError(f"{full(key)}={_show(value)}: must be {allowed(full(key)) or 'of another type'}") from None


def _parse_user_model(tree: dict[str, Any]) -> UserModel:
    """A model with a `_target_`: crackdet's own settings are typed, the rest must fit the constructor."""
    target = str(tree["_target_"])
    common = {item.name for item in fields(Model)}
    if not tree.get("name"):
        raise UserError("model.name: missing; a network of one's own needs a name for its run ids")
    arguments = {key: value for key, value in tree.items() if key not in common and key != "_target_"}
    parameters = inspect.signature(locate(target)).parameters
    for key in arguments:
        if key not in parameters and not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            raise UserError(f"model.{key}: {target} takes no such argument{nearest(key, list(parameters))}")
    for key, parameter in parameters.items():
        if (
            key not in arguments
            and parameter.default is parameter.empty
            and parameter.kind
            in (
                parameter.POSITIONAL_OR_KEYWORD,
                parameter.KEYWORD_ONLY,
            )
        ):
            raise UserError(f"model.{key}: missing; {target} needs it, as in +model.{key}=VALUE")
        if parameter.annotation in FLOATS and type(arguments.get(key)) is int:
            arguments[key] = float(arguments[key])  # 1 and 1.0 are one value, hence one run
    base = _merge(Model, {key: value for key, value in tree.items() if key in common}, "model")
    return UserModel(**vars(base), target=target, arguments=arguments)


def locate(target: str) -> Any:
    """The class or function behind a dotted path.

    Raises:
        UserError: where there is none.
    """
    module, _, attribute = target.rpartition(".")
    if str(Path.cwd()) not in sys.path:  # a script's own folder is there already, that of its user not
        sys.path.append(str(Path.cwd()))
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:  # whatever the user's module does while it is imported
        raise UserError(
            f"model._target_={target}: cannot be imported ({type(error).__name__}: {error}); "
            "it must be package.module.Class, installed, or in the current folder"
        ) from None


def _check_ranges(node: Any, prefix: str) -> None:
    for item in fields(node):
        value = getattr(node, item.name)
        key = f"{prefix}{item.name}"
        if is_dataclass(value):
            _check_ranges(value, f"{key}.")
        elif value == MISSING:
            raise UserError(f"{key}: missing; give it as in {key}=VALUE")
        elif value is not None and not _fits(value, item.metadata):
            kind = get_type_hints(type(node))[item.name]
            raise UserError(f"{key}={_show(value)}: must be {_describe(kind, item.metadata)}")


def _fits(value: Any, metadata: Mapping[str, Any]) -> bool:
    if isinstance(value, (list, str)) and "length" in metadata:
        low, high = _length(metadata)
        if len(value) < low or (high is not None and len(value) > high):
            return False
    if isinstance(value, list):
        return all(_fits(item, {k: v for k, v in metadata.items() if k != "length"}) for item in value)
    if isinstance(value, float) and not math.isfinite(value):
        return False
    return (
        value in metadata.get("choices", (value,))
        and ("pattern" not in metadata or re.fullmatch(metadata["pattern"], value) is not None)
        and not ("at_least" in metadata and value < metadata["at_least"])
        and not ("at_most" in metadata and value > metadata["at_most"])
        and not ("above" in metadata and value <= metadata["above"])
        and not ("below" in metadata and value >= metadata["below"])
    )


def _check_together(config: Config) -> None:
    """What two settings say of each other."""
    model, size = config.model, config.data.image_size
    if isinstance(model, CustomModel) and size < 2 ** len(model.conv_out):
        raise UserError(
            f"data.image_size={size}: too small for the {len(model.conv_out)} poolings of "
            f"model.conv_out={_show(model.conv_out)}; must be at least {2 ** len(model.conv_out)}"
        )
    if isinstance(config.data, SyntheticData) and not 24 <= size <= 1024:
        raise UserError(f"data.image_size={size}: synthetic photographs are drawn from 24 to 1024 pixels a side")
    if config.data.valid_fraction + config.data.test_fraction >= 1:
        raise UserError(
            f"data.valid_fraction={config.data.valid_fraction}, data.test_fraction={config.data.test_fraction}: "
            "must together be below 1, something has to be trained on"
        )
    if isinstance(config.optimizer, SGD) and config.optimizer.nesterov and config.optimizer.momentum == 0:
        raise UserError("optimizer.nesterov=true: must have optimizer.momentum above 0")


def _length(metadata: Mapping[str, Any]) -> tuple[int, int | None]:
    length = metadata["length"]
    return length if isinstance(length, tuple) else (length, length)


def _describe(kind: Any, metadata: Mapping[str, Any]) -> str:
    """`list[int]` with `at_least=1` as "a list of whole numbers, each at least 1"."""
    if "pattern" in metadata:
        return "of the form " + str(metadata["pattern"]).replace("|", " or ").replace("[1-9][0-9]*", "NUMBER")
    if "choices" in metadata:
        return "one of " + ", ".join(str(choice) for choice in metadata["choices"])
    name = str(getattr(kind, "__name__", kind)) if isinstance(kind, type) else str(kind)
    words = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text"}
    text = words.get(name, "")
    if "list" in name:
        low, high = _length(metadata) if "length" in metadata else (0, None)
        inner = "whole numbers" if "int" in name else "numbers" if "float" in name else "texts"
        text = f"a list of {low} {inner}" if low == high else f"a list of {inner} such as [64,128]"
        if "str" in name:
            text = "a list of texts"
        if low and high is None:
            text += ", at least one"
    elif not text:
        text = next((word for key, word in words.items() if key in name), "a group of settings")
    elif "length" in metadata:
        text += ", not empty"
    signs = {"at_least": "at least", "at_most": "at most", "above": "above", "below": "below"}
    bounds = [f"{sign} {metadata[key]}" for key, sign in signs.items() if key in metadata]
    if bounds:
        text += (", each " if "list" in name else " ") + " and ".join(bounds)
    if "None" in name or "Optional" in name:
        text += ", or null"
    return text


def _plain(value: Any) -> Any:
    if isinstance(value, UserModel):
        tree = {item.name: getattr(value, item.name) for item in fields(Model)}
        return {"_target_": value.target, **tree, **value.arguments}
    if is_dataclass(value):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    return value


def _show(value: Any) -> str:
    return "[" + ",".join(map(str, value)) + "]" if isinstance(value, list) else str(value)


def nearest(key: str, names: list[str]) -> str:
    """The end of a message about an unknown name: the one that was probably meant, or all there are."""
    near = difflib.get_close_matches(key, names, n=1)
    return f"; did you mean {near[0]}?" if near else f"; known are {', '.join(sorted(set(names)))}"


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
