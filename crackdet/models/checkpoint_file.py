"""Read files of weights without executing any code from them."""

import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from crackdet.core.errors import UserError, first_line
from crackdet.core.reading import describe_missing, open_regular

MAX_DEPTH = 6  # of dicts in a checkpoint; a damaged one may contain itself
MAX_CLASSES = 3  # that a message names
SAVE = "torch.save(model.state_dict(), 'weights.pth')"
OTHER_FORMATS = {  # by the first bytes of a file
    b"\x89HDF": "an HDF5 file, as written by Keras",
    b"<": "a web page, probably of a proxy or a login, instead of the file",
    b"version https://git-lfs": "a Git LFS pointer instead of the file; download the file with `git lfs pull`",
    b"\x1f\x8b": "a gzip archive; unpack it first",
}
UNSUPPORTED = re.compile(r"(?:Unsupported global|unsupported GLOBAL)(?:: GLOBAL)? (\S+)")


class Skipped:
    """Takes the place of an object of a checkpoint that is neither a tensor nor plain data; does nothing."""

    def __init__(self, *args: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


class SkippedDict:
    """The same for a dict of a class of its own, which becomes a plain dict."""

    def __new__(cls, *args: object) -> dict[str, Any]:  # type: ignore[misc]
        return {}


def read_state_dict(path: Path, key: str = "model.weights") -> dict[str, Tensor]:
    """Return the tensors of a safetensors file or of a checkpoint of torch; of nested dicts, by dotted names.

    Raises:
        UserError: If the file is missing, damaged, or contains no tensors.
    """
    try:
        head = _head(path)
        if is_safetensors(path, head):
            return load_file(path)
        if reason := _other_format(path, head):
            raise UserError(f"{key}={path}: is {reason}")
        content = _load(path)
    except FileNotFoundError:
        raise UserError(f"{key}={path}: {describe_missing(path)}") from None
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{key}={path}: cannot be read ({error.strerror or error})") from None
    except Exception as error:  # a damaged pickle raises anything: IndexError, KeyError, struct.error, ...
        raise UserError(f"{key}={path}: cannot be read as weights {_reason(error)}") from None
    state = dict(_tensors(content)) if isinstance(content, Mapping) else {}
    if not state:
        raise UserError(f"{key}={path}: not a state dict (tensors by name){_instead(content)}")
    return state


def is_safetensors(path: Path, head: bytes) -> bool:
    """Return whether a file is in the format of safetensors, whatever its name is."""
    if head[5:9] == b"\0\0\0{":  # the length of the header, in eight bytes, and its JSON
        return True
    return path.suffix == ".safetensors" and not head.startswith((b"PK", b"\x80\x02"))  # of torch.save


def describe_content(path: Path) -> str | None:
    """Return what a file holds instead of weights, by its first bytes; None if these are unknown."""
    head = _head(path)
    return next((text for start, text in OTHER_FORMATS.items() if head.startswith(start)), None) if head else "empty"


def _head(path: Path) -> bytes:
    with open_regular(path, follow_links=True) as file:
        return file.read(32)


def _other_format(path: Path, head: bytes) -> str | None:
    if not head.startswith(b"PK") or not zipfile.is_zipfile(path):
        return describe_content(path)
    names = [name.partition("/")[2] for name in zipfile.ZipFile(path).namelist()]
    if "constants.pkl" in names:
        return f"a TorchScript archive, which holds code; save its weights: model = torch.jit.load(FILE); {SAVE}"
    if "data.pkl" not in names:
        return "a zip archive, but not of torch.save"
    return None


def _load(path: Path) -> Any:
    """Return the content of a checkpoint, in which nothing but tensors and plain data is read."""
    skipped: list[Any] = []
    try:
        for name in torch.serialization.get_unsafe_globals_in_checkpoint(path):
            kind = SkippedDict if name.lower().endswith("dict") else Skipped
            skipped.append((type(name, (kind,), {}), name))
    except ValueError:  # a file of torch before 1.6, in which no object is skipped
        pass
    with warnings.catch_warnings(), torch.serialization.safe_globals(skipped):
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True)


def _tensors(content: Mapping[Any, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Tensor]]:
    for name, value in content.items():
        if isinstance(name, str) and isinstance(value, Tensor):
            yield prefix + name, value.detach()
        elif isinstance(name, str) and isinstance(value, Mapping) and depth < MAX_DEPTH:
            yield from _tensors(value, f"{prefix}{name}.", depth + 1)


def _reason(error: Exception) -> str:
    """Return why a file cannot be read; torch's own message recommends to execute the file."""
    needed = f"must be a state dict saved by safetensors or {SAVE}"
    if found := UNSUPPORTED.search(str(error)):
        return f"(damaged, or not only tensors); the file refers to {found[1]}, but no code is run; {needed}"
    if isinstance(error, pickle.UnpicklingError | RuntimeError):
        return f"(damaged, or not only tensors); {needed}"
    return f"({first_line(error)}); {needed}"


def _instead(content: object) -> str:
    """Return what a checkpoint holds instead of a state dict."""
    objects = [content, *content.values()] if isinstance(content, Mapping) else [content]
    classes = list(dict.fromkeys(type(one).__name__ for one in objects if isinstance(one, Skipped)))
    if not classes:
        return ""
    return (
        f", but an object of class {', '.join(classes[:MAX_CLASSES])}, which crackdet does not load, because that runs "
        f"code of the file; save the weights only: {SAVE}"
    )
