"""The files of `conf/` and of the user's own configuration folders: their options, and what is wrong with a file."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import yaml
from hydra.plugins.config_source import ConfigSource
from omegaconf import OmegaConf

from crackdet.config.groups import GROUPS
from crackdet.config.messages import describe_key
from crackdet.config.synonyms import all_settings, suggest_setting

CONF = Path(__file__).parents[2] / "conf"
IN_FILE = re.compile(r"In '([^']+)': \w+ raised while composing config:\n(.*?)\n(?:.*full_key: (\S+))?", re.DOTALL)


def group_options(group: str, folders: Sequence[Path] = (CONF,)) -> list[str]:
    """Return the options of a config group, such as `model` or `data/augmentation`; empty if there is no such group."""
    return sorted({file.stem for folder in folders for file in (folder / group).glob("*.yaml")}) if group else []


def explain_file_error(error: BaseException, folders: Sequence[Path]) -> str:
    """Return what is wrong with a configuration file, with its name and the line; empty if the error is another."""
    if match := IN_FILE.search(f"{error}\n"):
        name, reason, key = match.groups()
        file = next((path for folder in folders if (path := folder / f"{name}.yaml").is_file()), Path(f"{name}.yaml"))
        if broken := _error_of(file):
            return _describe(broken, file)
        if key == name.partition("/")[0] and "Key '" in reason:  # the settings are below the name of the group
            return (
                f"{file}: the first line must be '# @package _global_', so that the settings apply to the run; "
                "no byte order mark may precede this line"
            )
        if key and key in all_settings():
            reason = f"{key}: must be {describe_key(key)} ({reason})"
        elif key:
            reason = f"{key}: unknown key{suggest_setting(key) if key.partition('.')[0] in GROUPS else f' ({reason})'}"
        return f"{file}{_line_of(file, key or '')}: {' '.join(reason.split())}"
    if isinstance(error, yaml.YAMLError | ValueError | TypeError):
        for file in _files(folders):
            found = _error_of(file)
            if found and type(found) is type(error) and _details(found) == _details(error):
                return _describe(found, file)
    return ""


def _files(folders: Iterable[Path]) -> Iterator[Path]:
    return (file for folder in folders for file in sorted(folder.rglob("*.yaml")) if file.is_file())


def _error_of(file: Path) -> Exception | None:
    """Return the error with which Hydra reads a file; None if it can."""
    try:
        with file.open(encoding="utf-8") as stream:
            ConfigSource._get_header_dict(stream.read(512))
            stream.seek(0)
            if not OmegaConf.is_dict(loaded := OmegaConf.load(stream)):
                kind = type(loaded).__name__
                raise ValueError(f"must contain settings as KEY: VALUE, not {kind.removesuffix('Config').lower()}")
    except Exception as error:  # a file may hold anything
        return error
    return None


def _details(error: BaseException) -> object:
    """Return what distinguishes the errors of two files."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return str(error.problem), error.problem_mark.line, Path(error.problem_mark.name).resolve()
    return error.object if isinstance(error, UnicodeDecodeError) else str(error)


def _describe(error: Exception, file: Path) -> str:
    if isinstance(error, UnicodeDecodeError):
        line = error.object[: error.start].count(b"\n") + 1
        byte = error.object[error.start]
        return f"{file}, line {line}: is not in UTF-8 (byte 0x{byte:02x}); save the file as UTF-8"
    if isinstance(error, yaml.MarkedYAMLError) and (mark := error.problem_mark or error.context_mark):
        lines = file.read_bytes().splitlines()
        hint = "; YAML is indented with spaces, not with tabs" if b"\t" in b"".join(lines[mark.line :][:1]) else ""
        return f"{file}, line {mark.line + 1}: {error.problem or error.context}{hint}"
    return f"{file}: {' '.join(str(error).split())}"


def _line_of(file: Path, key: str) -> str:
    """Return ", line N" for the line of a dotted key; empty if it is not found."""
    try:
        node = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, ValueError, yaml.YAMLError):
        return ""
    line = ""
    for name in key.split("."):
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        found = next(((k, value) for k, value in pairs if k.value == name), None)
        if found is not None:  # else the key is that of the package, which the file does not repeat
            line, node = f", line {found[0].start_mark.line + 1}", found[1]
    return line
