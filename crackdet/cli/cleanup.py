"""Commands that delete runs, surplus files, and cached images and features."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from crackdet.cli.common import AsJson, Folder, RunName, Store, command, find_run, open_folder, print_json
from crackdet.core.console import escape_markup
from crackdet.core.errors import UserError
from crackdet.core.files import expand_home
from crackdet.store.run_store import RunStore

if TYPE_CHECKING:
    from crackdet.data.cache_gc import CachedSet


@command
def rm(
    run: RunName, store: Store = None, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False
) -> None:
    """Delete a run with its weights and result."""
    found = find_run(run, store)
    if yes or typer.confirm(f"delete {found.directory}?"):
        RunStore(found.root).remove(found)
        print(f"deleted {found.id}")


@command
def clean(
    folder: Folder = None,
    keep_weights: Annotated[str, typer.Option(help="Weights to keep: all, best:NUMBER or none.")] = "all",
    yes: Annotated[bool, typer.Option("--yes", help="Delete the files; otherwise they are only listed.")] = False,
    store: Store = None,
) -> None:
    """List or delete files that no result needs: resume states of finished runs, surplus weights, temporary files."""
    from crackdet.analysis.retention import spare_weights
    from crackdet.analysis.tables import console
    from crackdet.store.garbage import leftovers, remove

    if not re.fullmatch(r"all|none|best:[1-9][0-9]*", keep_weights):
        raise UserError(f"--keep-weights {keep_weights}: must be all, none or best:NUMBER")
    opened = open_folder(folder, store)
    among = set(opened.overrides) if opened.is_sweep else None
    items = [*leftovers(opened.store, among), *spare_weights(opened.store, keep_weights, among)]
    table = Table("file", "why", "MiB")
    for item in items:
        table.add_row(escape_markup(item.path), item.why, f"{item.size / 2**20:.1f}")
    console().print(table)
    sizes = {item.path: item.size for item in items}
    if yes:
        deleted = [sizes[item.path] for item in remove(items)]
        print(f"deleted {len(deleted)} of {len(items)} files, {sum(deleted) / 2**20:.1f} MiB")
        if len(deleted) < len(items):
            raise typer.Exit(1)
    else:
        print(f"{len(items)} files, {sum(sizes.values()) / 2**20:.1f} MiB; --yes deletes them")


@command
def cache(
    folder: Annotated[Path, typer.Argument(help="The cache folder (runtime.cache).")] = Path("~/.cache/crackdet"),
    unused: Annotated[int | None, typer.Option(min=1, help="Only sets unused for at least this many days.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete the sets; otherwise they are only listed.")] = False,
    as_json: AsJson = False,
) -> None:
    """List or delete cached images and features; a run that needs a deleted set decodes or computes it again."""
    from crackdet.analysis.tables import console
    from crackdet.data.cache_gc import delete_cached_sets, list_cached_sets

    if yes and unused is None:
        raise UserError(
            "--yes: also give --unused DAYS; --unused 30 --yes deletes the sets that were not used for 30 days"
        )
    folder = expand_home(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; train.py creates it (runtime.cache)")
    sets = [one for one in list_cached_sets(folder) if unused is None or one.days_unused >= unused]
    if as_json:
        deleted = {one.file for one in delete_cached_sets(sets)} if yes else set()
        print_json({"folder": folder, "sets": [_cached(one, one.file in deleted) for one in sets]})
        return
    table = Table("file", "images", "of each image", "MiB", "unused for")
    for one in sets:
        images = "cannot be read" if one.images is None else f"{one.images}"
        each = f"{one.image_size} pixels a side" if one.image_size else f"{one.dimension} features"
        size, days = f"{one.size / 2**20:.1f}", f"{one.days_unused:.0f} days"
        table.add_row(escape_markup(one.file.name), images, "" if one.images is None else each, size, days)
    console().print(table)
    which = "of images or features" if unused is None else f"unused for {unused} days"
    total = f"{len(sets)} set{'' if len(sets) == 1 else 's'} {which}"
    if yes:
        removed = delete_cached_sets(sets)
        print(f"deleted {len(removed)} of {total}, {sum(one.size for one in removed) / 2**20:.1f} MiB")
    else:
        hint = "--unused DAYS --yes deletes sets unused for that long" if unused is None else "--yes deletes them"
        print(f"{total}, {sum(one.size for one in sets) / 2**20:.1f} MiB in {folder}; {hint}")


def _cached(one: "CachedSet", deleted: bool) -> dict[str, Any]:
    return {
        "file": one.file,
        "images": one.images,
        "image_size": one.image_size,
        "dimension": one.dimension,
        "bytes": one.size,
        "days_unused": round(one.days_unused, 2),
        "deleted": deleted,
    }
