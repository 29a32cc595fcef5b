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
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from crackdet.core.errors import UserError
from crackdet.core.files import file_digest

PACKAGE = "__init__.py"
INSTALLED = ("site-packages", "dist-packages")
NOT_FOLLOWED = (Path(sysconfig.get_path("stdlib")), Path(__file__).parents[1])


def code_digest(target: str) -> str:
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
    named = target.rpartition(".")[0]  # may make the class of what another module defines; a package only passes it on
    place = _find(named) if named not in found else None
    if place is not None and place.name != PACKAGE:
        found[named] = place
        left.append(named)
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

    `digest` is that of the code then, of old of the one file that defines the class, or None where that is not known;
    `what` has the weights.

    Raises:
        UserError: where it is other code.
    """
    if digest is None:
        return
    _, file = _definition(target)
    if digest not in (code_digest(target), file_digest(file)):
        raise UserError(
            f"{what}: {file}, or what it imports, is not the code that its weights were trained with, and would make "
            "another network of them; bring that code back, or train again"
        )


def _definition(target: str) -> tuple[str, Path]:
    """The module that defines a class, by the object rather than the path, which may name one that only imports it."""
    from crackdet.config.user_model import (
        import_target,
    )  # imports OmegaConf, which recognising a finished run does without

    try:
        found = inspect.unwrap(import_target(target))
        name, file = found.__module__, Path(inspect.getsourcefile(found) or "")
    except (TypeError, AttributeError):
        name, file = "", Path()
    if not file.is_file():
        raise UserError(f"model._target_={target}: the source of its module cannot be found")
    return name, file


def _imports(name: str, file: Path) -> Iterator[tuple[str, Path]]:
    """The modules of the user's that one names in its imports, wherever in it they stand."""
    package = name if file.name == PACKAGE else name.rpartition(".")[0]
    status = file.stat()
    for level, module, inner in _named(file, status.st_size, status.st_mtime_ns):
        if level > package.count(".") + 1 or (level and not package):
            continue  # beyond the outermost package: it would fail
        absolute = importlib.util.resolve_name("." * level + module, package) if level else module
        for one in (f"{absolute}.{inner}", absolute) if inner else (absolute,):
            if (place := _find(one)) is not None:  # a module of the package, or else a name in it
                yield one, place
                break


@lru_cache(maxsize=1000)
def _named(file: Path, _size: int, _changed: int) -> list[tuple[int, str, str]]:
    """What the imports of a file, of this size and time, name: how many packages up, a module, and a name in it."""
    try:
        nodes = list(ast.walk(ast.parse(file.read_bytes())))
    except (SyntaxError, ValueError):  # of a module that is named and cannot be imported
        return []
    found = [(0, alias.name, "") for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            found += [(node.level, node.module or "", alias.name) for alias in node.names]
    return found


def _find(name: str) -> Path | None:
    """The file of a module of the user's; of its packages none is imported for that."""
    first, *rest = name.split(".")
    try:
        spec = importlib.util.find_spec(first)
    except (ImportError, ValueError):
        return None
    for part in rest:  # by itself: by its whole name Python would look into what has been imported so far
        if spec is None or spec.submodule_search_locations is None or not _may_be_own(spec):
            return None
        spec = PathFinder.find_spec(part, list(spec.submodule_search_locations))
    if spec is None or not spec.has_location or spec.origin is None or not _may_be_own(spec):
        return None
    file = Path(spec.origin)
    return file if file.is_file() else None  # not in an archive


def _may_be_own(spec: ModuleSpec) -> bool:
    return spec.origin is None or _is_own(Path(spec.origin))


def _is_own(file: Path) -> bool:
    return not set(INSTALLED) & set(file.parts) and not any(map(file.is_relative_to, NOT_FOLLOWED))
