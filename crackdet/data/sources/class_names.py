"""Parts of messages about folders whose class is unknown: the folders, and the settings that name the classes."""

import re
from collections.abc import Iterable, Sequence

from crackdet.core.text import list_first

CRACK = re.compile(r"crack|defect|damag|fissure|broken|positive|^c[dpw]$", re.IGNORECASE)  # CD, CP, CW: SDNET2018
NO_CRACK = re.compile(
    r"^(no|non|not|un)[\s_-]?(crack|defect|damag)|without|intact|normal|background|negative|sound|good|healthy|^u[dpw]$",
    re.IGNORECASE,
)
PLAIN = re.compile(r"[\w.+@%-][\w .+@%-]*")  # names that need no quotes in a list of Hydra's
MAX_NAMED = 12


def list_folders(folders: Sequence[str]) -> str:
    return list_first(folders, MAX_NAMED)


def setting(crack: bool, names: Iterable[str]) -> str:
    """Return the override that names a class, quoted for the shell if necessary."""
    items = [name if PLAIN.fullmatch(name) else '"' + name.replace('"', '\\"') + '"' for name in names]
    text = f"data.{'' if crack else 'no_'}crack_names=[{','.join(items)}]"
    return text if all(re.fullmatch(r"[\w.+@%-]+", item) for item in items) else "'" + text.replace("'", "'\\''") + "'"


def guess_labels(folders: Iterable[str]) -> dict[str, bool]:
    """Return the words in paths that speak of cracks, or of their absence, and whether they mean cracks."""
    words = dict.fromkeys(part for path in folders for part in path.split("/"))
    return {word: not NO_CRACK.search(word) for word in words if NO_CRACK.search(word) or CRACK.search(word)}
