"""Results of the meta device, computed once in a process: the runs of a sweep often share their network."""

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from crackdet.config.schema import Config, UserModel
from crackdet.core.errors import UserError
from crackdet.core.files import change_stamp, expand_home
from crackdet.store.code_digest import code_digest
from crackdet.store.identity import is_weights_file

Result = TypeVar("Result")

MAX_RESULTS = 1000  # of one function


def once_per_network(function: Callable[[Config], Result]) -> Callable[[Config], Result]:
    """Remember the results of a function of the feature extractor, its initial weights and the image size.

    The function must not depend on other settings. Errors are not remembered.
    """
    results: dict[str, Result] = {}

    @functools.wraps(function)
    def remembering(config: Config) -> Result:
        try:
            key = _network_key(config)
        except UserError:  # the code of a user's network cannot be found
            return function(config)
        if key not in results:
            result = function(config)
            if len(results) >= MAX_RESULTS:
                results.clear()
            results[key] = result
        return results[key]

    return remembering


def _network_key(config: Config) -> str:
    model = config.model
    code = code_digest(model.target) if isinstance(model, UserModel) else None
    stamp = None
    if model.weights is not None and is_weights_file(model.weights):
        try:
            stamp = change_stamp(expand_home(model.weights).stat())
        except OSError:
            stamp = None
    return repr((replace(model, linear_features=1, freeze_features=False), config.data.image_size, code, stamp))
