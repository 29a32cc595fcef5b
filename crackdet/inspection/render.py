"""A run looked into: pictures and a page of its feature maps and of where it looks."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from crackdet.config.schema import flatten
from crackdet.core.errors import UserError
from crackdet.core.files import atomic_write
from crackdet.inspection.drawing import TILE, grid, outlined, overlay, photograph, pointed
from crackdet.inspection.layers import Layer, capture, layers_of
from crackdet.inspection.loaded_network import LoadedNetwork, Picture
from crackdet.inspection.maps import Basis, MapStatistics, measure_maps
from crackdet.inspection.page import PictureReport, Report, StageReport, Tile, write_page
from crackdet.inspection.pointing import tolerance, widened
from crackdet.inspection.saliency import METHODS, TITLES, strongest_point
from crackdet.store.pointing import read_pointing
from crackdet.training.device import deterministic

COLUMNS = 6
ALONE = 320  # pixels a side of a map that is asked for alone

BASES = {
    Basis.PIXELS: "Maps are ordered by how well they tell pixels of cracks from pixels beside them, on validation "
    "images. A number is the area under the ROC curve: 0.5 is a guess, 1 tells all of them apart. A crack makes a map "
    "stronger (up) or weaker (down).",
    Basis.IMAGES: "Maps are ordered by how well their strongest answer (up) or their weakest (down) in an image tells "
    "validation images with a crack from those without. A number is the area under the ROC curve: 0.5 is a guess, 1 "
    "tells all of them apart.",
    Basis.SPREAD: "Maps are ordered by how much they vary (a number is a standard deviation), since nothing is known "
    "of where cracks are.",
}


@dataclass(frozen=True)
class MapName:
    """`conv1:7`: map number 7, from 0 on, of the stage conv1."""

    stage: str
    number: int

    @classmethod
    def parse(cls, text: str, layers: Sequence[Layer]) -> "MapName":
        """
        Raises:
            UserError: where there is no such map.
        """
        stage, _, number = text.rpartition(":")
        layer = next((layer for layer in layers if layer.name == stage), None)
        if layer is None:
            names = ", ".join(layer.name for layer in layers)
            raise UserError(f"--map {text}: must be STAGE:NUMBER, where the stages are {names}")
        if not number.isdecimal() or int(number) >= layer.channels:
            raise UserError(f"--map {text}: {stage} has the maps 0 to {layer.channels - 1}")
        return cls(stage, int(number))


@deterministic()
def draw_map(
    subject: LoadedNetwork, name: str, pictures: Sequence[Picture], measured_on: Sequence[Picture], output: Path
) -> tuple[Path, str]:
    """One map over each picture, beside the photograph: a PNG file, and what is known of the map.

    Raises:
        UserError: where there is no such map.
    """
    layers = layers_of(subject.model)
    wanted = MapName.parse(name, layers)
    layer = next(layer for layer in layers if layer.name == wanted.stage)
    (statistics,) = measure_maps(subject, [layer], measured_on)
    what = f"{name}: {_score(statistics, wanted.number)}"
    tiles = []
    for picture in pictures:
        maps = capture(subject.model, [layer], subject.tensor([picture]))[layer.name]
        values = maps[0, wanted.number].float().cpu().numpy()
        intensity = statistics.intensity(values, wanted.number)
        tiles.append((Path(picture.name).name, _with_mask(photograph(picture.pixels, ALONE), picture)))
        tiles.append((f"{values.shape[0]}x{values.shape[1]} cells", overlay(picture.pixels, intensity, ALONE)))
    path = output / f"{wanted.stage}-{wanted.number}.png"
    _save(grid(tiles, 2, f"{subject.run.id}, {what}"), path)
    return path, what


@deterministic()
def render(
    subject: LoadedNetwork,
    pictures: Sequence[Picture],
    measured_on: Sequence[Picture],
    output: Path,
    top: int,
    command: Sequence[str],
) -> list[MapStatistics]:
    """Writes the page `index.html` and a PNG file for each picture and stage, the `top` maps of each; gives what
    was measured. `command` is what has been typed, less its pictures.
    """
    layers = layers_of(subject.model)
    statistics = measure_maps(subject, layers, measured_on)
    layers = [found.layer for found in statistics]
    notes = _notes(subject)
    reports = []
    sides: dict[str, str] = {}
    for number, (picture, chance) in enumerate(zip(pictures, subject.probabilities(pictures), strict=True), 1):
        stem = f"{number}-{Path(picture.name).stem}"
        saliency = _saliency(subject, picture, notes)
        _save(grid([(tile.caption, tile.image) for tile in saliency], 3, picture.name), output / f"{stem}-saliency.png")
        maps = capture(subject.model, layers, subject.tensor([picture]))
        shown = {}
        for found in statistics:
            values = maps[found.layer.name][0].float().cpu().numpy()
            sides[found.layer.name] = f"{values.shape[1]}x{values.shape[2]}"
            tiles = _tiles(found, picture, values, top, command)
            if not tiles:
                continue
            shown[found.layer.name] = tiles
            title = f"{picture.name}: {found.layer.name}, the best {len(tiles)} of {found.layer.channels} maps"
            sheet = grid([(tile.caption, tile.image) for tile in tiles], COLUMNS, title)
            _save(sheet, output / f"{stem}-{found.layer.name}.png")
        reports.append(PictureReport(picture.name, _verdict(picture, chance), saliency, shown))
    stages = [_stage(found, sides.get(found.layer.name, "")) for found in statistics]
    basis = BASES[statistics[0].basis]
    write_page(output / "index.html", Report(subject.run.id, _settings(subject), basis, notes, stages, reports))
    return statistics


def describe(statistics: MapStatistics) -> str:
    """One line for a terminal: `conv1: 16 maps, 2 dead, best 3 (0.93) 7 (0.91) ...`."""
    best = " ".join(f"{n} ({statistics.score[n]:.2f})" for n in statistics.strongest()[:5])
    return f"{statistics.layer.name}: {statistics.layer.channels} maps, {int(statistics.dead.sum())} dead, best {best}"


def _tiles(
    found: MapStatistics, picture: Picture, values: NDArray[np.float32], top: int, command: Sequence[str]
) -> list[Tile]:
    """The best maps over a picture, each with the command that draws it alone."""
    name = found.layer.name
    return [
        Tile(
            overlay(picture.pixels, found.intensity(values[n], n)),
            f"{n}: {_score(found, n)}",
            shlex.join([*command, "--map", f"{name}:{n}", picture.name]),
        )
        for n in found.strongest()[:top]
    ]


def _saliency(subject: LoadedNetwork, picture: Picture, notes: list[str]) -> list[Tile]:
    """The photograph, and over it where the evidence for a crack lies."""
    tiles = [Tile(_with_mask(photograph(picture.pixels, TILE), picture), "photograph")]
    size = picture.pixels.shape[0]
    for name, method in METHODS.items():
        try:
            saliency = method(subject.model, subject.tensor([picture]))[0].cpu()
        except UserError as error:
            if str(error) not in notes:
                notes.append(f"No {TITLES[name]}: {error}")
            continue
        point = strongest_point(saliency)
        intensity = (saliency / saliency.max().clamp(min=1e-12)).clamp(min=0).numpy()
        image = overlay(picture.pixels, intensity)
        if point is None:
            tiles.append(Tile(image, f"{TITLES[name]}: no evidence"))
            continue
        image = pointed(image, ((point[0] + 0.5) / size, (point[1] + 0.5) / size))
        tiles.append(Tile(image, f"{TITLES[name]}, up to {saliency.max():.2g}{_hit(picture, point)}"))
    return tiles


def _hit(picture: Picture, point: tuple[int, int]) -> str:
    size = picture.pixels.shape[0]
    reach = tolerance(size)
    if picture.mask is not None and picture.mask.any():
        return ": on the crack" if widened(picture.mask, reach)[point] else ": beside it"
    return ": at the edge" if min(*point, size - 1 - point[0], size - 1 - point[1]) < reach else ""


def _with_mask(image: Image.Image, picture: Picture) -> Image.Image:
    return image if picture.mask is None or not picture.mask.any() else outlined(image, picture.mask)


def _score(found: MapStatistics, number: int) -> str:
    if found.dead[number]:
        return "dead"
    direction = "" if found.basis is Basis.SPREAD else " up" if found.rises[number] else " down"
    return f"{found.score[number]:.2f}{direction}"


def _stage(found: MapStatistics, cells: str) -> StageReport:
    alive = found.score[~found.dead]
    best, median = (f"{value:.2f}" for value in (alive.max(), np.median(alive))) if len(alive) else ("", "")
    dead = [int(n) for n in np.flatnonzero(found.dead)]
    return StageReport(found.layer.name, found.layer.channels, cells, dead, best, median)


def _verdict(picture: Picture, chance: float) -> str:
    said = f"Probability of a crack: {chance:.3f}."
    if picture.crack is None:
        return said
    right = "right" if picture.crack is (chance > 0.5) else "wrong"
    return f"{'With' if picture.crack else 'Without'} a crack. {said} That is {right}."


def _settings(subject: LoadedNetwork) -> str:
    snapshot = subject.run.snapshot()
    result = snapshot.result or {}
    model = {k: v for k, v in flatten(snapshot.config.get("model", {})).items() if v}
    data = subject.config.data
    return (
        f"Validation accuracy {result['accuracy']:.4f} on {result.get('valid_images')} {data.name} images of "
        f"{data.image_size} pixels; " + ", ".join(f"{key}={value}" for key, value in model.items())
    )


def _notes(subject: LoadedNetwork) -> list[str]:
    """What the pointing game has said of the run."""
    numbers = read_pointing(subject.run)
    if "pointing" not in numbers:
        return []
    return [
        f"The pointing game: Grad-CAM's strongest point lies on the crack in {numbers['pointing']:.0%} of "
        f"{numbers['pointing_images']:.0f} images, "
        f"that of integrated gradients in {numbers['pointing_ig']:.0%}; a random point in "
        f"{numbers['pointing_chance']:.0%}. For its mean colour alone {numbers['blank']:.0%} are called a crack."
    ]


def _save(image: Image.Image, path: Path) -> None:
    with atomic_write(path) as temporary:
        image.save(temporary, "PNG", optimize=True)
