"""The networks of timm by name, and `model=timm/NAME` as an option of Hydra; nothing here imports timm."""

import importlib.util
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

from crackdet.config.groups import TIMM

FOLDER = f"model/{TIMM}"  # of Hydra's group, in which each network is an option
REGISTERED = re.compile(r"^@register_model\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)
NAME = re.compile(r"\w+(?:\.\w+)?")  # may end with the tag of weights, such as .a1_in1k


@cache
def timm_names() -> frozenset[str]:
    """Return the names that the files of the installed timm register; empty if timm is not installed."""
    spec = importlib.util.find_spec("timm")
    folders = (spec.submodule_search_locations if spec else None) or []
    files = (file for folder in folders for file in (Path(folder) / "models").glob("*.py"))
    return frozenset(name for file in files for name in REGISTERED.findall(file.read_text(encoding="utf-8")))


def network_of(path: str) -> str | None:
    """Return the network of a path among Hydra's configurations, such as `model/timm/resnet50`; None for others."""
    name = path.removesuffix(".yaml").removeprefix(FOLDER)
    return name if path.startswith(FOLDER) and NAME.fullmatch(name) else None


def option_of(network: str) -> dict[str, Any]:
    """Return the content of the file that the option of a network would have."""
    return {"defaults": ["/model/timm@_here_", "_self_"], "name": network}


def completions() -> list[str]:
    """Return the options while a shell completes one of them; elsewhere, a list of a thousand names would not help."""
    word = os.environ.get("COMP_LINE", "").split(" ")[-1]  # set by the shell
    return sorted(f"{TIMM}{name}" for name in timm_names()) if f"={TIMM}" in word else []
