"""The identity of a run: everything that determines its result; its hash names the run directory.

It is the resolved configuration with all defaults (a changed default must not reuse an old run), without the groups
and paths that only determine where and how fast a run executes, and the fingerprint of the data.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from crackdet.config.groups import GROUPS, PATHS
from crackdet.config.schema import Config, UserModel, to_dict
from crackdet.core.errors import UserError
from crackdet.core.files import expand_home
from crackdet.core.reading import describe_missing, file_digest, read_json
from crackdet.store.code_digest import code_digest
from crackdet.store.paths import RunPaths

SCHEMA = 2  # raised by hand if the name or the meaning of a setting changes
WEIGHTS_SUFFIXES = (".pth", ".pt", ".safetensors", ".ckpt", ".bin", ".tar")
NON_IDENTITY = ("runtime", "tracker", "sweep", "hydra")  # groups


@dataclass(frozen=True)
class Identity:
    """The content that is hashed, and the run id that it gives."""

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


def identify(config: Config, fingerprint: str) -> Identity:
    """Return the identity of a configuration on data with this fingerprint.

    Raises:
        UserError: If `model.weights` is a file that does not exist or cannot be read.
    """
    tree = {key: value for key, value in to_dict(config).items() if key not in NON_IDENTITY}
    for path in PATHS:
        group, _, name = path.partition(".")
        tree.get(group, {}).pop(name, None)
    tree["model"]["weights"] = _exact_weights(config)
    if isinstance(config.model, UserModel):
        tree["model"]["_source_"] = code_digest(config.model.target)
    content = {"schema": SCHEMA, "fingerprint": fingerprint, **_without_nulls(tree)}
    if isinstance(config.model, UserModel):
        content["model"] |= config.model.arguments  # null may differ from the default of the user's class
    return Identity(content)


def read_identity(run: RunPaths) -> dict[str, Any]:
    """Return the content of `identity.json`; empty if it is missing or damaged."""
    content = read_json(run.identity_file)
    groups = all(isinstance(content.get(group, {}), dict) for group in GROUPS)
    return content if groups and isinstance(content.get("fingerprint", ""), str) else {}


def is_weights_file(weights: str) -> bool:
    """Return whether `model.weights` is a file rather than a name of torchvision's."""
    return weights.lower().endswith(WEIGHTS_SUFFIXES) or "/" in weights


def _exact_weights(config: Config) -> str | None:
    """Return the digest of a weights file, or torchvision's name of the weights."""
    weights = config.model.weights
    if weights is None or not is_weights_file(weights):
        return weights
    path = expand_home(weights)
    if not path.is_file():
        raise UserError(f"model.weights={weights}: {describe_missing(path)}")
    try:
        return f"sha256:{file_digest(path)}"
    except OSError as error:
        raise UserError(f"model.weights={weights}: cannot be read ({error.strerror})") from None


def _without_nulls(value: Any) -> Any:
    """Drop keys whose value is null, so that a new setting that defaults to null renames no existing run."""
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return value
