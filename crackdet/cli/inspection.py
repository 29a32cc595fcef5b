"""Commands that look into what a run has learned."""

from pathlib import Path
from typing import Annotated

import typer

from crackdet.cli.common import STORE, Device, RunName, Store, chosen, command
from crackdet.core.errors import UserError


@command
def inspect(
    run: RunName,
    images: Annotated[
        list[str] | None,
        typer.Argument(
            help="Photographs, or names of the run's validation images; without any, those that say most. Settings of "
            "its data may stand among them: data.masks=FOLDER."
        ),
    ] = None,
    one_map: Annotated[
        str | None, typer.Option("--map", metavar="STAGE:NUMBER", help="Draw this feature map alone.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="So many maps of each stage, the best first.")] = 24,
    output: Annotated[Path | None, typer.Option(help="Folder for the pictures; outputs/inspection/RUN.")] = None,
    device: Device = "auto",
    store: Store = STORE,
    trust: Annotated[bool, typer.Option("--trust", help="Import the user's class that the run names.")] = False,
) -> None:
    """The feature maps of a run over photographs, and where it looks for the crack: pictures and a page."""
    taken = chosen(run, store)
    from crackdet.inference.loaded_run import LoadedRun
    from crackdet.inspection.loaded_network import choose_pictures, open_subject, settings_among
    from crackdet.inspection.render import describe, draw_map, render

    subject = open_subject(LoadedRun(taken, trust), device)
    pictures, measured_on = choose_pictures(subject, images or [])
    folder = output or Path("outputs/inspection") / subject.run.id
    if one_map is not None:
        path, what = draw_map(subject, one_map, pictures, measured_on, folder)
        print(f"{what}: {path}")
        return
    typed = {"--store": (store, STORE), "--output": (output, None), "--device": (device, "auto")}
    options = [word for option, (value, usual) in typed.items() if value != usual for word in (option, str(value))]
    options += ["--trust"] if trust else []
    command = ["crackdet", "inspect", subject.run.id, *options, *settings_among(images or [])]
    for statistics in render(subject, pictures, measured_on, folder, top, command):
        print(describe(statistics))
    print(f"{folder / 'index.html'}")


@command
def pointing(
    run: RunName,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Other data, as for train.py: data.masks=FOLDER, or data=folder ...")
    ] = None,
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "valid",
    images: Annotated[int, typer.Option(min=1, help="At most so many images with a crack, evenly spaced.")] = 200,
    device: Device = "auto",
    store: Store = STORE,
    trust: Annotated[bool, typer.Option("--trust", help="Import the user's class that the run names.")] = False,
) -> None:
    """Whether a run looks at the crack: how often its strongest evidence lies on the crack's mask."""
    if split not in ("train", "valid", "test"):
        raise UserError(f"--split {split}: must be train, valid or test")
    taken = chosen(run, store)
    from crackdet.inference.loaded_run import LoadedRun
    from crackdet.inspection.loaded_network import open_subject
    from crackdet.inspection.pointing import point

    subject = open_subject(LoadedRun(taken, trust), device)
    for line in point(subject, overrides or [], split, images):
        print(line)
