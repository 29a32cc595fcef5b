"""Recognises formats of annotations that are not read, so that a message can name them."""

from typing import Any
from xml.etree.ElementTree import Element


def other_json(content: Any) -> str | None:
    """Return the name of the format of a JSON file; None if it is unknown."""
    if isinstance(content, list) and content and isinstance(content[0], dict):
        first = content[0]
        if isinstance(first.get("data"), dict) and isinstance(first.get("annotations"), list):
            return "Label Studio"
        if "image" in first and isinstance(first.get("annotations"), list):
            return "CreateML"
    if isinstance(content, dict):
        if isinstance(content.get("items"), list) and "categories" in content:
            return "Datumaro"
        images = content.get("_via_img_metadata", content)
        entry = next(iter(images.values()), None) if isinstance(images, dict) else None
        if isinstance(entry, dict) and "regions" in entry and "filename" in entry:
            return "VGG Image Annotator"
    return None


def other_xml(root: Element) -> str | None:
    """Return the name of the format of an XML file; None if it is unknown."""
    return "CVAT" if root.tag == "annotations" and root.find("image") is not None else None
