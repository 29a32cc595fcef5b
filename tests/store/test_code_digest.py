"""The source code of a user's network is part of the identity of its runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crackdet.config.parsing import parse
from crackdet.config.schema import Config, to_dict
from crackdet.core.errors import UserError
from crackdet.core.reading import file_digest
from crackdet.running.command_cache import dependencies
from crackdet.store.code_digest import check_source, code_digest, source_files
from tests.store.test_identity import configuration, run_id

NETWORK = """
class Net:
    def __init__(self, width: int = 8, slope: float = 0.1, source: str = "", depth: int | None = 2) -> None:
        pass
"""


@pytest.fixture
def user_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Config]:
    """Return a function that configures a network in `<package>/net.py`, which the package re-exports."""
    package = f"package_of_{tmp_path.name}"  # not yet imported by another test
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("from .net import Net as Net\n")
    (tmp_path / package / "net.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    stored = to_dict(configuration())

    def configure(target: str = "net.Net", **arguments: Any) -> Config:
        return parse(stored | {"model": {"name": "mine", "_target_": f"{package}.{target}", **arguments}})

    return configure


@pytest.mark.parametrize("target", ["net.Net", "Net"])
def test_other_source_code_makes_another_run(user_model: Callable[..., Config], tmp_path: Path, target: str) -> None:
    config = user_model(target, source="an argument of this name")
    before = run_id(config)
    assert run_id(config) == before
    (source,) = tmp_path.glob("*/net.py")
    source.write_text(NETWORK.replace("pass", "self.width = width"))
    assert run_id(config) != before


def test_imported_modules_are_part_of_the_network(user_model: Callable[..., Config], tmp_path: Path) -> None:
    (source,) = tmp_path.glob("*/net.py")
    package = source.parent
    source.write_text("from . import parts\nimport torch\n" + NETWORK)
    (package / "parts.py").write_text(f"def late():\n    from {package.name}.deep.down import depth\n")
    (package / "deep").mkdir()
    (package / "deep/down.py").write_text("depth = 1\n")  # in a package without `__init__.py`
    (package / "unrelated.py").write_text("other = 1\n")
    config = user_model()
    ids = {run_id(config)}
    assert {Path(path).name for path in dependencies(config)} >= {"net.py", "parts.py", "down.py"}
    for edited, makes_another in (("parts.py", True), ("deep/down.py", True), ("unrelated.py", False)):
        with (package / edited).open("a") as file:
            file.write("# edited\n")
        assert (run_id(config) not in ids) is makes_another
        ids.add(run_id(config))


def test_imported_modules_are_found_without_importing_them(user_model: Callable[..., Config], tmp_path: Path) -> None:
    """In folders without `__init__.py`, within a package that only the import names."""
    (source,) = tmp_path.glob("*/net.py")
    (tmp_path / "beside" / "deep").mkdir(parents=True)
    (tmp_path / "beside" / "deep" / "down.py").write_text("depth = 1\n")
    source.write_text(
        NETWORK + "\ndef late():\n    from beside.deep.down import depth\n    import time, zlib, nowhere.at.all\n"
    )
    (tmp_path / "time.py").write_text("not = Python, and never loaded: Python's own module comes first\n")
    assert [path.name for path in source_files(user_model().model.target).values()] == ["net.py", "down.py"]  # type: ignore[attr-defined]


def test_the_module_that_a_target_names_counts_if_another_module_builds_the_class(
    user_model: Callable[..., Config], tmp_path: Path
) -> None:
    (source,) = tmp_path.glob("*/net.py")
    (source.parent / "making.py").write_text("def made(one):\n    class Made(one):\n        pass\n    return Made\n")
    source.write_text("from .making import made\n\n@made" + NETWORK)
    config = user_model()
    before = run_id(config)
    with source.open("a") as file:
        file.write("# edited\n")
    assert run_id(config) != before


def test_circular_imports_are_followed_once(user_model: Callable[..., Config], tmp_path: Path) -> None:
    (source,) = tmp_path.glob("*/net.py")
    source.write_text(f"import {source.parent.name}.net\nfrom .net import *\n" + NETWORK)
    assert code_digest(user_model().model.target) == file_digest(source)  # type: ignore[attr-defined]


def test_weights_are_refused_if_the_code_has_changed(user_model: Callable[..., Config], tmp_path: Path) -> None:
    target = user_model().model.target  # type: ignore[attr-defined]
    digest = code_digest(target)
    check_source(target, digest, "the run")
    (source,) = tmp_path.glob("*/net.py")
    source.write_text(NETWORK + "# edited\n")
    with pytest.raises(
        UserError,
        match=r"the run: .*net\.py, or a module that it imports, is not the code that its weights were trained with",
    ):
        check_source(target, digest, "the run")


@pytest.mark.parametrize("digest", [None, ""])
def test_weights_without_a_digest_of_their_code_are_refused_for_that_reason(
    user_model: Callable[..., Config], digest: str | None
) -> None:
    target = user_model().model.target  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="the run: does not say which code its weights were trained with"):
        check_source(target, digest, "the run")


@pytest.mark.parametrize(
    "arguments", [{"width": 9}, {"slope": 0.2}, {"source": "a"}, {"depth": None}, {"linear_features": 4}]
)
def test_every_argument_of_a_users_network_makes_another_run(
    user_model: Callable[..., Config], arguments: dict[str, Any]
) -> None:
    assert run_id(user_model(**arguments)) != run_id(user_model())


def test_an_integer_for_a_float_argument_is_the_same_run(user_model: Callable[..., Config]) -> None:
    assert run_id(user_model(slope=1)) == run_id(user_model(slope=1.0))


def test_a_network_without_source_code_is_refused() -> None:
    config = parse(to_dict(configuration()) | {"model": {"name": "mine", "_target_": "builtins.object"}})
    with pytest.raises(UserError, match=r"^model\._target_=builtins\.object: the source of its module"):
        run_id(config)
