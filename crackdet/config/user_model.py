"""A user's network, given by `model._target_`: import its class and check its arguments."""

import importlib
import inspect
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crackdet.config.messages import show_value, suggest
from crackdet.config.schema import flatten
from crackdet.core.errors import UserError

FLOATS = (float, "float", float | None, "float | None")  # annotations; texts with `from __future__ import annotations`


def import_target(target: str) -> Any:
    """Return the class or function of a dotted path.

    Raises:
        UserError: If it cannot be imported.
    """
    module, _, attribute = target.rpartition(".")
    if str(Path.cwd()) not in sys.path:  # Python adds the folder of the script, not the current one
        sys.path.append(str(Path.cwd()))
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:  # the user's module may raise anything
        raise UserError(
            f"model._target_={target}: cannot be imported ({type(error).__name__}: {error}); "
            "must be package.module.Class, installed or in the current folder"
        ) from None


def check_arguments(target: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of the user's constructor, with integers converted for parameters of type float.

    Raises:
        UserError: If an argument is unknown, missing or not finite.
    """
    try:
        parameters = inspect.signature(import_target(target)).parameters
    except (TypeError, ValueError):
        raise UserError(f"model._target_={target}: must be a class, or a function that returns a network") from None
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    for key in arguments:
        if key not in parameters and not takes_any:
            raise UserError(f"model.{key}: {target} has no such argument{suggest(key, list(parameters))}")
    checked = dict(arguments)
    for key, parameter in parameters.items():
        is_named = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        if is_named and parameter.default is parameter.empty and key not in arguments:
            raise UserError(f"model.{key}: missing; {target} requires it, as in +model.{key}=VALUE")
        if parameter.annotation in FLOATS and type(checked.get(key)) is int:
            checked[key] = float(checked[key])  # 1 and 1.0 are the same value, hence the same run
    for key, value in flatten(checked).items():
        numbers = [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, float)]
        if not all(map(math.isfinite, numbers)):
            raise UserError(f"model.{key}={show_value(value)}: must be a finite number")
    return checked
