"""Parameters as Optuna's distributions, under the names they have in the installed Optuna."""

from typing import Any

from optuna import distributions

from crackdet.sweep.search.parameter import Parameter


def distribution(parameter: Parameter) -> Any:
    """The distribution that `Parameter.suggest` draws from; from Optuna 3 on there is one for each kind of number."""
    if parameter.kind == "choice":
        return distributions.CategoricalDistribution(list(parameter.texts))
    if parameter.kind == "int":
        return _whole(int(parameter.low), int(parameter.high), int(parameter.step or 1), parameter.log)
    return _fraction(parameter.low, parameter.high, parameter.step, parameter.log)


def _whole(low: int, high: int, step: int, log: bool) -> Any:
    if hasattr(distributions, "IntDistribution"):
        return distributions.IntDistribution(low, high, log=log, step=step)
    if log:
        return distributions.IntLogUniformDistribution(low, high)
    return distributions.IntUniformDistribution(low, high, step)


def _fraction(low: float, high: float, step: float | None, log: bool) -> Any:
    if hasattr(distributions, "FloatDistribution"):
        return distributions.FloatDistribution(low, high, log=log, step=step)
    if log:
        return distributions.LogUniformDistribution(low, high)
    if step is not None:
        return distributions.DiscreteUniformDistribution(low, high, step)
    return distributions.UniformDistribution(low, high)
