"""The search: Optuna's suggestions, answered by the run store. Only its own files import optuna."""

import warnings

warnings.filterwarnings("ignore", ".* is experimental", module="crackdet.sweep.search")  # of Optuna 2, no longer so
