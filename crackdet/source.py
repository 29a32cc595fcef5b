"""The code that a network of the user's own is made of: the module that defines it, and what that imports.

Imports are read, not run, and followed as far as the user's own code goes: what is installed, or belongs to Python or
crackdet, is another matter than the network.
"""

import ast
import hashlib
import importlib.util
import inspect
import json
import sysconfig
from collections.abc import Iterator
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from crackdet.errors import UserError
from crackdet.files import file_digest

INSTALLED = ("site-packages", "dist-packages")
NOT_FOLLOWED = (Path(sysconfig.get_path("stdlib")), Path(__file__).parent)


def source_digest(target: str) -> str:
    """SHA-256 of the source of a user's class: other code is another network.

    Of one file it is that of the file; of several it follows from the names of the modules and their digests.

    Raises:
        UserError: where the source cannot be found.
    """
    digests = {name: file_digest(file) for name, file in source_files(target).items()}
    if len(digests) == 1:
        return next(iter(digests.values()))
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()


def source_files(target: str) -> dict[str, Path]:
    """The files by the names of their modules, that which defines the class first.

    Raises:
        UserError: where the source of the class cannot be found.
    """
    name, file = _definition(target)
    found, left = {name: file}, [name]
    while left:
        importer = left.pop()
        if found[importer].suffix != ".py" or not _is_own(found[importer]):
            continue
        for imported, place in _imports(importer, found[importer]):
            if imported not in found:
                found[imported] = place
                left.append(imported)
    return found


def check_source(target: str, digest: str | None, what: str) -> None:
    """Refuses code that is not what weights were trained with: they would make another network of it.

    `digest` is that of the code then, or None where that is not known; `what` has the weights.

    Raises:
        UserError: where it is other code.
    """
    if digest is not None and source_digest(target) != digest:
        _, file = _definition(target)
        raise UserError(
            f"{what}: {file}, or what it imports, is not the code that its weights were trained with, and would make "
            "another network of them; bring that code back, or train again"
        )


def _definition(target: str) -> tuple[str, Path]:
    """The module that defines a class, by the object rather than the path, which may name one that only imports it."""
    from crackdet.config import locate  # imports OmegaConf, which recognising a finished run does without

    try:
        found = inspect.unwrap(locate(target))
        name, file = found.__module__, inspect.getsourcefile(found)
    except (TypeError, AttributeError):
        file = None
    if file is None:
        raise UserError(f"model._target_={target}: the source of its module cannot be found")
    return name, Path(file)


def _imports(name: str, file: Path) -> Iterator[tuple[str, Path]]:
    """The modules of the user's that one names in its imports, wherever in it they stand."""
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    try:
        nodes = list(ast.walk(ast.parse(file.read_bytes())))
    except (SyntaxError, ValueError):  # of a module that is named and cannot be imported
        return
    for node in nodes:
        named: list[str] = []
        if isinstance(node, ast.Import):
            named = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level > package.count(".") + 1 or (node.level and not package):
                continue  # beyond the outermost package: it would fail
            module = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            within = [f"{module}.{alias.name}" for alias in node.names]
            named = [inner if _find(inner) else module for inner in within]  # a module of the package, or a name in it
        for one in named:
            spec = _find(one)
            if spec is not None and spec.origin is not None:
                yield one, Path(spec.origin)


@cache
def _find(name: str) -> ModuleSpec | None:
    """Where a module of the user's is; its packages are not imported for that."""
    spec, path = None, None
    for end in (*(place for place, letter in enumerate(name) if letter == "."), len(name)):
        spec = PathFinder.find_spec(name[:end], path)
        if spec is None or (spec.origin is not None and not _is_own(Path(spec.origin))):
            return None
        path = spec.submodule_search_locations
        if path is None and end < len(name):
            return None
    return spec


def _is_own(file: Path) -> bool:
    return not set(INSTALLED) & set(file.parts) and not any(map(file.is_relative_to, NOT_FOLLOWED))
