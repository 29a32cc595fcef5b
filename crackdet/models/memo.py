"""Results of the meta device, computed once in a process: the runs of a sweep often share their network."""

import functools
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from crackdet.config.schema import Config, UserModel
from crackdet.config.user_model import import_target
from crackdet.core.files import change_stamp, expand_home
from crackdet.store.identity import is_weights_file

Result = TypeVar("Result")

MAX_RESULTS = 1000  # of one function


def once_per_network(function: Callable[[Config], Result]) -> Callable[[Config], Result]:
    """Remember the results of a function of the feature extractor, its initial weights and the image size.

    The function must not depend on other settings. Errors are not remembered.
    """
    results: dict[Hashable, Result] = {}

    @functools.wraps(function)
    def remembering(config: Config) -> Result:
        key = _network_key(config)
        if key not in results:
            result = function(config)
            if len(results) >= MAX_RESULTS:
                results.clear()
            results[key] = result
        return results[key]

    return remembering


def _network_key(config: Config) -> Hashable:
    """Return what identifies the network within this process: a user's network by its class, a file by its times."""
    model, stamp = config.model, None
    user_class = import_target(model.target) if isinstance(model, UserModel) else None
    if model.weights is not None and is_weights_file(model.weights):
        with suppress(OSError):  # the function reports a missing file
            stamp = change_stamp(expand_home(model.weights).stat())
    settings = replace(model, linear_features=1, freeze_features=False)
    return repr(settings), config.data.image_size, user_class, stamp
