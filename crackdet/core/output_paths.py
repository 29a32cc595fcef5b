"""Checks of the files and folders that a command is to write, before it begins."""

import os
from pathlib import Path

from crackdet.core.errors import UserError


def check_output_path(path: Path, force: bool, option: str = "--output") -> None:
    """Raise UserError if the file cannot be created, or exists and `force` is not set."""
    if path.is_dir():
        raise UserError(f"{option} {path}: is a folder; give a file")
    if path.exists() and not path.is_file():
        raise UserError(f"{option} {path}: is not a regular file; give another file")
    if path.exists() and not force:
        raise UserError(f"{option} {path}: already exists; give another file, or --force to overwrite it")
    if not path.parent.is_dir():
        raise UserError(f"{option} {path}: no such folder: {path.parent}")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise UserError(f"{option} {path}: cannot be written; the folder {path.parent} is not writable")


def check_new_folder(path: Path, option: str = "--to", may_exist: bool = False) -> None:
    """Raise UserError if the folder cannot be created, or is not empty unless it `may_exist`."""
    if path.exists() and not path.is_dir():
        raise UserError(f"{option} {path}: is a file; give a folder")
    if path.is_dir() and not may_exist and any(path.iterdir()):
        raise UserError(f"{option} {path}: exists and is not empty; give a new folder")
    existing = path if path.is_dir() and may_exist else path.absolute().parent
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(f"{option} {path}: cannot be created; {existing} is not a writable folder")
