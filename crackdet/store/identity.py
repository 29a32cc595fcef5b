"""What decides a run's result, and the name that follows from it.

The identity is the whole resolved configuration (not its difference from the defaults, which would let a
changed default reuse an old run) less the groups and paths that only say where and how fast a run happens,
plus the fingerprint of the data. Its SHA-256 names the run.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from crackdet.config.schema import PATHS, Config, UserModel, to_dict
from crackdet.core.errors import UserError
from crackdet.core.files import file_digest
from crackdet.store.code_digest import code_digest

SCHEMA = 2  # raised by hand if the name or meaning of a setting changes
NON_IDENTITY = ("runtime", "tracker", "sweep", "hydra")
WEIGHT_FILES = (".pth", ".pt", ".safetensors")


@dataclass(frozen=True)
class Identity:
    """The canonical content that is hashed, and the run id it gives."""

    content: Mapping[str, Any]

    @cached_property
    def canonical(self) -> str:
        return json.dumps(self.content, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(self.canonical.encode()).hexdigest()

    @property
    def run_id(self) -> str:
        name = re.sub(r"[^A-Za-z0-9_]+", "_", str(self.content["model"]["name"])).lower()
        return f"{name}-{self.digest[:12]}"

    def without(self, *keys: str) -> "Identity":
        """This identity less some dotted keys: `without("seed")` is that of the combination."""
        content = json.loads(self.canonical)
        for key in keys:
            *parents, last = key.split(".")
            node = content
            for parent in parents:
                node = node[parent]
            node.pop(last, None)
        return Identity(content)


def identify(config: Config, fingerprint: str) -> Identity:
    """The identity of a configuration over data with this fingerprint.

    Raises:
        UserError: where the model names weights that are neither torchvision's nor a readable file.
    """
    tree = {key: value for key, value in to_dict(config).items() if key not in NON_IDENTITY}
    for place in PATHS:
        group, _, name = place.partition(".")
        tree.get(group, {}).pop(name, None)
    tree["model"]["weights"] = _exact_weights(config)
    if isinstance(config.model, UserModel):
        tree["model"]["_source_"] = code_digest(config.model.target)
    content = {"schema": SCHEMA, "fingerprint": fingerprint, **_without_nulls(tree)}
    if isinstance(config.model, UserModel):
        content["model"] |= config.model.arguments  # a null that a class is given need not be its default
    return Identity(content)


def is_weights_file(weights: str) -> bool:
    """Whether `model.weights` means a file rather than one of torchvision's names."""
    return weights.endswith(WEIGHT_FILES) or "/" in weights


def _exact_weights(config: Config) -> str | None:
    """Weights by what they are: a file by its digest, torchvision's by their name."""
    weights = config.model.weights
    if weights is None:
        return None
    if is_weights_file(weights):
        path = Path(weights).expanduser()
        if not path.is_file():
            raise UserError(f"model.weights={weights}: there is no such file")
        return f"sha256:{file_digest(path)}"
    return weights


def _without_nulls(value: Any) -> Any:
    """Keys whose value is null are dropped, so that a later setting that defaults to null renames no old run."""
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return value
