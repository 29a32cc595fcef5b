"""Reads annotation files that anybody may have written. Each error is a ValueError that says what is wrong."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from crackdet.core.reading import MIB, open_regular, parse_yaml
from crackdet.data.sources.names import is_hidden

MAX_JSON, MAX_TEXT = 512 * MIB, 16 * MIB  # bytes: one file of all photographs, and one of a photograph


def walk(folder: Path) -> Iterator[Path]:
    """Yield all files in a folder and its subfolders, in order, without hidden ones; links to folders are followed."""
    visited = set()
    for path, folders, names in os.walk(folder, followlinks=True):
        if (real_path := os.path.realpath(path)) in visited:
            folders.clear()
            continue
        visited.add(real_path)
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        yield from (Path(path) / name for name in sorted(names) if not is_hidden(name))


def read_text(path: Path, max_bytes: int = MAX_TEXT) -> str:
    """Return the text of an annotation file; raise ValueError if it cannot be read, or is no text."""
    try:
        with open_regular(path, max_bytes, follow_links=True) as file:
            content = file.read(max_bytes)
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None
    try:
        return content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None


def load_json(path: Path) -> Any:
    """Return the content of a JSON file; raise ValueError if it is none. Numbers may be NaN or infinite."""
    text = read_text(path, MAX_JSON)
    if not text.strip():
        raise ValueError("is empty")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not valid JSON ({error})") from None


def load_yaml(path: Path) -> Any:
    """Return the content of a YAML file; raise ValueError if it is none."""
    return parse_yaml(read_text(path, MIB).encode(errors="replace"))


def load_xml(path: Path) -> ElementTree.Element:
    """Return the root element of an XML file; raise ValueError if it is none, or declares entities."""
    try:
        with open_regular(path, MAX_TEXT, follow_links=True) as file:
            content = file.read(MAX_TEXT)
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None
    if not content.strip():
        raise ValueError("is empty")
    parser = ElementTree.XMLParser(target=_NoEntities())  # it decodes as the XML declaration says
    try:
        parser.feed(content)
        return parser.close()
    except (ElementTree.ParseError, LookupError) as error:
        raise ValueError(f"is not valid XML ({error})") from None


class _NoEntities(ElementTree.TreeBuilder):
    """Refuses a document type, whose entities may expand without end."""

    def doctype(self, name: str, public_id: str | None, system: str | None) -> None:
        raise ValueError("declares a document type, which is not read; remove the line <!DOCTYPE ...>")


def relative_name(path: Path, root: Path) -> str:
    """Return the path of a file relative to the root, for messages."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
