"""`pointing.json`: the scores that `crackdet pointing` measured for a run; not part of its result."""

from collections.abc import Mapping
from typing import Any

from crackdet.config.schema import flatten
from crackdet.core.files import write_json
from crackdet.core.reading import read_json
from crackdet.store.integrity import weights_digest
from crackdet.store.paths import RunPaths

POINTING_COLUMNS = {  # column of a summary -> dotted key in the file
    "pointing": "grad_cam.pointing",
    "pointing_ig": "integrated_gradients.pointing",
    "pointing_chance": "chance.pointing",
    "overlap": "grad_cam.overlap",
    "overlap_ig": "integrated_gradients.overlap",
    "overlap_chance": "chance.overlap",
    "blank": "blank",
    "pointing_images": "cracks",
}


MAX_IMAGES = 1e9


def read_pointing(run: RunPaths) -> dict[str, float]:
    """Return the scores from 0 to 1 of a run; empty if its present weights have not been measured.

    `pointing` and `overlap` are those of Grad-CAM; with `_ig` of integrated gradients, with `_chance` of a random
    guess. `blank` is the share of images that are called a crack for their mean colour alone, and `pointing_images`
    the number of images measured.
    """
    content = read_json(run.pointing_file)
    if not content or content.get("weights") != weights_digest(run):
        return {}
    values = flatten(content)
    return {
        name: float(values[key])
        for name, key in POINTING_COLUMNS.items()
        if type(values.get(key)) in (int, float) and 0 <= values[key] <= (MAX_IMAGES if key == "cracks" else 1)
    }


def write_pointing(run: RunPaths, content: Mapping[str, Any]) -> None:
    """Write the scores with the digest of the weights that they were measured with."""
    write_json(run.pointing_file, {"weights": weights_digest(run), **content})
