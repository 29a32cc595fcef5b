"""The arguments of `train.py`, before Hydra reads them. Nothing here imports Hydra: skipping a run does not need it."""

import re
from collections.abc import Sequence

HOME = re.compile(r"(?<=[=,])(~(?:/[^,'\"\[\](){}]*)?)(?=,|$)")


def quote_home(texts: Sequence[str]) -> list[str]:
    """Return overrides with quotes around values such as `~/photos`, which Hydra does not accept without."""
    return [HOME.sub(r"'\1'", text) for text in texts]
