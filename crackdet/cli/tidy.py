"""Commands that delete what is not needed."""

import re
from typing import Annotated

import typer
from rich.table import Table

from crackdet.cli.application import STORE, RunName, Store, command, open_store
from crackdet.console import plain
from crackdet.errors import UserError


@command
def rm(
    run: RunName,
    store: Store = STORE,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Deletes a run with its weights and its result."""
    from crackdet.summary import pick

    where = open_store(store)
    found = pick(run, where)
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
    from crackdet.clean import removable, remove
    from crackdet.summary.table import console

    if not re.fullmatch(r"all|none|best:[1-9][0-9]*", keep_weights):
        raise UserError(f"--keep-weights {keep_weights}: must be all, none or best:NUMBER")
    items = removable(open_store(store), keep_weights)
    table = Table("file", "why", "MiB")
    for item in items:
        table.add_row(plain(item.path), item.why, f"{item.size / 2**20:.1f}")
    console().print(table)
    total = sum(item.size for item in items) / 2**20
    if yes:
        print(f"deleted {len(remove(items))} of {len(items)} files, {total:.1f} MiB")
    else:
        print(f"{len(items)} files, {total:.1f} MiB; --yes deletes them")
