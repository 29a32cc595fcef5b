"""The pages that crackdet writes, from Jinja templates."""

from jinja2 import Environment, PackageLoader, StrictUndefined

from crackdet.core.console import sanitize


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
