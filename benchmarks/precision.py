"""Whether bf16 changes a decision: the same networks and seeds in fp32 and in bf16.

    python -m benchmarks.precision --photographs FOLDER [--groups COLUMN]

Prints, for each network, the accuracy over the seeds in both formats, and the mean paired differences of accuracy and
of validation loss, with 95 % intervals (Student's t).
"""

import json
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Annotated

import typer
from scipy.stats import ttest_rel

from benchmarks.images import make_images
from benchmarks.measurement import ROOT, run_python

NETWORKS = {
    "custom": ("model=custom",),
    "resnet18": ("model=torchvision", "model.name=resnet18", "model.weights=null"),
}


def main(
    photographs: Annotated[
        Path | None, typer.Option(help="A folder with Positive and Negative; default: synthetic images.")
    ] = None,
    groups: Annotated[
        str | None, typer.Option(help="The column of FOLDER/manifest.csv that names an image's group.")
    ] = None,
    images: Annotated[int, typer.Option()] = 1000,
    size: Annotated[int, typer.Option()] = 64,
    epochs: Annotated[int, typer.Option()] = 8,
    seeds: Annotated[int, typer.Option(min=2)] = 5,
    networks: Annotated[
        list[str] | None, typer.Option("--network", help=f"One of {', '.join(NETWORKS)}; repeatable; default: all.")
    ] = None,
) -> None:
    """Train 2 x seeds runs of each network and compare them."""
    if unknown := sorted(set(networks or ()) - set(NETWORKS)):
        raise typer.BadParameter(f"{', '.join(unknown)}: must be one of {', '.join(NETWORKS)}", param_hint="--network")
    print(f"{images} images at {size}x{size}, {epochs} epochs, {seeds} seeds\n")
    print("| network | fp32 | bf16 | bf16 - fp32, 95 % interval | the same of the loss | seconds fp32 | seconds bf16 |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in networks or NETWORKS:
        with tempfile.TemporaryDirectory() as folder:
            root = photographs.absolute() if photographs else make_images(None, images, Path(folder) / "synthetic")
            data = ["data=folder", f"data.root={root}", f"data.max_images={images}", f"data.image_size={size}"]
            if groups is not None:
                data.append(f"data.groups={groups}")
            grid = ["trainer.precision=fp32,bf16", f"seed=range(0,{seeds})", f"trainer.max_epochs={epochs}"]
            run_python(str(ROOT / "train.py"), "-m", *NETWORKS[name], *data, *grid, folder=Path(folder))
            print(_row(name, Path(folder) / "outputs" / "runs"), flush=True)


def _row(network: str, store: Path) -> str:
    results = [json.loads(file.read_text()) for file in store.glob("*/result.json")]
    results.sort(key=lambda result: result["settings"]["seed"])
    values: dict[str, dict[str, list[float]]] = {key: defaultdict(list) for key in ("accuracy", "loss", "seconds")}
    for result in results:
        for key, by_format in values.items():
            by_format[result["number_format"]].append(result[key])
    accuracy = {name: f"{mean(x):.4f} ({min(x):.4f} to {max(x):.4f})" for name, x in values["accuracy"].items()}
    times = {name: f"{mean(x):.1f}" for name, x in values["seconds"].items()}
    return (
        f"| {network} | {accuracy['fp32']} | {accuracy['bf16']} | {_difference(values['accuracy'])} "
        f"| {_difference(values['loss'])} | {times['fp32']} | {times['bf16']} |"
    )


def _difference(values: Mapping[str, Sequence[float]]) -> str:
    low, high = ttest_rel(values["bf16"], values["fp32"]).confidence_interval(0.95)
    return f"{mean(values['bf16']) - mean(values['fp32']):+.4f} ({low:+.4f} to {high:+.4f})"


if __name__ == "__main__":
    typer.run(main)
