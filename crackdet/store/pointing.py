"""What the pointing game measured of a run: `pointing.json`, beside the result and no part of it."""

from collections.abc import Mapping
from typing import Any

from crackdet.core.files import read_json, write_json
from crackdet.store.run_store import Run

NUMBERS = {  # column of a summary -> where it stands in the file
    "pointing": ("grad_cam", "pointing"),
    "pointing_ig": ("integrated_gradients", "pointing"),
    "pointing_chance": ("chance", "pointing"),
    "overlap": ("grad_cam", "overlap"),
    "overlap_ig": ("integrated_gradients", "overlap"),
    "overlap_chance": ("chance", "overlap"),
    "blank": ("blank",),
    "pointing_images": ("cracks",),
}


def read_pointing(run: Run) -> dict[str, float]:
    """The shares of 0 to 1 that `crackdet pointing` left with a run; empty where it did not look at these weights.

    `pointing`, `overlap`: of Grad-CAM; with `_ig`: of integrated gradients; with `_chance`: of a random guess.
    `blank`: of images that are called a crack for their mean colour alone. `pointing_images`: of how many images.
    """
    content = read_json(run.pointing_file)
    if not content or content.get("weights") != run.weights_digest:
        return {}
    found = {}
    for name, path in NUMBERS.items():
        value: Any = content
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, (int, float)):
            found[name] = float(value)
    return found


def write_pointing(run: Run, content: Mapping[str, Any]) -> None:
    """Leaves the numbers with the run."""
    write_json(run.pointing_file, {"weights": run.weights_digest, **content})
