"""`hydra/sweeper=optuna`: the sweeper of hydra-optuna-sweeper, with integers for settings that are integers.

Hydra converts both ends of `interval(16,64)` to floats, which `model.linear_features` refuses.
"""

from collections.abc import Mapping
from typing import Any

from hydra_plugins.hydra_optuna_sweeper.optuna_sweeper import OptunaSweeper

from crackdet.core.errors import UserError


class PlainOptunaSweeper(OptunaSweeper):
    def __init__(self, params: Mapping[str, Any] | None, **settings: Any) -> None:
        if settings.pop("search_space", None) is not None:
            raise UserError(
                "hydra.sweeper.search_space: removed in version 1.4 of hydra-optuna-sweeper; give "
                "hydra.sweeper.params, as in {model.linear_features: 'range(8,65,8)'}, or use "
                "hydra/sweeper=crackdet_optuna, which has it"
            )
        super().__init__(params=None, **settings)
        self._params = [f"{key}={value}" for key, value in (params or {}).items()]

    def sweep(self, arguments: list[str]) -> None:
        from crackdet.sweep.search.parameter import with_integer_interval

        super().sweep([with_integer_interval(text) for text in (*self._params, *arguments)])
