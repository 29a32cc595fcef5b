"""The source code of a user's network: the module that defines it, and the user's modules that it imports.

Imports are parsed, not executed. Modules of Python, of installed packages and of crackdet are not followed.
"""

import ast
import hashlib
import importlib.util
import inspect
import json
import sysconfig
from collections.abc import Iterator
from functools import lru_cache
from importlib.machinery import PathFinder
from pathlib import Path

from crackdet.core.errors import UserError
from crackdet.core.reading import file_digest

PACKAGE = "__init__.py"
NOT_FOLLOWED = (Path(sysconfig.get_path("stdlib")), Path(__file__).parents[1])


def code_digest(target: str) -> str:
    """Return a SHA-256 of the source code of a user's class.

    For a single file it is the digest of the file, for several that of their module names and digests.

    Raises:
        UserError: If the source cannot be found.
    """
    digests = {name: file_digest(file) for name, file in source_files(target).items()}
    if len(digests) == 1:
        return next(iter(digests.values()))
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()


def source_files(target: str) -> dict[str, Path]:
    """Return the source files by module name; the module that defines the class comes first.

    Raises:
        UserError: If the source of the class cannot be found.
    """
    files = dict([_definition(target)])
    named = target.rpartition(".")[0]  # this module may build the class from one that another module defines
    place = _find_module(named)
    if place is not None and place.name != PACKAGE:  # a package only re-exports the class
        files.setdefault(named, place)
    queue = list(files)
    while queue:
        importer = queue.pop()
        if files[importer].suffix != ".py" or not _is_followed(files[importer]):
            continue
        for imported, place in _imports(importer, files[importer]):
            if imported not in files:
                files[imported] = place
                queue.append(imported)
    return files


def check_source(target: str, digest: str | None, owner: str) -> None:
    """Compare the code of a class with the digest at the time of training; the message names the owner of the weights.

    Raises:
        UserError: If the code differs, or there is no digest.
    """
    if not digest:
        raise UserError(
            f"{owner}: does not say which code its weights were trained with (it has no digest of {target}); train "
            "again, so that the digest is recorded"
        )
    if digest != code_digest(target):
        raise UserError(
            f"{owner}: {_definition(target)[1]}, or a module that it imports, is not the code that its weights were "
            "trained with; restore that code, or train again"
        )


def _definition(target: str) -> tuple[str, Path]:
    """Return the module that defines a class; the target may name one that only imports it."""
    from crackdet.config.user_model import import_target  # imports OmegaConf, needless for recognising a finished run

    try:
        found = inspect.unwrap(import_target(target))
        name, file = found.__module__, Path(inspect.getsourcefile(found) or "")
    except (TypeError, AttributeError):
        name, file = "", Path()
    if not file.is_file():
        raise UserError(f"model._target_={target}: the source of its module cannot be found")
    return name, file


def _imports(name: str, file: Path) -> Iterator[tuple[str, Path]]:
    """Yield the user's modules that a module imports, anywhere in its code."""
    package = name if file.name == PACKAGE else name.rpartition(".")[0]
    status = file.stat()
    for level, module, member in _import_statements(file, status.st_size, status.st_mtime_ns):
        if level > package.count(".") + 1 or (level and not package):
            continue  # beyond the top-level package: the import would fail
        absolute = importlib.util.resolve_name("." * level + module, package) if level else module
        for candidate in (f"{absolute}.{member}", absolute) if member else (absolute,):
            if (place := _find_module(candidate)) is not None:  # a module of the package, else a name in it
                yield candidate, place
                break


@lru_cache(maxsize=1000)
def _import_statements(file: Path, _size: int, _mtime_ns: int) -> list[tuple[int, str, str]]:
    """Return the imports of a file of this size and time: number of leading dots, module, and name in it."""
    try:
        nodes = list(ast.walk(ast.parse(file.read_bytes())))
    except (SyntaxError, ValueError):  # importing the module would fail
        return []
    found = [(0, alias.name, "") for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            found += [(node.level, node.module or "", alias.name) for alias in node.names]
    return found


def _find_module(name: str) -> Path | None:
    """Return the file of a user's module without importing its packages; None for any other module."""
    first, *rest = name.split(".")
    try:
        spec = importlib.util.find_spec(first)
    except (ImportError, ValueError):
        return None
    for part in rest:  # by its short name: with its full name Python would look among the imported modules
        if spec is None or spec.submodule_search_locations is None:
            return None
        if spec.origin is not None and not _is_followed(Path(spec.origin)):
            return None
        spec = PathFinder.find_spec(part, list(spec.submodule_search_locations))
    if spec is None or not spec.has_location or spec.origin is None:
        return None
    file = Path(spec.origin)
    return file if _is_followed(file) and file.is_file() else None  # it may be in an archive


def _is_followed(file: Path) -> bool:
    return not {"site-packages", "dist-packages"} & set(file.parts) and not any(map(file.is_relative_to, NOT_FOLLOWED))
