"""What stands beside the weights of an exported backbone: all that is needed to load it, as JSON."""

import types
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from crackdet.core.errors import UserError
from crackdet.core.files import read_json, write_json
from crackdet.models.classifier import Stage

FORMAT = 2  # raised when an older crackdet could not read the folder
DESCRIPTION = "backbone.json"
WEIGHTS = "backbone.safetensors"


@dataclass(frozen=True)
class Map(Stage):
    """A stage as a module of the network gives it."""

    channels_last: bool = False  # (N, H, W, C), as Swin has it


@dataclass(frozen=True)
class Copy:
    """The network in another format beside the weights. It takes images (N, 3, H, W) in [0, 1]."""

    file: str
    outputs: list[str]  # a map of each stage, finest first
    any_size: bool  # or only images of the size that the network was trained on
    max_difference: float  # from the network itself, of any value of any map, over the images of the check


@dataclass(frozen=True)
class Description:
    """An exported backbone."""

    run: str
    architecture: dict[str, Any]  # the settings of `model` that name the network
    image_size: int  # pixels a side of the images it was trained on
    smallest_image: int  # pixels a side that it can take
    mean: list[float]  # per RGB channel, of pixels in [0, 1]
    std: list[float]
    stages: list[Map]  # finest first
    accuracy: float  # of the run, on its validation images
    valid_images: int
    initial_weights: str | None  # name or digest; None: random
    license: str  # of the initial weights
    weights_sha256: str
    made_with: dict[str, str]  # versions by package
    source_sha256: str | None = None  # of the code of a network of the user's own
    copies: list[Copy] = field(default_factory=list)
    format: int = FORMAT

    def write(self, folder: Path) -> None:
        write_json(folder / DESCRIPTION, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> "Description":
        """The description in a folder.

        Raises:
            UserError: where there is none, or it is damaged or of a later crackdet.
        """
        file = folder / DESCRIPTION
        if not file.is_file():
            raise UserError(f"{folder}: holds no {DESCRIPTION}; crackdet export RUN --to FOLDER writes it")
        content = read_json(file)
        if isinstance(content.get("format"), int) and content["format"] > FORMAT:
            raise UserError(f"{file}: has format {content['format']}, of a later crackdet; this one reads {FORMAT}")
        try:
            description: Description = _typed(cls, content, "")
        except ValueError as error:
            raise UserError(f"{file}: is damaged ({error}); export the run again") from None
        return description


def _typed(hint: Any, value: Any, key: str) -> Any:
    """The JSON value as what the annotation says; raises ValueError where it is something else."""
    if is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise ValueError(f"{key or 'its content'} is no object")
        hints = get_type_hints(hint)
        unknown, known = set(value) - set(hints), [item.name for item in fields(hint) if item.name in value]
        if unknown:
            raise ValueError(f"{key}{sorted(unknown)[0]} is unknown")
        try:
            return hint(**{name: _typed(hints[name], value[name], f"{key}{name}.") for name in known})  # type: ignore[operator]
        except TypeError as error:  # of the constructor: a field is missing
            raise ValueError(str(error).partition(") ")[2]) from None
    if get_origin(hint) is list and isinstance(value, list):
        return [_typed(get_args(hint)[0], item, f"{key}{index}.") for index, item in enumerate(value)]
    if get_origin(hint) is dict and isinstance(value, dict):
        return {name: _typed(get_args(hint)[1], item, f"{key}{name}.") for name, item in value.items()}
    if hint is float and type(value) in (int, float):
        return float(value)
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    if hint is Any or type(value) in options:
        return value
    raise ValueError(f"{key.removesuffix('.')} is {value!r:.60}")
