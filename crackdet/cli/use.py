"""Commands that use a finished run."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from crackdet.cli.application import STORE, RunName, Store, command, open_store
from crackdet.errors import UserError


@command
def evaluate(
    run: RunName,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Other data, as for train.py: data=folder data.root=...")
    ] = None,
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "valid",
    store: Store = STORE,
    trust: Annotated[bool, typer.Option("--trust", help="Import the user's class that the run names.")] = False,
) -> None:
    """The measures of a run's weights on its own data, or on other data."""
    from crackdet.inference.evaluation import evaluate as measured
    from crackdet.inference.evaluation import other_data
    from crackdet.summary import pick

    if split not in ("train", "valid", "test"):
        raise UserError(f"--split {split}: must be train, valid or test")
    found = pick(run, open_store(store))
    metrics, images = measured(found, other_data(found, overrides) if overrides else None, split, trust)
    values = ", ".join(f"{name} {value:.4f}" for name, value in asdict(metrics).items())
    print(f"{found.id} on {len(images)} {images.pixels.source.name} images, {split} split: {values}")


@command
def export(
    run: RunName,
    to: Annotated[Path, typer.Option(help="A new folder for the backbone.")],
    onnx: Annotated[bool, typer.Option("--onnx", help="Write backbone.onnx too, and compare it.")] = False,
    torch_export: Annotated[
        bool, typer.Option("--torch-export", help="Write backbone.pt2 too, and compare it.")
    ] = False,
    licence: Annotated[str | None, typer.Option(help="Of the initial weights, where they were a file.")] = None,
    store: Store = STORE,
    trust: Annotated[bool, typer.Option("--trust", help="Import the user's class that the run names.")] = False,
) -> None:
    """Takes a run's feature extractor out of the store, as the backbone of a detector."""
    from crackdet.backbone.export import export as exported
    from crackdet.summary import pick

    description = exported(pick(run, open_store(store)), to, onnx, torch_export, licence, trust)
    stages = ", ".join(f"{stage.channels} channels at stride {stage.stride}" for stage in description.stages)
    print(f"{description.run} in {to}: {stages}")
    for copy in description.copies:
        print(f"{copy.file}: differs from the network by {copy.max_difference:.2g} at most")
