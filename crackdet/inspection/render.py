"""Render feature maps and saliency of a run as PNG files and an HTML page."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from crackdet.config.schema import flatten
from crackdet.core.errors import UserError
from crackdet.core.files import atomic_write, write_text
from crackdet.core.templates import page_environment
from crackdet.inspection.drawing import Tile, draw_mask_outline, draw_ring, overlay, tile_sheet, upscale
from crackdet.inspection.layers import Layer, capture, find_layers
from crackdet.inspection.loaded_network import LoadedNetwork, Sample
from crackdet.inspection.maps import Basis, MapStatistics, measure_maps
from crackdet.inspection.pointing import dilate, tolerance_pixels
from crackdet.inspection.saliency import METHODS, TITLES, strongest_point
from crackdet.store.pointing import read_pointing
from crackdet.training.device import deterministic

COLUMNS = 6
LARGE_TILE = 320  # pixels a side of a map that is drawn alone

BASIS_TEXTS = {
    Basis.PIXELS: "Maps are ordered by how well they separate crack pixels from other pixels of validation images. The "
    "score is the area under the ROC curve: 0.5 is chance, 1 is perfect. A crack raises (up) or lowers (down) the "
    "activation.",
    Basis.IMAGES: "Maps are ordered by how well the highest (up) or lowest (down) activation in an image separates "
    "validation images with a crack from those without. The score is the area under the ROC curve: 0.5 is chance, 1 is "
    "perfect.",
    Basis.SPREAD: "No labels are known, so maps are ordered by how much they vary; the score is a standard deviation.",
}


def parse_map_name(text: str, layers: Sequence[Layer]) -> tuple[Layer, int]:
    """Parse `STAGE:NUMBER`, with maps numbered from 0; raise UserError if there is no such map."""
    stage, _, number = text.rpartition(":")
    layer = next((layer for layer in layers if layer.name == stage), None)
    if layer is None:
        names = ", ".join(each.name for each in layers)
        raise UserError(f"--map {text}: must be STAGE:NUMBER, where the stages are {names}")
    if not number.isdecimal() or int(number) >= layer.channels:
        raise UserError(f"--map {text}: {stage} has the maps 0 to {layer.channels - 1}")
    return layer, int(number)


@deterministic()
def draw_map(
    network: LoadedNetwork, name: str, samples: Sequence[Sample], measured: Sequence[Sample], output: Path
) -> tuple[Path, str]:
    """Draw one map over each sample, beside the sample itself; return the PNG file and the map's score.

    Raises:
        UserError: If there is no such map.
    """
    layer, number = parse_map_name(name, find_layers(network.model))
    (statistics,) = measure_maps(network, [layer], measured)
    description = f"{name}: {_score(statistics, number)}"
    tiles = []
    for sample in samples:
        maps = capture(network.model, [layer], network.tensor([sample]))[layer.name]
        values = maps[0, number].float().cpu().numpy()
        intensity = statistics.intensity(values, number)
        image = draw_mask_outline(upscale(sample.pixels, LARGE_TILE), sample.crack_mask)
        tiles.append(Tile(image, Path(sample.name).name))
        cells = f"{values.shape[0]}x{values.shape[1]} cells"
        tiles.append(Tile(overlay(sample.pixels, intensity, LARGE_TILE), cells))
    path = output / f"{layer.name}-{number}.png"
    _save(tile_sheet(tiles, 2, f"{network.run.id}, {description}"), path)
    return path, description


@deterministic()
def render(
    network: LoadedNetwork,
    samples: Sequence[Sample],
    measured: Sequence[Sample],
    output: Path,
    top: int,
    command: Sequence[str],
) -> list[MapStatistics]:
    """Write `index.html`, and PNG files for each sample and stage; return the statistics of the maps.

    `measured` are the samples that maps are measured on, `top` limits the maps shown per stage, and `command` is the
    user's command line without its images.
    """
    statistics = measure_maps(network, find_layers(network.model), measured)
    layers = [each.layer for each in statistics]
    notes = _pointing_notes(network)
    images = []
    cells: dict[str, str] = {}
    for number, (sample, probability) in enumerate(zip(samples, network.probabilities(samples), strict=True), 1):
        stem = f"{number}-{Path(sample.name).stem}"
        saliency = _saliency_tiles(network, sample, notes)
        _save(tile_sheet(saliency, len(saliency), sample.name), output / f"{stem}-saliency.png")
        maps = capture(network.model, layers, network.tensor([sample]))
        tiles_by_stage = {}
        for each in statistics:
            layer = each.layer
            values = maps[layer.name][0].float().cpu().numpy()
            cells[layer.name] = f"{values.shape[1]}x{values.shape[2]}"
            tiles = [
                Tile(
                    overlay(sample.pixels, each.intensity(values[n], n)),
                    f"{n}: {_score(each, n)}",
                    shlex.join([*command, "--map", f"{layer.name}:{n}", sample.name]),
                )
                for n in each.ranked()[:top]
            ]
            if tiles:
                tiles_by_stage[layer.name] = tiles
                title = f"{sample.name}: {layer.name}, the best {len(tiles)} of {layer.channels} maps"
                _save(tile_sheet(tiles, COLUMNS, title), output / f"{stem}-{layer.name}.png")
        prediction = _prediction(sample, probability)
        images.append({"name": sample.name, "prediction": prediction, "saliency": saliency, "maps": tiles_by_stage})
    page = (
        page_environment("crackdet.inspection")
        .get_template("page.html")
        .render(
            run=network.run.id,
            settings=_settings(network),
            basis=BASIS_TEXTS[statistics[0].basis],
            notes=notes,
            stages=[_stage_row(each, cells.get(each.layer.name, "")) for each in statistics],
            images=images,
        )
    )
    write_text(output / "index.html", page)
    return statistics


def describe(statistics: MapStatistics) -> str:
    """Return one line for the terminal: `conv1: 16 maps, 2 dead, best 3 (0.93) 7 (0.91) ...`."""
    best = " ".join(f"{n} ({statistics.score[n]:.2f})" for n in statistics.ranked()[:5])
    return f"{statistics.layer.name}: {statistics.layer.channels} maps, {int(statistics.dead.sum())} dead, best {best}"


def _saliency_tiles(network: LoadedNetwork, sample: Sample, notes: list[str]) -> list[Tile]:
    """Return the sample and its saliency maps; a method that fails adds a note instead."""
    tiles = [Tile(draw_mask_outline(upscale(sample.pixels), sample.crack_mask), "image")]
    if sample.context is not None:
        tiles.append(
            Tile(ImageOps.pad(Image.fromarray(sample.context), tiles[0].image.size, color="white"), "photograph")
        )
    size = sample.pixels.shape[0]
    for name, method in METHODS.items():
        try:
            saliency = method(network.model, network.tensor([sample]))[0].cpu()
        except UserError as error:
            note = f"No {TITLES[name]}: {error}"
            if note not in notes:
                notes.append(note)
            continue
        point = strongest_point(saliency)
        intensity = (saliency / saliency.max().clamp(min=1e-12)).clamp(min=0).numpy()
        image = overlay(sample.pixels, intensity)
        if point is None:
            tiles.append(Tile(image, f"{TITLES[name]}: no evidence"))
            continue
        image = draw_ring(image, ((point[0] + 0.5) / size, (point[1] + 0.5) / size))
        tiles.append(Tile(image, f"{TITLES[name]}, up to {saliency.max():.2g}{_location(sample, point)}"))
    return tiles


def _location(sample: Sample, point: tuple[int, int]) -> str:
    """Return where the strongest point lies, as the end of a caption."""
    size = sample.pixels.shape[0]
    tolerance = tolerance_pixels(size)
    if sample.crack_mask is not None:
        return ": on the crack" if dilate(sample.crack_mask, tolerance)[point] else ": off the crack"
    return ": at the edge" if min(*point, size - 1 - point[0], size - 1 - point[1]) < tolerance else ""


def _score(statistics: MapStatistics, number: int) -> str:
    if statistics.dead[number]:
        return "dead"
    direction = "" if statistics.basis is Basis.SPREAD else " up" if statistics.increases[number] else " down"
    return f"{statistics.score[number]:.2f}{direction}"


def _stage_row(statistics: MapStatistics, cells: str) -> dict[str, Any]:
    alive = statistics.score[~statistics.dead]
    best, median = (f"{value:.2f}" for value in (alive.max(), np.median(alive))) if len(alive) else ("", "")
    dead = np.flatnonzero(statistics.dead).tolist()
    return {"layer": statistics.layer, "cells": cells, "dead": dead, "best": best, "median": median}


def _prediction(sample: Sample, probability: float) -> str:
    text = f"Probability of a crack: {probability:.3f}."
    if sample.crack is None:
        return text
    outcome = "correct" if sample.crack is (probability > 0.5) else "wrong"
    return f"Label: {'crack' if sample.crack else 'no crack'}. {text} The prediction is {outcome}."


def _settings(network: LoadedNetwork) -> str:
    snapshot, data = network.run.snapshot(), network.config.data
    result = snapshot.result or {}
    model = ", ".join(f"{key}={value}" for key, value in flatten(snapshot.config.get("model", {})).items() if value)
    return (
        f"Validation accuracy {result['accuracy']:.4f} on {result.get('valid_images')} images (data={data.name}) of "
        f"{data.image_size} pixels; {model}"
    )


def _pointing_notes(network: LoadedNetwork) -> list[str]:
    """Return the recorded result of the pointing game as a note."""
    scores = read_pointing(network.run)
    if not {"pointing", "pointing_images", "pointing_ig", "pointing_chance", "blank"} <= scores.keys():
        return []
    return [
        f"The pointing game: the strongest point of Grad-CAM lies on the crack in {scores['pointing']:.0%} of "
        f"{scores['pointing_images']:.0f} images, that of integrated gradients in {scores['pointing_ig']:.0%}, a "
        f"random point in {scores['pointing_chance']:.0%}. {scores['blank']:.0%} of the images are classified as "
        "cracks from their mean colour alone."
    ]


def _save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        image.save(temporary, "PNG", optimize=True)
