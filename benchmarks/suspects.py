"""How many planted faults of labels and of origin the doctor finds, and how often it accuses data without one.

    python -m benchmarks.suspects PHOTOGRAPHS [--groups COLUMN] [--weights MOBILENET_V2.pth] [--seeds 3] [--parts ...]

PHOTOGRAPHS holds `Positive` and `Negative`. The parts:

- flips: 1, 3 and 5 % of the labels are flipped. The share of them among the first twice as many suspects.
- confounds: the photographs with a crack come from another camera: another quality of the JPEG, EXIF camera, balance of
  colours, size, format, program or folder, each alone. What the doctor names first.
- honest: the photographs as they are; their labels permuted; and another camera for a random half of the photographs.
- time: seconds for everything, for the photographs as they are and repeated to 40,000.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from crackdet.config.composing import compose
from crackdet.data.dataset import ImageDataset, load_splits
from crackdet.doctor.columns import Column, Kind, appearance_columns, file_columns
from crackdet.doctor.confounds import Confound, Strength, find_confounds
from crackdet.doctor.descriptor import describe_batch
from crackdet.doctor.examination import examine
from crackdet.doctor.features import Descriptor, join_measured, measure, network_descriptor
from crackdet.doctor.headers import read_headers
from crackdet.doctor.labels import find_suspects
from crackdet.models import factory

SHARES = (0.01, 0.03, 0.05)  # of labels that are flipped
PERMUTATIONS = 20  # of the labels of honest data
MANY = 40_000
PARTS = ("flips", "confounds", "honest", "time")
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Camera:
    """What another camera does to its photographs."""

    column: str  # that the doctor should name
    quality: int = 75
    exif: Mapping[int, str] | None = None
    colour: tuple[float, float, float] = (1.0, 1.0, 1.0)
    scale: float = 1.0
    extension: str = ".jpg"
    folder: str = "north"


PLAIN = Camera("")
CAMERAS = {
    "JPEG of quality 80 instead of 75": Camera("JPEG quality", quality=80),
    "another camera in the EXIF data": Camera("camera", exif={ExifTags.Base.Model: "B"}),
    "another program in the EXIF data": Camera("software", exif={ExifTags.Base.Software: "B"}),
    "3 % more red, 3 % less blue": Camera("red / green", colour=(1.03, 1.0, 0.97)),
    "10 % larger": Camera("width", scale=1.1),
    "PNG instead of JPEG": Camera("format", extension=".png"),
    "another folder": Camera("folder", folder="south"),
}


@dataclass(frozen=True)
class Photographs:
    """The images of a folder in one order, with all that the doctor reads of them."""

    splits: Mapping[str, ImageDataset]
    names: list[str]
    cracks: NDArray[np.bool_]
    groups: list[str]
    data: Any


def load(root: Path, groups: str | None, folder: Path, image_size: int) -> Photographs:
    overrides = [
        "data=folder",
        f"data.root={root}",
        f"data.image_size={image_size}",
        f"runtime.cache={folder / 'cache'}",
    ]
    config = compose([*overrides, *([f"data.groups={groups}"] if groups else [])])
    splits = load_splits(config.data, config.runtime)
    records = [record for dataset in splits.values() for record in dataset.records]
    return Photographs(
        splits,
        [record.name for record in records],
        np.array([record.crack for record in records]),
        [record.group or record.digest for record in records],
        config.data,
    )


def columns_of(photographs: Photographs) -> list[Column]:
    records = [record for dataset in photographs.splits.values() for record in dataset.records]
    files = {
        record.name: dataset.pixels.source.file(record.name)
        for dataset in photographs.splits.values()
        for record in dataset.records
    }
    names = [*photographs.data.crack_names, *photographs.data.no_crack_names]
    measured = join_measured([measure(dataset, _no_features) for dataset in photographs.splits.values()])
    return file_columns(records, read_headers(files), names) + appearance_columns(measured.appearance)


def _no_features(images: Pixels) -> NDArray[np.float32]:
    return np.zeros((len(images), 1), np.float32)


def measure_flips(photographs: Photographs, name: str, descriptor: Descriptor, seeds: int) -> None:
    start = time.monotonic()
    features = join_measured([measure(dataset, descriptor) for dataset in photographs.splits.values()]).features
    seconds = time.monotonic() - start
    for share in SHARES:
        number = round(share * len(photographs.names))
        found, estimated = [], []
        for seed in range(seeds):
            flipped = np.random.default_rng(seed).choice(len(photographs.names), number, replace=False)
            labels = photographs.cracks.copy()
            labels[flipped] ^= True
            result = find_suspects(photographs.names, labels, features, photographs.groups)
            assert result is not None, "needs two groups of each class"
            first = {suspect.name for suspect in result.suspects[: 2 * number]}
            found.append(sum(photographs.names[index] in first for index in flipped) / number)
            estimated.append(result.estimated)
        print(
            f"| {name} | {share:.0%} | {number} | {np.mean(found):.1%} ({min(found):.1%} to {max(found):.1%}) "
            f"| {np.mean(estimated):.0f} | {1000 * seconds / len(photographs.names):.1f} ms |",
            flush=True,
        )


def take(source: Path, target: Path, other: Camera, is_other: NDArray[np.bool_]) -> None:
    """Write the photographs of a folder as if two cameras had taken them.

    Args:
        other: The camera that is not `PLAIN`.
        is_other: (2, N): the photographs of each class that it takes.
    """
    for crack, name in ((True, "Positive"), (False, "Negative")):
        for number, file in enumerate(sorted((source / name).iterdir())):
            camera = other if is_other[int(crack), number] else PLAIN
            with Image.open(file) as image:
                pixels = np.asarray(image.convert("RGB"), np.float32) * camera.colour
            picture = Image.fromarray(pixels.clip(0, 255).round().astype(np.uint8))
            if camera.scale != 1:
                picture = picture.resize([round(camera.scale * side) for side in picture.size])
            exif = Image.Exif()
            exif.update({ExifTags.Base.Model: "A", ExifTags.Base.Software: "A"} | dict(camera.exif or {}))
            path = target / name / camera.folder / f"{file.stem}{camera.extension}"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path, quality=camera.quality, exif=exif)


def row(planted: str, confounds: list[Confound], expected: str) -> str:
    cells = []
    for confound in confounds:
        separation = confound.separation
        assert separation is not None, "needs two groups of each class"
        best = ", ".join(f"{column.column} {column.auc:.2f}" for column in separation.columns[:2])
        cells.append(f"{confound.strength} {separation.auc:.2f} (p {separation.p_value:.3f}): {best}")
    origin = confounds[0].separation
    named = origin.columns[0].column if origin and origin.columns else ""
    is_right = confounds[0].strength is not Strength.NONE and named == expected if expected else ""
    return f"| {planted} | {' | '.join(cells)} | {({True: 'yes', False: 'NO'} | {'': ''})[is_right]} |"


def measure_confounds(source: Path, folder: Path) -> None:
    print("| planted | origin | content | named |\n| --- | --- | --- | --- |")
    for name, camera in CAMERAS.items():
        for share in (1.0, 0.7):
            is_other = np.random.default_rng(0).random((2, MANY)) < [[1 - share], [share]]
            with tempfile.TemporaryDirectory(dir=folder) as root:
                take(source, Path(root), camera, is_other)
                photographs = load(Path(root), None, Path(root), 128)
                found = find_confounds(columns_of(photographs), photographs.cracks, photographs.groups)
            print(row(f"{name}, {share:.0%} of a class", found, camera.column), flush=True)


def measure_honest(source: Path, groups: str | None, folder: Path) -> None:
    print("| data | origin | content | |\n| --- | --- | --- | --- |")
    photographs = load(source, groups, folder, 128)
    print(row("as they are", find_confounds(columns_of(photographs), photographs.cracks, photographs.groups), ""))
    exif: dict[int, str] = {ExifTags.Base.Model: "B", ExifTags.Base.Software: "B"}
    other = Camera("", 80, exif, (1.03, 1, 0.97), 1.1, ".png", "south")
    with tempfile.TemporaryDirectory(dir=folder) as root:
        take(source, Path(root), other, np.random.default_rng(0).random((2, MANY)) < 0.5)
        photographs = load(Path(root), None, Path(root), 128)
        columns = columns_of(photographs)
    found = find_confounds(columns, photographs.cracks, photographs.groups)
    print(row("two cameras, each for a random half", found, ""), flush=True)
    accused = dict.fromkeys(Kind, 0)
    for permuted in _permutations(photographs.cracks):
        for confound in find_confounds(columns, permuted, photographs.groups):
            accused[confound.kind] += confound.strength is not Strength.NONE
    print(f"\nOf {PERMUTATIONS} permutations of these labels, accused: {dict(accused)}\n")


def _permutations(labels: NDArray[np.bool_]) -> Iterator[NDArray[np.bool_]]:
    for seed in range(PERMUTATIONS):
        yield np.random.default_rng(seed).permutation(labels)


def measure_time(photographs: Photographs) -> None:
    for times in (1, -(-MANY // len(photographs.names))):
        splits = {
            name: ImageDataset(
                [
                    record._replace(name=f"{number}/{record.name}")
                    for number in range(times)
                    for record in dataset.records
                ],
                dataset.pixels,
            )
            for name, dataset in photographs.splits.items()
        }
        start = time.monotonic()
        examine(splits, photographs.data)
        number = sum(len(dataset) for dataset in splits.values())
        print(f"{time.monotonic() - start:.0f} s for {number:,} decoded images", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--groups", help="column of PHOTOGRAPHS/manifest.csv")
    parser.add_argument("--weights", help="a file of weights of torchvision's mobilenet_v2, for a mean and std of 0.5")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    source = options.photographs.absolute()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if {"flips", "time"} & set(options.parts):
            photographs = load(source, options.groups, folder, 224)
        if "flips" in options.parts:
            print("| features | flipped | images | among the first twice as many | estimated | per image |")
            print("| --- | --- | --- | --- | --- | --- |")
            measure_flips(photographs, "lines and texture", describe_batch, options.seeds)
            if options.weights:
                settings = ("model.input_mean=[0.5,0.5,0.5]", "model.input_std=[0.5,0.5,0.5]", "data.image_size=224")
                config = compose(["model=mobilenet_v2", f"model.weights={options.weights}", *settings])
                descriptor = network_descriptor(factory.build(config))
                measure_flips(photographs, "MobileNetV2", descriptor, options.seeds)
            print()
        if "confounds" in options.parts:
            measure_confounds(source, folder)
            print()
        if "honest" in options.parts:
            measure_honest(source, options.groups, folder)
        if "time" in options.parts:
            measure_time(photographs)


if __name__ == "__main__":
    main()
