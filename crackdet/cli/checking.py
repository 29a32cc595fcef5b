"""The command that checks a data set before it is trained on: check-data."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crackdet.cli.common import AsJson, Force, Store, command, find_network, print_json
from crackdet.core.console import escape_markup
from crackdet.core.errors import UserError
from crackdet.core.output_paths import check_new_folder, check_output_path

if TYPE_CHECKING:
    from crackdet.config.schema import Config
    from crackdet.data.dataset import ImageDataset
    from crackdet.doctor.check import DataCheck
    from crackdet.store.run import Run

PAGE = "index.html"


@command
def check_data(
    overrides: Annotated[list[str] | None, typer.Argument(help="As for train.py: data=folder data.root=...")] = None,
    output: Annotated[Path, typer.Option(help="Folder for the page and the tables.")] = Path("outputs/check-data"),
    groups: Annotated[
        Path | None, typer.Option("--write-groups", help="Write a manifest whose groups keep copies together.")
    ] = None,
    sheet: Annotated[Path | None, typer.Option(help="Write a contact sheet to this PNG file.")] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            help="A finished run whose network describes the images, instead of a descriptor without weights."
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Only decode and count the images.")] = False,
    force: Force = False,
    as_json: AsJson = False,
    store: Store = None,
) -> None:
    """Check a data set: unreadable images, copies across splits, suspect labels, confounds and drift.

    The exit status is 1 if a validation or test photograph shows what a training photograph shows.
    """
    from crackdet.analysis.tables import console
    from crackdet.config.composing import compose
    from crackdet.data.contact_sheet import contact_sheet
    from crackdet.data.counts import count_splits, count_table
    from crackdet.data.dataset import data_fingerprint, load_splits
    from crackdet.data.findings import find_all_problems

    if groups is not None and quick:
        raise UserError("--write-groups: needs the check for copies; leave out --quick")
    for path, option in ((sheet, "--sheet"), (groups, "--write-groups")):
        if path is not None:
            check_output_path(path, force, option)
    if not quick:
        check_new_folder(output, "--output", may_exist=True)
    network = None if backbone is None else find_network(backbone, store, trust=False)
    config = compose(overrides or [])
    splits = load_splits(config.data, config.runtime, max_named=None, both_classes=False)
    digest = data_fingerprint(config.data, config.runtime, both_classes=False)
    records = {name: dataset.records for name, dataset in splits.items()}
    problems = find_all_problems(splits)
    content: dict[str, Any] = {"splits": count_splits(records), "problems": problems, "fingerprint": digest}
    sentences, leaks, written = problems, False, ""
    if not quick:
        check = _run_checks(config, splits, digest, problems, network)
        written = _write(check, config, overrides or [], output, groups)
        content |= check.to_dict() | {"page": output / PAGE, "groups": groups}
        sentences, leaks = list(dict.fromkeys([*problems, *check.sentences])), check.leaks
    if sheet is not None:
        contact_sheet(splits["train"]).save(sheet)
    if as_json:
        print_json(content | {"sheet": sheet})
    else:
        console().print(count_table(records))
        for sentence in sentences:
            console().print(escape_markup(sentence), highlight=False, soft_wrap=True)
        print(f"fingerprint {digest}")
        if sheet is not None:
            print(f"contact sheet {sheet}")
        if groups is not None:
            print(f"groups {groups}: {written}")
        if not quick:
            print(f"page {output / PAGE}")
    if leaks:
        raise typer.Exit(1)


def _run_checks(
    config: "Config",
    splits: "Mapping[str, ImageDataset]",
    fingerprint: str,
    problems: list[str],
    backbone: "Run | None",
) -> "DataCheck":
    try:
        from crackdet.doctor.check import check_images
    except ModuleNotFoundError as error:
        raise UserError(
            f"check-data: needs the package {error.name}, which is not installed: uv pip install -e '.[doctor]'; or "
            "give --quick, which only decodes and counts the images"
        ) from None
    return check_images(config, splits, fingerprint, problems, backbone)


def _write(check: "DataCheck", config: "Config", overrides: list[str], output: Path, groups: Path | None) -> str:
    """Write the page, the tables, and the groups if they are wanted; return what the groups are, in words."""
    from crackdet.doctor.check import write_check
    from crackdet.doctor.grouping import write_groups

    command_line = shlex.join(["crackdet", "check-data", *overrides, "--write-groups", "groups.csv"])
    kept = [text for text in overrides if not text.startswith(("data.groups=", "data.manifest="))]
    how = f"{command_line}\npython train.py {shlex.join(kept)} data.groups=group data.manifest=$PWD/groups.csv"
    write_check(check, output, how if hasattr(config.data, "manifest") else None)
    return write_groups(groups, check.photographs, check.copies.pairs) if groups is not None else ""
