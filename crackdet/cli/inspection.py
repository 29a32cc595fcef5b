"""Commands that inspect data, and what a run has learned."""

import re
from pathlib import Path
from typing import Annotated

import typer

from crackdet.cli.common import (
    SPLITS,
    Device,
    RunName,
    Store,
    Trust,
    check_split,
    command,
    find_network,
)
from crackdet.cli.completion import STORE, one_of
from crackdet.core.errors import UserError
from crackdet.core.output_paths import check_new_folder


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
    store: Store = None,
    trust: Trust = False,
) -> None:
    """Draw a run's feature maps and saliency over images, as PNG files and an HTML page."""
    from crackdet.inference.checks import check_data, check_device, check_image_names
    from crackdet.inference.eval_data import data_settings
    from crackdet.inference.loaded_run import LoadedRun

    if map_name is not None and not re.fullmatch(r".+:[0-9]+", map_name):
        raise UserError(f"--map {map_name}: must be STAGE:NUMBER, such as conv2:5")
    check_device(device)
    found_run = find_network(run, store, trust)
    settings = data_settings(images or [])
    names = [image for image in images or [] if image not in settings]
    check_image_names(found_run, names)
    if settings or not names:
        check_data(found_run, settings)
    folder = output or Path("outputs/inspection") / found_run.id
    check_new_folder(folder, "--output", may_exist=True)
    from crackdet.inspection.loaded_network import load_network
    from crackdet.inspection.render import describe, draw_map, render
    from crackdet.inspection.samples import choose_samples

    network = load_network(LoadedRun(found_run, trust), device)
    samples, measured = choose_samples(network, images or [])
    if map_name is not None:
        path, description = draw_map(network, map_name, samples, measured, folder)
        print(f"{description}: {path}")
        return
    defaults = {"--store": (store or STORE, STORE), "--output": (output, None), "--device": (device, "auto")}
    options = [
        word for option, (value, default) in defaults.items() if value != default for word in (option, str(value))
    ]
    options += ["--trust"] if trust else []
    command_line = ["crackdet", "inspect", network.run.id, *options, *settings]
    for statistics in render(network, samples, measured, folder, top, command_line):
        print(describe(statistics))
    print(f"{folder / 'index.html'}")


@command
def pointing(
    run: RunName,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Other data, as for train.py: data.masks=FOLDER, or data=folder ...")
    ] = None,
    split: Annotated[str, typer.Option(help="train, valid or test.", autocompletion=one_of(*SPLITS))] = "valid",
    images: Annotated[int, typer.Option(min=1, help="Maximum number of images with a crack, evenly spaced.")] = 200,
    device: Device = "auto",
    store: Store = None,
    trust: Trust = False,
) -> None:
    """Measure how often a run's strongest evidence lies on the mask of the crack (the pointing game)."""
    from crackdet.inference.checks import check_data, check_device
    from crackdet.inference.loaded_run import LoadedRun

    check_split(split)
    check_device(device)
    found_run = find_network(run, store, trust)
    check_data(found_run, overrides or [])
    from crackdet.inspection.loaded_network import load_network
    from crackdet.inspection.pointing import run_pointing

    network = load_network(LoadedRun(found_run, trust), device)
    for line in run_pointing(network, overrides or [], split, images):
        print(line)
