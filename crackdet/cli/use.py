"""Commands that use a finished run."""

from dataclasses import asdict
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
