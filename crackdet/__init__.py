"""crackdet: sweeps over crack classifiers, to choose the backbone of a crack detector."""

from crackdet.api import load_backbone, load_run, load_runs

__version__ = "0.1.0"

__all__ = ["load_backbone", "load_run", "load_runs"]
