"""Finished runs recognised without composing their configuration: overrides -> run id, remembered.

A memory holds as long as everything that was read for it is as it was, by size and time of change: crackdet's own
modules, every file of the configuration folders, weights, a network of the user's own, and the listing of the
images. What a configuration takes from the environment or the clock is not remembered.
"""

import hashlib
import importlib.util
import json
import os
import re
import shutil
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crackdet.config.schema import Config, FilenameLabelsData, FolderData, UserModel
from crackdet.core.files import SETTLED
from crackdet.store.code_digest import source_files
from crackdet.store.identity import is_weights_file
from crackdet.store.run import Run
from crackdet.store.run_store import RunStore

if TYPE_CHECKING:  # OmegaConf takes longer to import than to recognise a run
    from omegaconf import DictConfig

FOLDER = Path("outputs/memo")
SINGLE, JOB = "run", "job"  # kinds of memory; the name of the primary configuration file follows
KEEP = 8  # folders: one for each state of the code and the configuration folders, the newest stay
SHARD = 2  # hexadecimal digits of the key that name the file in it: to recall one line not all are read
OWN = Path(__file__).parent.parent
RESOLVER = re.compile(r"\$\{\s*[A-Za-z_][\w.]*\s*:")  # ${oc.env:HOME}, ${now:%Y}: not in what is written down
RESOLVER_IN_DEFAULTS = re.compile(rb"^\s*-.*\$\{\s*[A-Za-z_][\w.]*\s*:", re.MULTILINE)


@dataclass(frozen=True)
class Stamp:
    """What changes when a file does, or any file of a folder; `text` is empty where nothing is there."""

    text: str
    newest: float = 0.0  # when the last of them was changed, in seconds of the epoch


@dataclass
class CommandCache:
    """What the overrides of one command line have meant so far, in the current folder, with this code.

    `folders` are those that hold the configuration; `kind` tells single runs from jobs of a sweep, whose
    overrides may mean something else.
    """

    folders: Sequence[Path]
    kind: str
    folder: Path = FOLDER
    _began: float = field(default_factory=time.time)
    _stamps: dict[str, Stamp] = field(default_factory=dict)
    _read: dict[Path, dict[str, str]] = field(default_factory=dict)

    def get(self, overrides: Sequence[str]) -> Run | None:
        """The finished run that these overrides mean; None where that is not known.

        Raises:
            StoreError: where its directory holds another configuration.
        """
        key = _key(overrides)
        line = None if self._place is None else self._lines(self._file(self._place, key)).get(key)
        if line is None:
            return None
        try:
            entry = json.loads(line)
            if not all(stamp and self._stamp(path).text == stamp for path, stamp in entry["reads"].items()):
                return None
            run = RunStore(Path(entry["store"])).run(entry["run"])
            return run if run.is_finished(entry["identity"]) else None
        except (ValueError, KeyError, TypeError, AttributeError):  # of a damaged line
            return None

    def put(self, meanings: Iterable["CacheEntry"]) -> None:
        """Notes what overrides mean; where that cannot be written, the next command composes again."""
        lines: dict[str, str] = {}
        for meaning in meanings:
            stamps = {path: self._stamp(path) for path in meaning.reads}
            # what was changed while the configuration was read may have been read before or after
            settled = all(stamp.newest < self._began - SETTLED for stamp in stamps.values())
            if meaning.cacheable and settled and not self._defaults_resolve:
                entry = {
                    "run": meaning.run.id,
                    "store": str(meaning.run.root),
                    "identity": meaning.identity,
                    "reads": {path: stamp.text for path, stamp in stamps.items()},
                }
                lines[_key(meaning.overrides)] = json.dumps(entry)
        try:
            self._append(lines)
        except OSError:
            return

    def _append(self, lines: Mapping[str, str]) -> None:
        place = self._place
        if not lines or place is None:
            return
        if not place.is_dir():
            place.mkdir(parents=True, exist_ok=True)
            known = sorted(self.folder.iterdir(), key=lambda path: path.stat().st_mtime)
            for old in known[:-KEEP]:
                shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
        texts: dict[Path, str] = defaultdict(str)
        for key, line in lines.items():
            texts[self._file(place, key)] += f"{key} {line}\n"
        for path, text in texts.items():
            with path.open("a", encoding="utf-8") as file:
                file.write(text)  # at once: several processes may append

    @staticmethod
    def _file(place: Path, key: str) -> Path:
        return place / f"{key[:SHARD]}.txt"

    @cached_property
    def _place(self) -> Path | None:
        """A folder named by what every memory depends on, so that none of it need be compared for each.

        None where some of it cannot be looked at: then nothing would tell when it changes.
        """
        places = [str(OWN), *(str(path.absolute()) for path in self.folders)]
        for package in ("hydra", "omegaconf"):
            found = importlib.util.find_spec(package)
            places += [found.origin] if found is not None and found.origin is not None else []
        if not all(self._stamp(place).text for place in places):
            return None
        stamps = [f"{place}:{self._stamp(place).text}" for place in places]
        context = json.dumps([self.kind, str(Path.cwd()), str(Path.home()), *stamps])
        return self.folder / hashlib.sha256(context.encode()).hexdigest()[:24]

    def _lines(self, file: Path) -> dict[str, str]:
        """What was remembered when the file was first looked at."""
        if file not in self._read:
            try:
                text = file.read_text(encoding="utf-8")
            except (OSError, ValueError):
                text = ""
            self._read[file] = {key: entry for key, _, entry in (line.partition(" ") for line in text.splitlines())}
        return self._read[file]

    @cached_property
    def _defaults_resolve(self) -> bool:
        """Whether a defaults list chooses by the environment or the clock, which a composed tree does not show."""
        files = (path for folder in self.folders for path in folder.rglob("*.y*ml"))
        try:
            return any(RESOLVER_IN_DEFAULTS.search(path.read_bytes()) for path in files if path.is_file())
        except OSError:  # of a file that may not be read: it might
            return True

    def _stamp(self, path: str) -> Stamp:
        if path not in self._stamps:
            self._stamps[path] = stamp(path)
        return self._stamps[path]


@dataclass(frozen=True)
class CacheEntry:
    """What overrides have been found to mean, and all that was read to find it."""

    overrides: Sequence[str]
    run: Run
    identity: str
    reads: Sequence[str] = ()  # files and folders beside the configuration's own
    cacheable: bool = True  # false: the environment or the clock had a say


def config_folders(sources: Iterable[Any]) -> list[Path]:
    """The folders among Hydra's `config_sources`: `conf/`, `--config-dir`, `hydra.searchpath`."""
    folders: list[Path] = []
    for source in sources:
        if source.schema == "file":
            folders.append(Path(source.path))
        elif source.schema == "pkg" and source.path != "hydra.conf":
            found = importlib.util.find_spec(source.path)
            folders += map(Path, (found.submodule_search_locations if found else None) or [])
    return folders


def dependencies(config: Config) -> list[str]:
    """The files and folders that a configuration names and its identity depends on."""
    reads: list[Path] = []
    if isinstance(config.data, FolderData | FilenameLabelsData):
        reads.append(Path(config.data.root).expanduser())
        if isinstance(config.data, FolderData) and config.data.groups is not None:
            reads.append(reads[0] / config.data.manifest)
    weights = config.model.weights
    if weights is not None and is_weights_file(weights):
        reads.append(Path(weights).expanduser())
    elif weights is not None and (found := importlib.util.find_spec("torchvision")) and found.origin:
        reads.append(Path(found.origin).with_name("version.py"))  # says what DEFAULT means
    if isinstance(config.model, UserModel):
        reads += source_files(config.model.target).values()
    return [str(path.absolute()) for path in reads]


def is_cacheable(composed: "DictConfig | Mapping[str, Any]") -> bool:
    """Whether the same overrides will compose the same tomorrow: nothing of it from the environment or the clock."""
    from omegaconf import DictConfig, OmegaConf

    if isinstance(composed, DictConfig):
        ours = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
        return not RESOLVER.search(repr(OmegaConf.to_container(ours, resolve=False)))
    return not RESOLVER.search(repr(composed))


def stamp(path: str) -> Stamp:
    """The stamp of a file, or of all files below a folder: names, sizes and times of change."""
    found, newest = hashlib.sha256(), 0
    try:
        if not Path(path).is_dir():
            status = Path(path).stat()
            return Stamp(f"{status.st_size}:{status.st_mtime_ns}", status.st_mtime)
        for name, size, time_ns in sorted(_listing(path, "", set())):
            if size >= 0:  # the time of a folder tells of files that came or went, which their names tell as well
                found.update(f"{name}\0{size}\0{time_ns}\0".encode(errors="surrogateescape"))
            newest = max(newest, time_ns)
    except OSError:
        return Stamp("")
    return Stamp(found.hexdigest()[:24], newest / 1e9)


def _key(overrides: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(overrides)).encode()).hexdigest()[:32]


def _listing(folder: str, prefix: str, linked: set[str]) -> Iterator[tuple[str, int, int]]:
    """Name, size and time of each file, and of each folder with size -1; Python's compiled modules left out.

    A link that leads nowhere, as editors leave them beside a file that is not saved, is a file by itself; what others
    lead to is listed once, since they may lead in circles.
    """
    yield prefix, -1, Path(folder).stat().st_mtime_ns
    with os.scandir(folder) as entries:
        for entry in entries:
            leads = not entry.is_symlink() or Path(entry.path).exists()
            if leads and entry.is_dir():
                if entry.is_symlink():
                    if (real := os.path.realpath(entry.path)) in linked:
                        continue
                    linked.add(real)
                if entry.name != "__pycache__":
                    yield from _listing(entry.path, f"{prefix}{entry.name}/", linked)
            else:
                status = entry.stat(follow_symlinks=leads)
                yield f"{prefix}{entry.name}", status.st_size, status.st_mtime_ns
