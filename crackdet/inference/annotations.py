"""The annotation of a photograph that belongs to the data of a run."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crackdet.config.schema import Config
from crackdet.core.errors import UserError
from crackdet.core.files import expand_home
from crackdet.data.decode import BadImage
from crackdet.data.sources.factory import open_source
from crackdet.data.sources.tiled import TiledSource


def find_annotation(photograph: Path, config: Config) -> NDArray[np.bool_] | None:
    """Return the annotated crack pixels of a photograph, (height, width).

    None if the run's data has no masks or boxes, or lacks this photograph, or can no longer be read.
    """
    try:
        source = open_source(config.data, expand_home(config.runtime.cache))
        if not isinstance(source, TiledSource):
            return None
        name = photograph.resolve().relative_to(source.root.resolve()).as_posix()
        return source.crack_mask(name)
    except (UserError, BadImage, OSError, ValueError):  # ValueError: the photograph is not below the root
        return None
