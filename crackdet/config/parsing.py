"""A composed Hydra configuration, or the `config.yaml` of a run directory -> a valid `Config`.

Unknown keys, wrong types and values out of range are refused before anything is trained.
Nothing here imports torch: recognising a finished run must not cost it.
"""

import functools
import importlib
import inspect
import json
import math
import re
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, cast, get_args, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

from crackdet.config.messages import allowed, describe, first_line, list_length, nearest, show_value
from crackdet.config.schema import (
    GROUPS,
    MISSING,
    SGD,
    TRACKERS,
    Config,
    CustomModel,
    Data,
    Model,
    Runtime,
    Schema,
    Seeded,
    Sweep,
    SyntheticData,
    TorchvisionModel,
    UserModel,
    flatten,
)
from crackdet.core.errors import UserError

FLOATS = (float, "float", float | None, "float | None")  # annotations, also as `from __future__` leaves them


def register() -> None:
    """Makes the schema known to Hydra, outside the groups so that it is not listed among their options."""
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    store.store(name="crackdet_schema", node=Schema, replace=True)
    for group, options in GROUPS.items():
        for option, schema in options.items():
            store.store(name=f"schema_{group}_{option}", node=schema, replace=True)
    for tracker, schema in TRACKERS.items():
        store.store(name=f"schema_tracker_{tracker}", node=schema, replace=True)


def parse(composed: DictConfig | Mapping[str, Any]) -> Config:
    """The configuration as typed objects.

    Raises:
        UserError: for an unknown key, a missing or mistyped value, a value out of range; names the key,
            the value and what is allowed.
    """
    try:
        tree = resolved(composed)
    except OmegaConfBaseException as error:
        raise UserError(f"{error.full_key or 'configuration'}: {first_line(error)}") from None
    unknown = set(tree) - {item.name for item in fields(Config)}
    if unknown:
        key = sorted(unknown)[0]
        raise UserError(f"{key}: unknown key{nearest(key, [item.name for item in fields(Config)])}")
    groups = {group: _parse_group(group, tree.get(group)) for group in GROUPS}
    config = Config(**groups, **vars(_parse_seed(json.dumps(tree.get("seed", 0)))))
    _check_ranges(config, "")
    _check_together(config)
    return config


def resolved(composed: DictConfig | Mapping[str, Any]) -> dict[str, Any]:
    """Plain values, without Hydra's own settings, some of which are known to a running job only.

    Raises:
        OmegaConfBaseException: where a value refers to what is not there.
    """
    if not isinstance(composed, DictConfig) and "${" not in repr(composed):
        return {str(key): value for key, value in composed.items() if key != "hydra"}
    tree = composed if isinstance(composed, DictConfig) else OmegaConf.create(dict(composed))
    ours = OmegaConf.masked_copy(tree, [str(key) for key in tree if key != "hydra"])
    return cast(dict[str, Any], OmegaConf.to_container(ours, resolve=True))


def parse_model(tree: Mapping[str, Any]) -> Model:
    """A network by its settings alone; with a `_target_` the user's class is imported.

    Raises:
        UserError: as `parse`.
    """
    model = cast(Model, _parse_group("model", dict(tree)))
    _check_ranges(model, "model.")
    return model


def parse_sweep(config: DictConfig) -> Sweep:
    """The `sweep` group of the configuration that a sweep starts from, whose runs may be of any kind.

    Raises:
        UserError: as `parse`.
    """
    return cast(Sweep, _of_sweep(config, "sweep"))


def parse_runtime(config: DictConfig) -> Runtime:
    """Its `runtime` group, as far as it is of the sweep as a whole.

    Raises:
        UserError: as `parse`.
    """
    return cast(Runtime, _of_sweep(config, "runtime"))


def parse_data(tree: Any) -> Data:
    """The `data` group of a stored configuration alone, whose network may be of anybody's code.

    Raises:
        UserError: as `parse`.
    """
    settings = cast(Data, _parse_group("data", tree))
    _check_ranges(settings, "data.")
    return settings


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


def _of_sweep(config: DictConfig, group: str) -> Any:
    tree = OmegaConf.to_container(config[group], resolve=True) if group in config else None
    settings = _parse_group(group, tree)
    _check_ranges(settings, f"{group}.")
    return settings


def _parse_group(group: str, tree: Any) -> Any:
    if not isinstance(tree, dict):
        raise UserError(f"{group}: missing; one of {', '.join(GROUPS[group])} is needed, as in {group}=NAME")
    if group == "model" and "_target_" in tree:
        return _parse_user_model(tree)
    return _parse_known(group, json.dumps(tree))


@functools.lru_cache(maxsize=4096)
def _parse_known(group: str, text: str) -> Any:
    """One of crackdet's own options; remembered, since the runs of a sweep share most of their groups."""
    tree = json.loads(text)
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


@functools.lru_cache(maxsize=4096)
def _parse_seed(text: str) -> Any:
    return _merge(Seeded, {"seed": json.loads(text)}, "")


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
                kind = get_type_hints(schema)[parents[0]]
                names = [item.name for item in fields(next(filter(is_dataclass, get_args(kind)), kind))]
            raise UserError(f"{full(key)}: unknown key{nearest(last, names)}") from None
        value = OmegaConf.select(OmegaConf.create(tree), key)
        raise UserError(f"{full(key)}={show_value(value)}: must be {allowed(full(key)) or 'of another type'}") from None


def _parse_user_model(tree: dict[str, Any]) -> UserModel:
    """A model with a `_target_`: crackdet's own settings are typed, the rest must fit the constructor."""
    target = str(tree["_target_"])
    common = {item.name for item in fields(Model)}
    if not tree.get("name"):
        raise UserError("model.name: missing; a network of one's own needs a name for its run ids")
    arguments = {key: value for key, value in tree.items() if key not in common and key != "_target_"}
    try:
        parameters = inspect.signature(locate(target)).parameters
    except (TypeError, ValueError):
        raise UserError(f"model._target_={target}: must be a class, or a function that makes a network") from None
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
    for key, value in flatten(arguments).items():
        numbers = [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, float)]
        if not all(map(math.isfinite, numbers)):
            raise UserError(f"model.{key}={show_value(value)}: must be a finite number")
    base = _merge(Model, {key: value for key, value in tree.items() if key in common}, "model")
    return UserModel(**vars(base), target=target, arguments=arguments)


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
            raise UserError(f"{key}={show_value(value)}: must be {describe(kind, item.metadata)}")


def _fits(value: Any, metadata: Mapping[str, Any]) -> bool:
    if isinstance(value, (list, str)) and "length" in metadata:
        low, high = list_length(metadata)
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
            f"model.conv_out={show_value(model.conv_out)}; must be at least {2 ** len(model.conv_out)}"
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
