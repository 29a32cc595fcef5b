"""Choose the images that a run is evaluated on: its own data, or another data source."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from crackdet.config.composing import compose
from crackdet.config.interpolation import escape
from crackdet.config.parsing import parse
from crackdet.config.schema import Config
from crackdet.core.errors import UserError, first_line
from crackdet.store.config_file import load_config
from crackdet.store.run import Run

METRICS = ("loss", "accuracy", "precision", "recall", "f1", "roc_auc", "false_alarm_rate")
ALL = "all"  # all splits together
ALLOWED_KEYS = re.compile(r"data([./]|$)|runtime\.(cache|num_workers)")


@dataclass(frozen=True)
class EvalSet:
    """A named set of images: overrides of a run's own data, or a data source of its own (`data=...`)."""

    name: str
    overrides: Sequence[str] = ()


def parse_eval_set(text: str) -> EvalSet:
    """Parse `own`, overrides as for train.py, or `NAME: OVERRIDES`.

    Raises:
        UserError: If an override is not a data setting.
    """
    match = re.fullmatch(r"([^\s=]+):\s+(.+)", text.strip())
    name, rest = (match[1], match[2]) if match else ("", text)
    overrides = [] if rest.strip() == "own" else shlex.split(rest)
    check_data_overrides(overrides)
    data_overrides = [override for override in overrides if not override.startswith("runtime.")]
    return EvalSet(name or " ".join(data_overrides) or "own", overrides)


def data_settings(arguments: Sequence[str]) -> list[str]:
    """Return the command-line arguments that are settings rather than file names."""
    return [argument for argument in arguments if "=" in argument and not Path(argument).is_file()]


def check_data_overrides(overrides: Sequence[str]) -> None:
    """Raise UserError if an override does not choose images."""
    for override in overrides:
        key, sign, _ = override.partition("=")
        if not sign or not ALLOWED_KEYS.match(key):
            raise UserError(
                f"{override}: only these overrides are allowed: data=SOURCE, data.KEY=VALUE, "
                "runtime.cache=FOLDER and runtime.num_workers=NUMBER"
            )


def config_with_data(run: Run, overrides: Sequence[str]) -> Config:
    """Return a run's configuration with data overrides, or the defaults of another source if they contain `data=`.

    The image size stays that of the run, since its network accepts no other.

    Raises:
        UserError: If an override is invalid.
    """
    stored = load_config(run)
    size = f"data.image_size={stored.get('data', {}).get('image_size')}"
    for override in overrides:
        if override.startswith("data.image_size=") and override != size:
            raise UserError(f"{override}: cannot be changed; {run.id} was trained with {size}. Remove this override")
    if any(override.startswith("data=") for override in overrides):
        return compose([*(override for override in overrides if override != size), size])
    try:
        given = OmegaConf.from_dotlist(list(overrides))
        return parse(OmegaConf.merge(OmegaConf.create(escape(stored)), given))  # type: ignore[arg-type]
    except (OmegaConfBaseException, YAMLError) as error:
        raise UserError(f"{' '.join(overrides)}: {first_line(error)}") from None
