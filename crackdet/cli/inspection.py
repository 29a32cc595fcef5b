"""Commands that inspect data, and what a run has learned."""

from pathlib import Path
from typing import Annotated

import typer

from crackdet.cli.common import STORE, Device, Force, RunName, Store, Trust, command, find_run
from crackdet.core.errors import UserError


@command
def check_data(
    overrides: Annotated[list[str] | None, typer.Argument(help="As for train.py: data=folder data.root=...")] = None,
    sheet: Annotated[Path | None, typer.Option(help="Write a contact sheet to this PNG file.")] = None,
    force: Force = False,
) -> None:
    """Check a data source: decode every image, count the images of each split, and write a contact sheet."""
    from crackdet.analysis.tables import console
    from crackdet.config.composing import compose
    from crackdet.data.contact_sheet import contact_sheet
    from crackdet.data.counts import count_table
    from crackdet.data.dataset import data_fingerprint, load_splits
    from crackdet.inference.files import check_output_path

    if sheet is not None:
        check_output_path(sheet, force, "--sheet")
    config = compose(overrides or [])
    splits = load_splits(config.data, config.runtime, max_named=None)
    console().print(count_table({name: dataset.records for name, dataset in splits.items()}))
    print(f"fingerprint {data_fingerprint(config.data, config.runtime)}")
    if sheet is not None:
        contact_sheet(splits["train"]).save(sheet)
        print(f"contact sheet {sheet}")


@command
def inspect(
    run: RunName,
    images: Annotated[
        list[str] | None,
        typer.Argument(
            help="Image files or names of validation images; representative validation images if not given. Settings "
            "of the run's data are accepted too: data.masks=FOLDER."
        ),
    ] = None,
    map_name: Annotated[str | None, typer.Option("--map", metavar="STAGE:NUMBER", help="Draw only this map.")] = None,
    top: Annotated[int, typer.Option(min=1, help="Maps shown per stage, best first.")] = 24,
    output: Annotated[Path | None, typer.Option(help="Output folder; default outputs/inspection/RUN.")] = None,
    device: Device = "auto",
    store: Store = STORE,
    trust: Trust = False,
) -> None:
    """Draw a run's feature maps and saliency over images, as PNG files and an HTML page."""
    found_run = find_run(run, store)
    from crackdet.inference.loaded_run import LoadedRun
    from crackdet.inspection.loaded_network import load_network
    from crackdet.inspection.render import describe, draw_map, render
    from crackdet.inspection.samples import choose_samples, data_settings

    network = load_network(LoadedRun(found_run, trust), device)
    samples, measured = choose_samples(network, images or [])
    folder = output or Path("outputs/inspection") / network.run.id
    if map_name is not None:
        path, description = draw_map(network, map_name, samples, measured, folder)
        print(f"{description}: {path}")
        return
    defaults = {"--store": (store, STORE), "--output": (output, None), "--device": (device, "auto")}
    options = [
        word for option, (value, default) in defaults.items() if value != default for word in (option, str(value))
    ]
    options += ["--trust"] if trust else []
    command_line = ["crackdet", "inspect", network.run.id, *options, *data_settings(images or [])]
    for statistics in render(network, samples, measured, folder, top, command_line):
        print(describe(statistics))
    print(f"{folder / 'index.html'}")


@command
def pointing(
    run: RunName,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Other data, as for train.py: data.masks=FOLDER, or data=folder ...")
    ] = None,
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "valid",
    images: Annotated[int, typer.Option(min=1, help="Maximum number of images with a crack, evenly spaced.")] = 200,
    device: Device = "auto",
    store: Store = STORE,
    trust: Trust = False,
) -> None:
    """Measure how often a run's strongest evidence lies on the mask of the crack (the pointing game)."""
    if split not in ("train", "valid", "test"):
        raise UserError(f"--split {split}: must be train, valid or test")
    found_run = find_run(run, store)
    from crackdet.inference.loaded_run import LoadedRun
    from crackdet.inspection.loaded_network import load_network
    from crackdet.inspection.pointing import run_pointing

    network = load_network(LoadedRun(found_run, trust), device)
    for line in run_pointing(network, overrides or [], split, images):
        print(line)
