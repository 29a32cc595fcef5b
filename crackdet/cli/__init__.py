"""`crackdet`: everything that reads the run store, and looks at data."""

from crackdet.cli import data, insight, look, tidy, use
from crackdet.cli.application import app

__all__ = ["app", "data", "insight", "look", "tidy", "use"]
