"""The command that checks a data source."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from crackdet.cli.common import Force, command


@command
def check_data(
    overrides: Annotated[list[str] | None, typer.Argument(help="As for train.py: data=folder data.root=...")] = None,
    sheet: Annotated[Path | None, typer.Option(help="Write a contact sheet to this PNG file.")] = None,
    force: Force = False,
) -> None:
    """Checks a data source: decodes every image, counts the images of each split, and writes a contact sheet."""
    from crackdet.analysis.tables import console
    from crackdet.config.composing import compose
    from crackdet.data.contact_sheet import contact_sheet
    from crackdet.data.dataset import data_fingerprint, load_splits
    from crackdet.inference.files import check_output_path

    if sheet is not None:
        check_output_path(sheet, force, "--sheet")
    config = compose(overrides or [])
    splits = load_splits(config.data, config.runtime, max_named=None)
    table = Table("split", "cracks", "no cracks")
    for name, dataset in splits.items():
        num_cracks = int(dataset.labels.sum())
        table.add_row(name, str(num_cracks), str(len(dataset) - num_cracks))
    console().print(table)
    print(f"fingerprint {data_fingerprint(config.data, config.runtime)}")
    if sheet is not None:
        contact_sheet(splits["train"]).save(sheet)
        print(f"contact sheet {sheet}")
