"""The description of an exported backbone: everything needed to load its weights, as JSON."""

import types
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from crackdet.core.errors import UserError
from crackdet.core.reading import read_json
from crackdet.models.stage import Stage

FORMAT = 3
DESCRIPTION = "backbone.json"
WEIGHTS = "backbone.safetensors"


@dataclass(frozen=True)
class FeatureMap(Stage):
    """A stage, and the layout of its module's output."""

    channels_last: bool = False  # (N, H, W, C), as in Swin


@dataclass(frozen=True)
class Export:
    """The network in another format. It takes images (N, 3, H, W) in [0, 1]."""

    file: str
    outputs: list[str]  # one map per stage, finest first
    any_size: bool  # otherwise images of the training size only
    max_difference: float  # from the network itself, over all values of all maps of the test images


@dataclass(frozen=True)
class Description:
    """An exported backbone."""

    run: str
    architecture: dict[str, Any]  # the settings of `model` that define the network
    image_size: int  # of the training images, pixels a side
    smallest_image: int  # accepted by the network, pixels a side
    mean: list[float]  # per RGB channel, of pixels in [0, 1]
    std: list[float]
    stages: list[FeatureMap]  # finest first
    accuracy: float  # of the run on its validation images
    valid_images: int
    initial_weights: str | None  # name or digest; None if random
    license: str  # of the initial weights
    weights_sha256: str
    made_with: dict[str, str]  # package -> version
    source_sha256: str | None = None  # of the code of a user's network
    size_multiple: int = 1  # the backbone pads images to multiples of so many pixels, and crops the maps
    exports: list[Export] = field(default_factory=list)
    format: int = FORMAT

    @classmethod
    def read(cls, folder: Path) -> "Description":
        """Read the description in a folder.

        Raises:
            UserError: If there is none, or it is corrupt or of another format.
        """
        file = folder / DESCRIPTION
        if not file.is_file():
            raise UserError(f"{folder}: contains no {DESCRIPTION}; crackdet export RUN --to FOLDER writes it")
        content = read_json(file)
        if (version := content.get("format", FORMAT)) != FORMAT:
            raise UserError(f"{file}: has format {version}, but this crackdet reads {FORMAT}; export the run again")
        try:
            description: Description = _decode(cls, content, "")
        except ValueError as error:
            raise UserError(f"{file}: is corrupt ({error}); export the run again") from None
        return description


def _decode(hint: Any, value: Any, key: str) -> Any:
    """Return a JSON value as the annotated type; raise ValueError if it has another type."""
    if is_dataclass(hint) and isinstance(value, dict):
        hints = get_type_hints(hint)
        if unknown := sorted(set(value) - set(hints)):
            raise ValueError(f"{key}{unknown[0]} is unknown")
        try:
            return hint(**{name: _decode(hints[name], item, f"{key}{name}.") for name, item in value.items()})  # type: ignore[operator]
        except TypeError as error:  # the constructor misses a field
            raise ValueError(str(error).partition(") ")[2]) from None
    if get_origin(hint) is list and isinstance(value, list):
        return [_decode(get_args(hint)[0], item, f"{key}{index}.") for index, item in enumerate(value)]
    if get_origin(hint) is dict and isinstance(value, dict):
        return {name: _decode(get_args(hint)[1], item, f"{key}{name}.") for name, item in value.items()}
    if hint is float and type(value) in (int, float):
        return float(value)
    options = get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if hint is Any or type(value) in options:
        return value
    raise ValueError(f"{key.removesuffix('.')} is {value!r:.60}")
