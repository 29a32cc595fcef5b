"""Commands that apply a finished run: evaluate, predict, scan and export."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich import reconfigure

from crackdet.cli.common import (
    SPLITS,
    AsJson,
    Device,
    Force,
    RunName,
    Store,
    Trust,
    check_choice,
    check_split,
    command,
    find_network,
    print_json,
)
from crackdet.cli.completion import complete_run, one_of
from crackdet.core.console import sanitize
from crackdet.core.errors import UserError
from crackdet.core.licenses import parse_licenses
from crackdet.core.output_paths import check_new_folder, check_output_path

Threshold = Annotated[float, typer.Option(min=0, max=1, help="Probability above which an image counts as a crack.")]
BatchSize = Annotated[int | None, typer.Option(min=1, help="Images per batch; as in training if not given.")]


@command
def evaluate(
    runs_and_data: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN... [data=SOURCE data.KEY=VALUE...]",
            help="Runs, and images to evaluate on.",
            autocompletion=complete_run,
        ),
    ],
    on: Annotated[
        list[str] | None, typer.Option(help="Images: 'data=folder data.root=...', 'NAME: data=...' or own; repeatable.")
    ] = None,
    split: Annotated[
        str, typer.Option(help="train, valid, test or all.", autocompletion=one_of(*SPLITS, "all"))
    ] = "valid",
    metric: Annotated[str, typer.Option(help="The metric shown for several runs and sets.")] = "accuracy",
    output: Annotated[Path | None, typer.Option(help="Write all metrics to this .csv or .jsonl file.")] = None,
    device: Device = "auto",
    force: Force = False,
    as_json: AsJson = False,
    store: Store = None,
    trust: Trust = False,
) -> None:
    """Evaluate runs on their own data or on other data."""
    from crackdet.analysis.tables import console
    from crackdet.inference.checks import check_data, check_device
    from crackdet.inference.eval_data import ALL, METRICS, parse_eval_set
    from crackdet.inference.files import choose_row_format, row_writer
    from crackdet.inference.loaded_run import LoadedRun

    names = [text for text in runs_and_data if "=" not in text or text.startswith("best:")]
    overrides = [text for text in runs_and_data if text not in names]
    if not names:
        raise UserError("evaluate: give a run: an id, best, best:FOLDER or last")
    check_split(split, ALL)
    check_choice("--metric", metric, METRICS)
    check_device(device)
    if on and overrides:
        raise UserError(f"{overrides[0]}: choose images either by overrides or by --on, not by both")
    row_format = choose_row_format(output, None)
    if output is not None:
        check_output_path(output, force)
    eval_sets = [parse_eval_set(text) for text in on or [shlex.join(overrides) or "own"]]
    set_names = [eval_set.name for eval_set in eval_sets]
    if duplicate := next((name for name in set_names if set_names.count(name) > 1), None):
        raise UserError(f"--on {duplicate}: two sets of images have this name; name them, as in --on 'mine: data=...'")
    runs = list({run.directory: run for run in (find_network(name, store, trust) for name in names)}.values())
    for run in runs:
        for eval_set in eval_sets:
            check_data(run, eval_set.overrides)
    from crackdet.inference import evaluation

    evaluations = []
    loaded_runs = [LoadedRun(run, trust) for run in runs]
    while loaded_runs:
        loaded = loaded_runs.pop(0)  # its weights are freed afterwards
        evaluations += [evaluation.evaluate(loaded, eval_set, split, device) for eval_set in eval_sets]
    for result in evaluations:
        if result.trained_with and split != "train":
            print(
                f"note: {result.run} was trained with {result.trained_with} of the {result.images} images "
                f"of {sanitize(result.tested_on)}",
                file=sys.stderr,
            )
    if as_json:
        print_json({"evaluations": [result.row() for result in evaluations]})
    elif len(evaluations) == 1:
        print(evaluations[0])
    else:
        console().print(evaluation.evaluation_table(evaluations, metric))
    if output is not None:
        with row_writer(output, row_format, list(evaluations[0].row())) as write_row:
            for result in evaluations:
                write_row(result.row())


@command
def predict(
    run: RunName,
    paths: Annotated[list[str], typer.Argument(help="Images: files, folders or glob patterns.")],
    output: Annotated[Path | None, typer.Option(help="Write to this .csv or .jsonl file.")] = None,
    requested: Annotated[str | None, typer.Option("--format", help="csv or jsonl; default: as --output ends.")] = None,
    threshold: Threshold = 0.5,
    batch_size: BatchSize = None,
    device: Device = "auto",
    force: Force = False,
    store: Store = None,
    trust: Trust = False,
) -> None:
    """Predict the probability of a crack in each image, as CSV or JSON lines."""
    from crackdet.inference.checks import check_device
    from crackdet.inference.files import choose_row_format, find_images
    from crackdet.inference.loaded_run import LoadedRun

    reconfigure(stderr=True)  # bars, because standard output carries the predictions
    check_device(device)
    row_format = choose_row_format(output, requested)
    if output is not None:
        check_output_path(output, force)
    files = find_images(paths)
    found_run = find_network(run, store, trust)
    from crackdet.inference.predictor import predict_files

    predictor = LoadedRun(found_run, trust).predictor(device, batch_size)
    report = predict_files(predictor, files, output, row_format, threshold)
    print(report, file=sys.stderr)
    if report.unreadable:
        raise typer.Exit(1)


@command
def scan(
    run: RunName,
    photograph: Annotated[Path, typer.Argument(help="A photograph larger than the training images.")],
    overlay: Annotated[Path | None, typer.Option(help="PNG file to draw; default NAME-scan.png.")] = None,
    boxes: Annotated[Path | None, typer.Option(help="COCO file to write; default NAME-scan.json.")] = None,
    tile: Annotated[str | None, typer.Option(help="Tile size in pixels, such as 448 or 640x480.")] = None,
    overlap: Annotated[float, typer.Option(min=0, max=0.95, help="Share of a side that adjacent tiles share.")] = 0.5,
    threshold: Threshold = 0.5,
    batch_size: BatchSize = None,
    device: Device = "auto",
    force: Force = False,
    store: Store = None,
    trust: Trust = False,
) -> None:
    """Find cracks in a large photograph, tile by tile: an overlay of probabilities, and boxes as COCO annotations."""
    from crackdet.core.files import atomic_write, write_json
    from crackdet.data.decode import BadImage, open_rgb
    from crackdet.inference.checks import check_device, check_tile
    from crackdet.inference.loaded_run import LoadedRun

    overlay = overlay or Path(f"{photograph.stem}-scan.png")
    boxes = boxes or Path(f"{photograph.stem}-scan.json")
    if overlay.resolve() == boxes.resolve():
        raise UserError(f"--boxes {boxes}: is also the file of --overlay; give different files")
    for path, option in ((overlay, "--overlay"), (boxes, "--boxes")):
        check_output_path(path, force, option)
    check_device(device)
    if tile is not None:
        check_tile(tile)
    if not photograph.is_file():
        raise UserError(f"{photograph}: no such file")
    loaded = LoadedRun(find_network(run, store, trust), trust)
    try:
        pixels = open_rgb(photograph, loaded.white_level)
    except BadImage as error:
        raise UserError(f"{photograph}: {error}") from None
    from crackdet.inference import scanning
    from crackdet.inference.annotations import find_annotation
    from crackdet.inference.overlay import draw_overlay
    from crackdet.inference.regions import find_regions, to_coco

    tile_size = scanning.choose_tile(tile, loaded.config)
    heatmap = scanning.scan(loaded.predictor(device, batch_size), pixels, tile_size, overlap)
    regions = find_regions(heatmap, threshold)
    info = {"run": loaded.id, "tile": str(tile_size), "overlap": overlap, "threshold": threshold}
    annotation = find_annotation(photograph, loaded.config)
    caption = f"{loaded.id}   {len(regions)} regions above {threshold:g}   tiles of {tile_size}"
    with atomic_write(overlay) as temporary:
        draw_overlay(pixels, heatmap, regions, caption, annotation).save(temporary, "PNG")
    write_json(boxes, to_coco(regions, str(photograph), *pixels.size, info))
    size = loaded.config.data.image_size
    print(f"tiles of {tile_size} pixels ({tile_size.reason}), resized to {size} x {size}")
    print(f"{heatmap.tiles} tiles in {heatmap.seconds:.1f} s ({heatmap.tiles / heatmap.seconds:.0f} tiles/s)")
    print(f"{len(regions)} regions above {threshold:g}: {sanitize(overlay)}, {sanitize(boxes)}")


@command
def mine(
    run: RunName,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Settings of the run's data that have changed: data.root=FOLDER.")
    ] = None,
    device: Device = "auto",
    as_json: AsJson = False,
    store: Store = None,
    trust: Trust = False,
) -> None:
    """Score the tiles without a crack by a run, so that data.hard_negatives=RUN can train on its false alarms."""
    from crackdet.inference.checks import check_data, check_device
    from crackdet.inference.loaded_run import LoadedRun

    check_device(device)
    found_run = find_network(run, store, trust)
    check_data(found_run, overrides or [])
    from crackdet.inference.mining import mine as mine_negatives
    from crackdet.metrics.numpy_metrics import probabilities

    mined = mine_negatives(LoadedRun(found_run, trust), overrides or [], device)
    if as_json:
        print_json({"run": found_run.id, "tiles": len(mined.records), "false_alarms": mined.num_false_alarms})
        return
    print(f"{len(mined.records)} training tiles without a crack, of which {mined.num_false_alarms} are called cracks:")
    for record, probability in zip(mined.records[:5], probabilities(mined.logits[:5]), strict=True):
        print(f"  {probability:.3f}  {sanitize(record.name)}")
    print(f"train on them with data.hard_negatives={found_run.id}")


@command
def export(
    run: RunName,
    to: Annotated[Path, typer.Option(help="A new folder for the backbone.")],
    onnx: Annotated[bool, typer.Option("--onnx", help="Also write and check backbone.onnx.")] = False,
    torch_export: Annotated[bool, typer.Option("--torch-export", help="Also write backbone.pt2 and check it.")] = False,
    license: Annotated[str | None, typer.Option(help="License of the initial weights, if they were a file.")] = None,
    best_license: Annotated[
        str | None, typer.Option(help="With best: of the runs with one of these licenses, e.g. MIT,Apache-2.0.")
    ] = None,
    store: Store = None,
    trust: Trust = False,
) -> None:
    """Export a run's feature extractor as the backbone of a detector."""
    from crackdet.backbone.options import check_onnx

    check_new_folder(to)
    if onnx:
        check_onnx()
    if best_license is not None and run.strip().partition(":")[0] != "best":
        raise UserError(f"--best-license: chooses the run that best stands for; {run} names one already")
    found_run = find_network(run, store, trust, parse_licenses(best_license, "--best-license"))
    from crackdet.backbone.export import export as export_run

    description = export_run(found_run, to, onnx, torch_export, license, trust)
    stages = ", ".join(f"{stage.channels} channels at stride {stage.stride}" for stage in description.stages)
    print(f"{description.run} in {to}: {stages}")
    for exported in description.exports:
        print(f"{exported.file}: differs from the network by at most {exported.max_difference:.2g}")
