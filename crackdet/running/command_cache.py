"""A cache from overrides to finished runs, which are then skipped before Hydra composes their configurations.

An entry is valid while everything that was read for it has the same sizes, times and inodes: crackdet's modules, the
configuration folders, the weights, a user's network, and the images.
"""

import hashlib
import importlib.util
import json
import re
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crackdet.config.schema import Config, TimmModel, UserModel
from crackdet.core.errors import UserError
from crackdet.core.files import SETTLE_SECONDS, expand_home
from crackdet.core.reading import load_json
from crackdet.running.stamps import Stamp, stamp
from crackdet.store.code_digest import source_files
from crackdet.store.identity import is_weights_file
from crackdet.store.run import Run
from crackdet.store.run_store import RunStore

if TYPE_CHECKING:  # importing OmegaConf takes longer than skipping a run
    from omegaconf import DictConfig

ROOT = Path("outputs/command_cache")
SINGLE, JOB = "run", "job"  # a single run, or a job of a sweep: the same overrides may compose differently
MAX_VERSIONS = 8  # folders to keep, one for each state of the code and the configuration files
RESOLVER = re.compile(r"\$\{\s*[A-Za-z_][\w.]*\s*:")  # ${oc.env:HOME}, ${now:%Y}
RESOLVER_IN_DEFAULTS = re.compile(rb"^\s*-.*\$\{\s*[A-Za-z_][\w.]*\s*:", re.MULTILINE)


@dataclass(frozen=True)
class CacheEntry:
    """The run that overrides mean, and what was read to find out."""

    overrides: Sequence[str]
    run: Run
    identity: str
    dependencies: Sequence[str] = ()  # files and folders, besides the configuration folders
    cacheable: bool = True  # False if the configuration depends on the environment or the clock


@dataclass
class CommandCache:
    """The cache of the current folder, with one file per entry.

    Args:
        config_folders: The folders of the configuration.
        kind: `SINGLE` or `JOB`, followed by the name of the primary configuration file.
        root: The folder of the cache.
    """

    config_folders: Sequence[Path]
    kind: str
    root: Path = ROOT
    _started: float = field(default_factory=time.time)
    _stamps: dict[str, Stamp] = field(default_factory=dict)

    def get(self, overrides: Sequence[str]) -> Run | None:
        """Return the finished run of these overrides; None if there is no valid entry, or the run cannot be used."""
        if self._folder is None:
            return None
        try:
            entry = load_json(_entry_file(self._folder, overrides))
            if not all(text and self._stamp(path).text == text for path, text in entry["dependencies"].items()):
                return None
            run = RunStore(Path(entry["store"])).run(entry["run"])
            return run if run.is_finished(entry["identity"]) else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, UserError):  # no entry, or a corrupt one
            return None

    def put(self, entries: Iterable[CacheEntry]) -> None:
        """Write entries; an entry that cannot be written is composed again by the next command."""
        valid = [entry for entry in entries if entry.cacheable and self._is_settled(entry)]
        if not valid or self._folder is None or self._defaults_use_resolvers():
            return
        try:
            if not self._folder.is_dir():
                self._folder.mkdir(parents=True, exist_ok=True)
                versions = sorted(self.root.iterdir(), key=lambda path: path.stat().st_mtime)
                for old in versions[:-MAX_VERSIONS]:
                    shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
            for entry in valid:
                content = {
                    "run": entry.run.id,
                    "store": str(entry.run.root),
                    "identity": entry.identity,
                    "dependencies": {path: self._stamp(path).text for path in entry.dependencies},
                }
                _entry_file(self._folder, entry.overrides).write_text(json.dumps(content), encoding="utf-8")
        except OSError:
            return

    @cached_property
    def _folder(self) -> Path | None:
        """The folder named by the stamps that all entries share; None if one of them cannot be taken."""
        paths = [str(Path(__file__).parents[1]), *(str(path.absolute()) for path in self.config_folders)]
        specs = map(importlib.util.find_spec, ("hydra", "omegaconf"))
        paths += [spec.origin for spec in specs if spec is not None and spec.origin is not None]
        if not all(self._stamp(path).text for path in paths):
            return None
        stamps = [f"{path}:{self._stamp(path).text}" for path in paths]
        context = json.dumps([self.kind, str(Path.cwd()), str(Path.home()), *stamps])
        return self.root / hashlib.sha256(context.encode()).hexdigest()[:24]

    def _is_settled(self, entry: CacheEntry) -> bool:
        """Return whether all files are older than this command, which may have read the others before a change."""
        return all(self._stamp(path).newest < self._started - SETTLE_SECONDS for path in entry.dependencies)

    def _defaults_use_resolvers(self) -> bool:
        """Return whether a defaults list reads the environment or the clock: the composed configuration hides it."""
        files = (path for folder in self.config_folders for path in folder.rglob("*.y*ml"))
        try:
            return any(RESOLVER_IN_DEFAULTS.search(path.read_bytes()) for path in files if path.is_file())
        except OSError:  # an unreadable file may do so
            return True

    def _stamp(self, path: str) -> Stamp:
        if path not in self._stamps:
            self._stamps[path] = stamp(path)
        return self._stamps[path]


def config_folders(sources: Iterable[Any]) -> list[Path]:
    """Return the folders among Hydra's `config_sources`: `conf/`, `--config-dir`, `hydra.searchpath`."""
    folders: list[Path] = []
    for source in sources:
        if source.schema == "file":
            folders.append(Path(source.path))
        elif source.schema == "pkg" and source.path != "hydra.conf":
            spec = importlib.util.find_spec(source.path)
            folders += map(Path, (spec.submodule_search_locations if spec else None) or [])
    return folders


def dependencies(config: Config) -> list[str]:
    """Return the files and folders that the identity of a configuration depends on."""
    from crackdet.data.dataset import data_dependencies  # opens images, which skipping a run does not

    paths = data_dependencies(config.data, config.runtime)
    weights = config.model.weights
    if weights is not None and is_weights_file(weights):
        paths.append(expand_home(weights))
    elif weights is not None:
        library = "timm" if isinstance(config.model, TimmModel) else "torchvision"
        if (spec := importlib.util.find_spec(library)) and spec.origin:
            paths.append(Path(spec.origin).with_name("version.py"))  # determines the meaning of DEFAULT
    if isinstance(config.model, UserModel):
        paths += source_files(config.model.target).values()
    return [str(path.absolute()) for path in paths]


def is_cacheable(composed: "DictConfig | Mapping[str, Any]") -> bool:
    """Return whether a composed configuration is free of values from the environment and the clock."""
    from omegaconf import DictConfig, OmegaConf

    tree: Any = OmegaConf.to_container(composed) if isinstance(composed, DictConfig) else composed
    return not RESOLVER.search(repr({key: value for key, value in tree.items() if key != "hydra"}))


def _entry_file(folder: Path, overrides: Sequence[str]) -> Path:
    return folder / f"{hashlib.sha256(json.dumps(list(overrides)).encode()).hexdigest()[:32]}.json"
