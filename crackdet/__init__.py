"""crackdet: sweeps over crack classifiers, to choose the backbone of a crack detector."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crackdet.api import load_backbone, load_run, load_runs

__version__ = "0.1.0"

__all__ = ["load_backbone", "load_run", "load_runs"]


def __getattr__(name: str) -> Any:
    """Import the functions on first use: each command imports this package before it can handle Ctrl-C."""
    if name not in __all__:
        raise AttributeError(f"module 'crackdet' has no attribute {name!r}")
    from crackdet import api

    return getattr(api, name)
