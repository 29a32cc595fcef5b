"""Commands that delete what is not needed."""

import re
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from crackdet.cli.common import STORE, RunName, Store, command, open_store
from crackdet.core.console import escape_markup
from crackdet.core.errors import UserError


@command
def rm(
    run: RunName,
    store: Store = STORE,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Deletes a run with its weights and its result."""
    from crackdet.analysis.ranking import resolve_run

    where = open_store(store)
    found = resolve_run(run, where)
    if yes or typer.confirm(f"delete {found.directory}?"):
        where.remove(found)
        print(f"deleted {found.id}")


@command
def clean(
    store: Store = STORE,
    keep_weights: Annotated[str, typer.Option(help="all, best:NUMBER or none.")] = "all",
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it, only show.")] = False,
) -> None:
    """Shows, or deletes, what no result needs: states of finished runs, spare weights, leftovers."""
    from crackdet.analysis.retention import spare_weights
    from crackdet.analysis.tables import console
    from crackdet.store.garbage import leftovers, remove

    if not re.fullmatch(r"all|none|best:[1-9][0-9]*", keep_weights):
        raise UserError(f"--keep-weights {keep_weights}: must be all, none or best:NUMBER")
    found = open_store(store)
    items = [*leftovers(found), *spare_weights(found, keep_weights)]
    table = Table("file", "why", "MiB")
    for item in items:
        table.add_row(escape_markup(item.path), item.why, f"{item.size / 2**20:.1f}")
    console().print(table)
    sizes = {item.path: item.size for item in items}
    if yes:
        gone = [item.path for item in remove(items)]
        freed = sum(sizes[path] for path in gone)
        print(f"deleted {len(gone)} of {len(items)} files, {freed / 2**20:.1f} MiB")
    else:
        print(f"{len(items)} files, {sum(sizes.values()) / 2**20:.1f} MiB; --yes deletes them")


@command
def cache(
    folder: Annotated[Path, typer.Argument(help="The cache's folder, as runtime.cache.")] = Path("~/.cache/crackdet"),
    unused: Annotated[int | None, typer.Option(min=1, help="Only those not used for so many days.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete those of --unused; without it, only show.")] = False,
) -> None:
    """Shows, or deletes, decoded images that were not used for some days; a run that needs them decodes them again."""
    from crackdet.analysis.tables import console
    from crackdet.data.cache_gc import decoded_sets, delete

    if yes and unused is None:
        raise UserError("--yes: deletes what was not used for some days; say for how many, as in --unused 30")
    folder = folder.expanduser()
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder; train.py makes it (runtime.cache)")
    sets = [one for one in decoded_sets(folder) if unused is None or one.days_unused >= unused]
    table = Table("file", "images", "pixels a side", "MiB", "unused for")
    for one in sets:
        images, side = ("cannot be read", "") if one.images is None else (f"{one.images}", f"{one.image_size}")
        table.add_row(
            escape_markup(one.file.name), images, side, f"{one.size / 2**20:.1f}", f"{one.days_unused:.0f} days"
        )
    console().print(table)
    which = "of decoded images" if unused is None else f"not used for {unused} days"
    total = f"{len(sets)} set{'' if len(sets) == 1 else 's'} {which}"
    if yes:
        gone = delete(sets)
        print(f"deleted {len(gone)} of {total}, {sum(one.size for one in gone) / 2**20:.1f} MiB")
    else:
        hint = "--unused DAYS --yes deletes those not used for so long" if unused is None else "--yes deletes them"
        print(f"{total}, {sum(one.size for one in sets) / 2**20:.1f} MiB in {folder}; {hint}")
