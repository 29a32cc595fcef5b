"""Facts about files that take long to find out, such as the size of a photograph, kept in the cache by digest.

`<runtime.cache>/facts/<hash of the folder and the kind>.json` maps the digest of a file to a value of JSON.
"""

import functools
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from crackdet.core.files import change_stamp, write_text
from crackdet.core.machine import num_cores
from crackdet.core.threads import thread_map
from crackdet.data.decode import BadImage

MIN_FILES_FOR_BAR = 64


def find_facts(
    kind: str,
    folder: Path,
    cache_dir: Path,
    digests: Sequence[str],
    find: Callable[[int], Any],
    is_valid: Callable[[Any], bool],
) -> tuple[list[Any], dict[int, str]]:
    """Return one fact for each file, and the reasons why some are missing, by position; only unknown facts are found.

    Args:
        kind: What the facts are, with everything that they depend on besides the content of the file.
        folder: The folder of the files.
        cache_dir: `runtime.cache`. A fact that cannot be cached is found again by the next command.
        digests: The digest of each file.
        find: Returns the fact of the file at a position, a value of JSON that is not None, or raises BadImage.
        is_valid: Whether a value in the cache can be such a fact.
    """
    name = hashlib.sha256(os.fsencode(folder) + f"\0{kind}".encode()).hexdigest()[:24]
    cache_file = cache_dir / "facts" / f"{name}.json"
    cached = _read(cache_file)
    known = {digest: cached[digest] for digest in set(digests) & cached.keys() if is_valid(cached[digest])}
    missing = list({digest: index for index, digest in enumerate(digests) if digest not in known}.values())
    reasons: dict[str, str] = {}
    found: dict[str, Any] = {}

    def find_one(index: int) -> None:
        try:
            found[digests[index]] = find(index)
        except BadImage as error:
            reasons[digests[index]] = str(error)

    if missing:
        title, log_progress = f"reading {kind.partition(' ')[0]}", len(missing) >= MIN_FILES_FOR_BAR
        try:
            thread_map(title, find_one, missing, num_cores(), log_progress)
        finally:
            if found:
                _write(cache_file, known | found)
    facts = known | found
    missing_reasons = {index: reasons[digest] for index, digest in enumerate(digests) if digest in reasons}
    return [facts.get(digest) for digest in digests], missing_reasons


def _write(cache_file: Path, facts: Mapping[str, Any]) -> None:
    with suppress(OSError):  # a read-only cache
        cache_file.parent.mkdir(parents=True, exist_ok=True)
        write_text(cache_file, json.dumps(facts))


def _read(cache_file: Path) -> Mapping[str, Any]:
    try:
        return _parse(cache_file, change_stamp(cache_file.stat()))
    except (OSError, ValueError, RecursionError):
        return {}


@functools.lru_cache(maxsize=4)  # every run of a sweep asks for the same facts
def _parse(cache_file: Path, _stamp: tuple[int, ...]) -> Mapping[str, Any]:
    content = json.loads(cache_file.read_bytes()) if cache_file.is_file() else None
    return content if isinstance(content, dict) else {}
