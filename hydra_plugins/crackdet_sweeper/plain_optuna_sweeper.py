"""`hydra/sweeper=optuna`: hydra-optuna-sweeper's own sweeper, with whole numbers from the interval of such a setting.

Hydra makes floats of both ends of `interval(16,64)`, which `model.linear_features` refuses.
"""

from collections.abc import Mapping
from typing import Any

from hydra_plugins.hydra_optuna_sweeper.optuna_sweeper import OptunaSweeper


class PlainOptunaSweeper(OptunaSweeper):
    def __init__(self, params: Mapping[str, Any] | None, **settings: Any) -> None:
        super().__init__(params=None, **settings)
        self._params = [f"{key}={value}" for key, value in (params or {}).items()]

    def sweep(self, arguments: list[str]) -> None:
        from crackdet.sweep.search.parameter import with_whole_interval

        super().sweep([with_whole_interval(text) for text in (*self._params, *arguments)])
