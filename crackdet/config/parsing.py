"""Turn a composed Hydra configuration, or the `config.yaml` of a run directory, into a valid `Config`.

Unknown keys, wrong types and values out of range are refused before anything is trained.
Nothing here imports torch: skipping a finished run must not take the seconds of that import.
"""

import functools
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, cast, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

from crackdet.config.fields import MISSING, satisfies
from crackdet.config.groups import GROUPS, NAMED_NETWORKS, PRESETS, TIMM, names_network
from crackdet.config.interpolation import escape
from crackdet.config.messages import describe, describe_key, shorten, show_value
from crackdet.config.optimization import SGD
from crackdet.config.schema import (
    Config,
    CustomModel,
    Model,
    Seeded,
    SyntheticData,
    TimmModel,
    TorchvisionModel,
    UserModel,
    setting_at,
)
from crackdet.config.synonyms import suggest_setting
from crackdet.config.user_model import check_arguments
from crackdet.core.errors import UserError
from crackdet.core.reading import MAX_INTEGER


def parse(composed: DictConfig | Mapping[str, Any]) -> Config:
    """Return the configuration as typed objects.

    Raises:
        UserError: If a key is unknown, or a value is missing, of the wrong type or out of range. The message names
            the key, the value and what is allowed.
    """
    return parse_literal(resolve(composed))


def parse_literal(tree: Mapping[str, Any]) -> Config:
    """Return the configuration of plain values in which `${` is text, such as those of a stored run.

    Raises:
        UserError: As `parse`.
    """
    for key in sorted(set(tree) - {item.name for item in fields(Config)}):
        raise UserError(f"{key}: unknown key{suggest_setting(key)}")
    groups = {group: _merge_group(group, tree.get(group)) for group in GROUPS}
    config = Config(**groups, **vars(_merge_seed(_to_json("", {"seed": tree.get("seed", 0)}))))
    _check_values(config, "")
    _check_combinations(config)
    return config


def check_network_name(overrides: Sequence[str]) -> None:
    """Raise UserError if overrides choose one network, and the name of another: model=resnet18 model.name=resnet50."""
    values = {}
    for text in overrides:
        key, _, value = text.partition("=")
        values[key.lstrip("+")] = value.strip("'\"")
    option, name = values.get("model"), values.get("model.name")
    if names_network(option) and name not in (None, str(option).removeprefix(TIMM)):
        other = f" or model={name}" if name in NAMED_NETWORKS else ""
        named = f"model={TIMM}{name}" if str(option).startswith(TIMM) else f"model=torchvision model.name={name}"
        raise UserError(f"model.name={name}: contradicts model={option}, which is another network; give {named}{other}")


def resolve(composed: DictConfig | Mapping[str, Any]) -> dict[str, Any]:
    """Return plain values, interpolations resolved, without Hydra's own settings: some exist in a running job only.

    Raises:
        UserError: If an interpolation cannot be resolved.
    """
    if not isinstance(composed, DictConfig) and "${" not in repr(composed):
        return {str(key): value for key, value in composed.items() if key != "hydra"}
    try:
        tree = composed if isinstance(composed, DictConfig) else OmegaConf.create(dict(composed))
        ours = OmegaConf.masked_copy(tree, [str(key) for key in tree if key != "hydra"])
        return cast(dict[str, Any], OmegaConf.to_container(ours, resolve=True))
    except OmegaConfBaseException as error:
        raise UserError(f"{error.full_key or 'configuration'}: {str(error).splitlines()[0]}") from None


def parse_group(group: str, tree: Any) -> Any:
    """Return one group of settings, such as the `data` of a run whose network needs a user's class.

    Args:
        group: The group; a `model` with a `_target_` imports the user's class.
        tree: Its part of a composed configuration, or of one of literal values; None if it is missing.

    Raises:
        UserError: As `parse`.
    """
    if isinstance(tree, DictConfig):
        tree = OmegaConf.to_container(tree, resolve=True)
    settings = _merge_group(group, tree)
    _check_values(settings, f"{group}.")
    return settings


def _merge_group(group: str, tree: Any) -> Any:
    """Return an instance of the schema of a group, without the check of its values."""
    if not isinstance(tree, dict):
        raise UserError(f"{group}: missing; choose an option with {group}=NAME, from {_options(group)}")
    if group == "model" and "_target_" in tree:
        return _merge_user_model(tree)
    return _merge_option(group, _to_json(group, tree))


def _to_json(group: str, tree: dict[str, Any]) -> str:
    """Return settings as JSON.

    Raises:
        UserError: If a value is not of a type that JSON has.
    """
    for name, value in tree.items():
        try:
            json.dumps(value)
        except (TypeError, ValueError, RecursionError):  # bytes or dates of YAML; too many digits, or lists in lists
            key = ".".join(filter(None, (group, str(name))))
            raise UserError(f"{key}: must be {describe_key(key) or 'a number, text or a list of them'}") from None
    return json.dumps(tree)


def _options(group: str) -> str:
    return ", ".join([*GROUPS[group], *(PRESETS if group == "model" else ())])


@functools.lru_cache(maxsize=4096)
def _merge_option(group: str, text: str) -> Any:
    """Return one of crackdet's own options; cached, because the runs of a sweep share most of their groups."""
    tree = json.loads(text)
    options, name = GROUPS[group], str(tree.get("name"))
    if len(options) == 1:
        schema = next(iter(options.values()))
    elif group == "model":
        schema = TimmModel if "library" in tree else options.get(name, TorchvisionModel)
        if "conv_out" in tree and name != "custom":
            raise UserError(f"model.name={shorten(name)}: must be custom with model=custom{_network(name)}")
    elif (option := tree.get("library", name)) in options:  # optimizer=timm has the name of an optimizer
        schema = options[option]
    else:
        raise UserError(f"{group}.name={shorten(name)}: must be one of {', '.join(options)}")
    settings = _merge(schema, tree, group)
    return _split_tag(settings) if isinstance(settings, TimmModel) else settings


def _split_tag(model: TimmModel) -> TimmModel:
    """Return a network of timm by its name alone; the tag in `resnet50.a1_in1k` names its weights."""
    name, dot, tag = model.name.partition(".")
    if not dot:
        return model
    if model.weights not in ("DEFAULT", tag):
        raise UserError(
            f"model.name={shorten(model.name)}: names the weights {shorten(tag)}, which contradicts "
            f"model.weights={'null' if model.weights is None else shorten(model.weights)}; give model.name={name}"
        )
    return replace(model, name=name, weights=tag)


@functools.lru_cache(maxsize=4096)
def _merge_seed(text: str) -> Any:
    return _merge(Seeded, json.loads(text), "")


def _network(name: str) -> str:
    """Return the end of a message about a name that no network of `conv_out` has."""
    chosen = f"model={name}" if name in NAMED_NETWORKS else f"model=torchvision model.name={shorten(name)}"
    return f"; for another network, give {chosen}"


def _merge_user_model(tree: dict[str, Any]) -> UserModel:
    """Return a model with a `_target_`: the settings of every network, and the arguments of the user's constructor."""
    target = str(tree["_target_"])
    common = {item.name for item in fields(Model)}
    if not tree.get("name"):
        raise UserError("model.name: missing; a network with a _target_ needs a name for its run ids")
    arguments = {key: value for key, value in tree.items() if key not in common and key != "_target_"}
    arguments = check_arguments(target, arguments)
    base = _merge(Model, {key: value for key, value in tree.items() if key in common}, "model")
    return UserModel(**vars(base), target=target, arguments=arguments)


def _merge(schema: type, tree: dict[str, Any], group: str) -> Any:
    """Return an instance of a schema with the values of a tree."""
    try:
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), escape(tree)))
    except OmegaConfBaseException as error:
        inner = str(error.full_key or "")
        key = ".".join(filter(None, (group, inner)))
        if isinstance(error, MissingMandatoryValue):
            raise UserError(_missing(key)) from None
        if isinstance(error, ConfigKeyError):
            raise UserError(f"{key}: unknown key{suggest_setting(key)}") from None
        raise _wrong(key, setting_at(tree, inner)) from None
    except OverflowError:  # an integer that is too large for a float
        name = next(name for name, value in tree.items() if isinstance(value, int) and abs(value) > sys.float_info.max)
        raise _wrong(".".join(filter(None, (group, name))), tree[name]) from None


def _wrong(key: str, value: Any) -> UserError:
    return UserError(f"{key}={show_value(value)}: must be {describe_key(key) or 'of another type'}")


_type_hints = functools.cache(get_type_hints)


def _missing(key: str) -> str:
    return f"{key}: missing; give it as in {key}=VALUE"


def _check_values(node: Any, prefix: str) -> None:
    """Check each value against the constraints of its field, and each item of a list against its type."""
    hints = _type_hints(cast(Any, type(node)))
    for item in fields(node):
        value = getattr(node, item.name)
        key, kind = f"{prefix}{item.name}", hints[item.name]
        if is_dataclass(value):
            _check_values(value, f"{key}.")
        elif value == MISSING:
            raise UserError(_missing(key))
        elif value is not None and not (_has_items_of(kind, value) and satisfies(value, item.metadata)):
            bits = " of at most 64 bits" if isinstance(value, int) and abs(value) > MAX_INTEGER else ""
            raise UserError(f"{key}={show_value(value)}: must be {describe(kind, item.metadata)}{bits}")


def _has_items_of(kind: Any, value: Any) -> bool:
    """Return whether the items of a list have the type that a field allows; OmegaConf accepts lists within lists."""
    if not isinstance(value, list) or kind is Any:
        return True
    (item,) = next(get_args(part) for part in (kind, *get_args(kind)) if get_origin(part) is list)
    return item is Any or all(type(each) is item for each in value)


def _check_combinations(config: Config) -> None:
    """Check settings that constrain each other."""
    model, data, optimizer, scheduler = config.model, config.data, config.optimizer, config.scheduler
    trainer = config.trainer
    if isinstance(model, CustomModel) and data.image_size < 2 ** len(model.conv_out):
        raise UserError(
            f"data.image_size={data.image_size}: must be at least {2 ** len(model.conv_out)}; each convolution of "
            f"model.conv_out={show_value(model.conv_out)} halves the image"
        )
    if isinstance(data, SyntheticData) and not 24 <= data.image_size <= 1024:
        raise UserError(f"data.image_size={data.image_size}: must be from 24 to 1024 with data=synthetic")
    if data.valid_fraction + data.test_fraction >= 1:
        raise UserError(
            f"data.valid_fraction={data.valid_fraction}, data.test_fraction={data.test_fraction}: "
            "their sum must be < 1, so that images are left for training"
        )
    if config.trainer.probe and not model.freeze_features:
        raise UserError("trainer.probe=true: needs model.freeze_features=true, since a probe does not change features")
    if isinstance(optimizer, SGD) and optimizer.nesterov and optimizer.momentum == 0:
        raise UserError("optimizer.nesterov=true: optimizer.momentum must be > 0")
    if scheduler.warmup_epochs is None and scheduler.warmup_start_fraction is not None:
        raise UserError(
            f"scheduler.warmup_start_fraction={scheduler.warmup_start_fraction}: there is no warm-up; set "
            "scheduler.warmup_epochs"
        )
    if (scheduler.warmup_epochs or 0) > trainer.max_epochs:
        raise UserError(
            f"scheduler.warmup_epochs={scheduler.warmup_epochs:g}: must be at most "
            f"trainer.max_epochs={trainer.max_epochs}"
        )
    actions = {"mixup": "mixes images", "cutmix": "mixes images", "unfreeze_epochs": "unfreezes stages"}
    for name, action in actions.items():
        value = getattr(trainer, name)
        if value is not None and model.freeze_features:
            raise UserError(
                f"trainer.{name}={value}: {action}, and model.freeze_features=true trains the head only, on features "
                f"that are computed once; set trainer.{name}=null or model.freeze_features=false"
            )
        if value is not None and name != "unfreeze_epochs" and trainer.batch_size == 1:
            raise UserError(f"trainer.{name}={value}: mixes the images of a batch; trainer.batch_size must be > 1")
