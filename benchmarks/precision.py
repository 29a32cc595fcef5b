"""Whether bf16 changes a decision: the same networks and seeds in fp32 and in bf16, on photographs.

    python -m benchmarks.precision --photographs FOLDER [--groups COLUMN]

Prints, for each network, the accuracies of both formats over the seeds, and the means of the differences by seed, of
accuracy and of the finer validation loss, with their 95 % intervals (Student's t on paired differences).
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

from benchmarks.figures import ROOT, python
from benchmarks.photographs import photographs

NETWORKS = {
    "custom": ("model=custom",),
    "resnet18": ("model=torchvision", "model.name=resnet18", "model.weights=null"),
}


def main(
    source: Annotated[Path | None, typer.Option("--photographs", help="Holds Positive and Negative.")] = None,
    groups: Annotated[
        str | None, typer.Option(help="A column of FOLDER/manifest.csv that keeps groups together.")
    ] = None,
    images: Annotated[int, typer.Option()] = 1000,
    size: Annotated[int, typer.Option()] = 64,
    epochs: Annotated[int, typer.Option()] = 8,
    seeds: Annotated[int, typer.Option(min=2)] = 5,
    networks: Annotated[
        list[str] | None, typer.Option("--network", help=f"One of {', '.join(NETWORKS)}; repeatable; without: all.")
    ] = None,
) -> None:
    """Trains 2 x seeds runs of each network and compares them."""
    if unknown := sorted(set(networks or ()) - set(NETWORKS)):
        raise typer.BadParameter(f"{', '.join(unknown)}: must be among {', '.join(NETWORKS)}", param_hint="--network")
    print(f"{images} images at {size}x{size}, {epochs} epochs, {seeds} seeds\n")
    print("| network | fp32 | bf16 | bf16 - fp32, 95 % interval | of the loss | seconds fp32 | seconds bf16 |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in networks or NETWORKS:
        with tempfile.TemporaryDirectory() as folder:
            root = source.absolute() if source else photographs(None, images, Path(folder) / "drawn")
            data = ["data=folder", f"data.root={root}", f"data.max_images={images}", f"data.image_size={size}"]
            if groups is not None:
                data.append(f"data.groups={groups}")
            grid = ["trainer.precision=fp32,bf16", f"seed=range(0,{seeds})", f"trainer.max_epochs={epochs}"]
            python(str(ROOT / "train.py"), "-m", *NETWORKS[name], *data, *grid, folder=Path(folder))
            print(_row(name, Path(folder) / "outputs" / "runs"), flush=True)


def _row(name: str, store: Path) -> str:
    results = [json.loads(file.read_text()) for file in store.glob("*/result.json")]
    results.sort(key=lambda result: result["settings"]["seed"])
    values: dict[str, dict[str, list[float]]] = {key: defaultdict(list) for key in ("accuracy", "loss", "seconds")}
    for result in results:
        for key, by_format in values.items():
            by_format[result["number_format"]].append(result[key])
    shown = {kind: f"{mean(own):.4f} ({min(own):.4f} to {max(own):.4f})" for kind, own in values["accuracy"].items()}
    times = {kind: f"{mean(own):.1f}" for kind, own in values["seconds"].items()}
    return (
        f"| {name} | {shown['fp32']} | {shown['bf16']} | {_difference(values['accuracy'])} "
        f"| {_difference(values['loss'])} | {times['fp32']} | {times['bf16']} |"
    )


def _difference(values: Mapping[str, Sequence[float]]) -> str:
    low, high = ttest_rel(values["bf16"], values["fp32"]).confidence_interval(0.95)
    return f"{mean(values['bf16']) - mean(values['fp32']):+.4f} ({low:+.4f} to {high:+.4f})"


if __name__ == "__main__":
    typer.run(main)
