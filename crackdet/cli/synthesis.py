"""The command that writes a synthetic data set: synthesize."""

import re
import shlex
from pathlib import Path
from typing import Annotated

import typer

from crackdet.cli.common import command
from crackdet.core.console import bar
from crackdet.core.errors import UserError
from crackdet.core.output_paths import check_new_folder

FORMATS = ("masks", "coco", "yolo", "voc")
ANNOTATIONS = {"coco": "annotations.json", "yolo": "labels", "voc": "Annotations"}


@command
def synthesize(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    photographs: Annotated[int, typer.Option(min=1, help="Number of photographs.")] = 48,
    size: Annotated[str, typer.Option(metavar="WIDTHxHEIGHT", help="Pixels of each photograph.")] = "1024x768",
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Another seed gives other photographs.")] = 0,
    difficulty: Annotated[float, typer.Option(min=0.0, max=1.0, help="Higher: finer and fainter cracks.")] = 0.5,
    formats: Annotated[
        str, typer.Option("--format", help=f"Of the annotations: a list of {', '.join(FORMATS)}.")
    ] = "masks,coco",
) -> None:
    """Write synthetic photographs of walls with cracks, their masks, and their boxes in formats of annotation tools."""
    from crackdet.data.synthetic.photographs import MAX_SIDE, MIN_SIDE

    chosen = list(dict.fromkeys(formats.replace(" ", "").split(",")))
    if unknown := [name for name in chosen if name not in FORMATS]:
        raise UserError(f"--format {formats}: {unknown[0]!r} must be one of {', '.join(FORMATS)}")
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", size)
    if not match or not all(MIN_SIDE <= int(side) <= MAX_SIDE for side in match.groups()):
        raise UserError(f"--size {size}: must be WIDTHxHEIGHT, each from {MIN_SIDE} to {MAX_SIDE}, such as 1024x768")
    check_new_folder(folder, "FOLDER")
    from crackdet.data.synthetic.export import write_photographs

    width, height = map(int, match.groups())
    boxes = 0
    with bar("photographs", photographs) as progress:
        for written in write_photographs(folder, photographs, (width, height), seed, difficulty, chosen):
            boxes += len(written.boxes)
            progress.advance()
    print(f"{folder}: {photographs} photographs with {boxes} cracks ({', '.join(chosen)})")
    used = [name for name in chosen if name in ANNOTATIONS]
    commands = ["data=masks"] if "masks" in chosen else []
    commands += [f"data=boxes{f' data.annotations={ANNOTATIONS[name]}' if len(used) > 1 else ''}" for name in used]
    for source in commands:
        print(f"python train.py {shlex.join([*source.split(), f'data.root={folder}'])}")
