"""The files of `conf/` and of the user's own configuration folders: their options, and what is wrong with a file."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import yaml
from hydra.plugins.config_source import ConfigSource
from omegaconf import OmegaConf

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
        return f"{file}{_line_of(file, key or '')}: {f'{key}: ' if key else ''}{' '.join(reason.split())}"
    if isinstance(error, yaml.YAMLError | UnicodeDecodeError | ValueError | TypeError):
        for file in _files(folders):
            if message := _find_fault(file):
                return message
    return ""


def _files(folders: Iterable[Path]) -> Iterator[Path]:
    return (file for folder in folders for file in sorted(folder.rglob("*.yaml")) if file.is_file())


def _find_fault(file: Path) -> str:
    """Return why Hydra cannot read a file; empty if it can."""
    try:
        content = file.read_bytes()
        text = content.decode()
        ConfigSource._get_header_dict(text[:512])
        loaded = OmegaConf.load(file)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        return f"{file}, line {line}: is not in UTF-8 (byte 0x{content[error.start]:02x}); save the file as UTF-8"
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        hint = "; YAML is indented with spaces, not with tabs" if "'\\t'" in str(error.problem) else ""
        return f"{file}{f', line {mark.line + 1}' if mark else ''}: {error.problem or error.context}{hint}"
    except (yaml.YAMLError, ValueError, TypeError, RecursionError, OSError) as error:
        return f"{file}: cannot be read as YAML ({' '.join(str(error).split())})"
    if not OmegaConf.is_dict(loaded):
        return f"{file}: must hold settings as KEY: VALUE, not {'a list' if OmegaConf.is_list(loaded) else 'a text'}"
    return ""


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
