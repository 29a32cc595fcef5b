"""Commands that use a finished run."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from crackdet.cli.common import STORE, Device, Force, RunName, Store, chosen, command
from crackdet.core.console import progress_on_stderr, sanitize
from crackdet.core.errors import UserError

Threshold = Annotated[float, typer.Option(min=0, max=1, help="A probability above it is called a crack.")]
BatchSize = Annotated[int | None, typer.Option(min=1, help="Images at a time; as in training where not given.")]
Trust = Annotated[bool, typer.Option("--trust", help="Import the user's class that the run names.")]


@command
def evaluate(
    runs_and_data: Annotated[
        list[str],
        typer.Argument(metavar="RUN... [data=SOURCE data.KEY=VALUE...]", help="Runs, and the images to judge them on."),
    ],
    on: Annotated[
        list[str] | None, typer.Option(help="A set of images, 'data=folder data.root=...' or own; several times.")
    ] = None,
    split: Annotated[str, typer.Option(help="train, valid, test or all.")] = "valid",
    metric: Annotated[str, typer.Option(help="Of the table of several runs and sets.")] = "accuracy",
    output: Annotated[Path | None, typer.Option(help="Write all metrics into this .csv or .jsonl file.")] = None,
    device: Device = "auto",
    force: Force = False,
    store: Store = STORE,
    trust: Trust = False,
) -> None:
    """The measures of runs on their own data or on other data: trained on x tested on."""
    names = [text for text in runs_and_data if "=" not in text or text.startswith("best:")]
    overrides = [text for text in runs_and_data if text not in names]
    if not names:
        raise UserError("evaluate: give a run: an id, best, or best:FOLDER")
    taken = list({run.directory: run for run in (chosen(name, store) for name in names)}.values())
    from crackdet.analysis.tables import console
    from crackdet.data.splits import SPLITS
    from crackdet.inference.evaluation import ALL, METRICS, check_overrides, evaluate, parse_choice
    from crackdet.inference.files import refuse_existing, row_format, row_writer
    from crackdet.inference.loaded_run import LoadedRun
    from crackdet.inference.tables import judgement_table

    if split not in (*SPLITS, ALL):
        raise UserError(f"--split {split}: must be {', '.join(SPLITS)} or {ALL}")
    if metric not in METRICS:
        raise UserError(f"--metric {metric}: must be one of {', '.join(METRICS)}")
    if on and overrides:
        raise UserError(f"{overrides[0]}: give images either as arguments, or with --on")
    check_overrides(overrides)
    kind = row_format(output, None)
    if output is not None:
        refuse_existing(output, force)
    sets = [parse_choice(text) for text in on or []] or [parse_choice(shlex.join(overrides) or "own")]
    if twice := next((one.name for one in sets if [other.name for other in sets].count(one.name) > 1), None):
        raise UserError(
            f"--on {twice}: two sets of images have this name; give them names, as in --on 'mine: data=...'"
        )
    runs = [LoadedRun(run, trust) for run in taken]
    judgements = []
    while runs:
        loaded = runs.pop(0)  # and let go of, with its weights
        judgements += [evaluate(loaded, choice, split, device) for choice in sets]
    for judgement in judgements:
        if judgement.trained_with and split != "train":
            print(
                f"note: {judgement.run} was trained with {judgement.trained_with} of the {judgement.images} images "
                f"of {sanitize(judgement.tested_on)}",
                file=sys.stderr,
            )
    if len(judgements) == 1:
        print(judgements[0])
    else:
        console().print(judgement_table(judgements, metric))
    if output is not None:
        with row_writer(output, kind, list(judgements[0].row())) as write:
            for judgement in judgements:
                write(judgement.row())


@command
def predict(
    run: RunName,
    paths: Annotated[list[str], typer.Argument(help="Photographs: files, folders, glob patterns.")],
    output: Annotated[Path | None, typer.Option(help="Write into this .csv or .jsonl file.")] = None,
    form: Annotated[
        str | None, typer.Option("--format", help="csv or jsonl; as --output ends where not given.")
    ] = None,
    threshold: Threshold = 0.5,
    batch_size: BatchSize = None,
    device: Device = "auto",
    force: Force = False,
    store: Store = STORE,
    trust: Trust = False,
) -> None:
    """The probability of a crack in each photograph, as CSV or JSON lines."""
    taken = chosen(run, store)
    from crackdet.inference.files import find_images, refuse_existing, row_format
    from crackdet.inference.loaded_run import LoadedRun
    from crackdet.inference.prediction import predict_files

    progress_on_stderr()
    found = find_images(paths)
    kind = row_format(output, form)
    if output is not None:
        refuse_existing(output, force)
    loaded = LoadedRun(taken, trust)
    outcome = predict_files(loaded.predictor(device, batch_size), found, output, kind, threshold)
    print(outcome.describe(), file=sys.stderr)
    if outcome.bad:
        raise typer.Exit(1)


@command
def scan(
    run: RunName,
    photograph: Annotated[Path, typer.Argument(help="A photograph larger than those of the training.")],
    overlay: Annotated[Path | None, typer.Option(help="PNG file to draw; NAME-scan.png where not given.")] = None,
    boxes: Annotated[Path | None, typer.Option(help="COCO file to write; NAME-scan.json where not given.")] = None,
    tile: Annotated[str | None, typer.Option(help="Pixels that the network sees at a time, as 448 or 640x480.")] = None,
    overlap: Annotated[float, typer.Option(min=0, max=0.95, help="Of neighbouring tiles, as a share.")] = 0.5,
    threshold: Threshold = 0.5,
    batch_size: BatchSize = None,
    device: Device = "auto",
    force: Force = False,
    store: Store = STORE,
    trust: Trust = False,
) -> None:
    """Slides a classifier over a large photograph: an overlay of probabilities, and boxes of where they are high."""
    taken = chosen(run, store)
    from crackdet.core.files import atomic_write, write_json
    from crackdet.data.decode import BadImage, open_rgb
    from crackdet.inference.files import refuse_existing
    from crackdet.inference.loaded_run import LoadedRun
    from crackdet.inference.overlay import draw_overlay
    from crackdet.inference.regions import find_regions, to_coco
    from crackdet.inference.scanning import choose_tile
    from crackdet.inference.scanning import scan as scanned

    overlay = overlay or Path(f"{photograph.stem}-scan.png")
    boxes = boxes or Path(f"{photograph.stem}-scan.json")
    if overlay.resolve() == boxes.resolve():
        raise UserError(f"--boxes {boxes}: is the file of --overlay too; give them names of their own")
    for path, option in ((overlay, "--overlay"), (boxes, "--boxes")):
        refuse_existing(path, force, option)
    loaded = LoadedRun(taken, trust)
    size = choose_tile(tile, loaded.config)
    try:
        pixels = open_rgb(photograph)
    except BadImage as error:
        raise UserError(f"{photograph}: {error}") from None
    heat = scanned(loaded.predictor(device, batch_size), pixels, size, overlap)
    regions = find_regions(heat, threshold)
    info = {"run": loaded.id, "tile": str(size), "overlap": overlap, "threshold": threshold}
    caption = f"{loaded.id}   {len(regions)} regions above {threshold:g}   tiles of {size}"
    with atomic_write(overlay) as temporary:
        draw_overlay(pixels, heat, regions, caption).save(temporary, "PNG")
    write_json(boxes, to_coco(regions, str(photograph), *pixels.size, info))
    print(f"tiles of {size} pixels ({size.reason}), seen at {loaded.config.data.image_size} pixels a side")
    print(f"{heat.tiles} tiles in {heat.seconds:.1f} s ({heat.tiles / heat.seconds:.0f} tiles/s)")
    print(f"{len(regions)} regions above {threshold:g}: {sanitize(overlay)}, {sanitize(boxes)}")


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
    trust: Trust = False,
) -> None:
    """Takes a run's feature extractor out of the store, as the backbone of a detector."""
    taken = chosen(run, store)
    from crackdet.backbone.export import export as exported

    description = exported(taken, to, onnx, torch_export, licence, trust)
    stages = ", ".join(f"{stage.channels} channels at stride {stage.stride}" for stage in description.stages)
    print(f"{description.run} in {to}: {stages}")
    for copy in description.copies:
        print(f"{copy.file}: differs from the network by {copy.max_difference:.2g} at most")
