"""crackdet: sweeps over crack classifiers, to choose the backbone of a crack detector."""

TYPE_CHECKING = False  # importing typing takes time, and each command imports this package before it handles Ctrl-C
if TYPE_CHECKING:
    from crackdet.api import load_backbone, load_run, load_runs

__version__ = "0.1.0"

__all__ = ["load_backbone", "load_run", "load_runs"]


def __getattr__(name: str) -> object:
    """Import the functions on first use."""
    if name not in __all__:
        raise AttributeError(f"module 'crackdet' has no attribute {name!r}")
    from crackdet import api

    return getattr(api, name)
