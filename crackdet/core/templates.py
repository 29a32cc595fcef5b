"""The pages that crackdet writes, from Jinja templates."""

import base64
import io
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from crackdet.core.console import sanitize

if TYPE_CHECKING:
    from PIL import Image


def page_environment(package: str, folder: str = ".") -> Environment:
    """Return the environment of templates in a folder of a package; whatever they insert is escaped and sanitized."""
    return Environment(
        loader=PackageLoader(package, folder),
        autoescape=True,
        finalize=_sanitize_part,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _sanitize_part(value: object) -> object:
    """Sanitize what a template inserts, unless it is trusted: `Markup`."""
    return sanitize(value) if type(value) is str else value


def image_uri(image: "Image.Image", quality: int) -> str:
    """Return an image as a `data:` URI, so that a page is one file.

    Args:
        quality: Of WebP, up to 100.
    """
    file = io.BytesIO()
    image.save(file, "WEBP", quality=quality)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
