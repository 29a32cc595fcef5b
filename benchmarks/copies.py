"""How many planted near-duplicates `crackdet check-data` finds, and how many of its pairs are none.

    python -m benchmarks.copies PHOTOGRAPHS [--number 1000] [--planted 60] [--groups MANIFEST:COLUMN]

For some photographs, one copy of each kind is planted and saved as JPEG: mirrored, rotated, brightened, recompressed,
shifted, or cropped by up to 30 % of the side. A pair is false if it joins the copy of one photograph with another one
that is no copy of that photograph itself. `--groups` compares the pairs among the photographs themselves with groups
that are known, such as `metu/manifest.csv:block`.
"""

import argparse
import csv
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table

from crackdet.core.reading import file_digest
from crackdet.data.decode import open_rgb
from crackdet.doctor.copies import find_copies
from crackdet.doctor.photographs import Photograph
from crackdet.inference.files import find_images

NEAR = 10  # files

Pixels = NDArray[np.uint8]
Change = Callable[[Pixels, np.random.Generator], Pixels]


def shift(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Move a photograph by up to 13 % of its sides; its edge is reflected into the gap."""
    height, width = pixels.shape[:2]
    x, y = rng.uniform(-0.13, 0.13, 2) * (width, height)
    moved = cv2.warpAffine(
        pixels,
        np.array([[1, 0, round(x)], [0, 1, round(y)]], np.float32),
        (width, height),
        borderMode=cv2.BORDER_REFLECT,
    )
    return np.asarray(moved, np.uint8)


def crop(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Cut off up to 30 % of the sides, and resize to the size before."""
    height, width = pixels.shape[:2]
    share = rng.uniform(0.7, 0.95)
    left, top = rng.uniform(0, 1 - share, 2) * (width, height)
    part = pixels[int(top) : int(top + share * height), int(left) : int(left + share * width)]
    return np.asarray(cv2.resize(part, (width, height)), np.uint8)


def brighten(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    return (pixels * rng.uniform(0.7, 1.3) + rng.uniform(-15, 15)).clip(0, 255).astype(np.uint8)


CHANGES: dict[str, tuple[Change, int]] = {  # the change, and the quality of the JPEG
    "mirrored": (lambda pixels, rng: pixels[:, ::-1], 90),
    "upside down": (lambda pixels, rng: pixels[::-1], 90),
    "rotated by 90 degrees": (lambda pixels, rng: np.rot90(pixels), 90),
    "brightened or darkened": (brighten, 90),
    "recompressed": (lambda pixels, rng: pixels, 40),
    "shifted": (shift, 90),
    "cropped": (crop, 90),
}


def photograph(file: Path) -> Photograph:
    return Photograph(str(file), file_digest(file), "train", None, None, file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--number", type=int, default=1000, help="photographs to search")
    parser.add_argument("--planted", type=int, default=60, help="copies of each kind")
    parser.add_argument("--groups", metavar="MANIFEST:COLUMN", help="known groups of the photographs")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    files = [file for file in find_images([str(options.photographs)]) if "mask" not in str(file)]
    files = [files[index] for index in sorted(rng.permutation(len(files))[: options.number])]
    originals = [photograph(file) for file in files]
    sources: dict[str, int] = {one.name: index for index, one in enumerate(originals)}
    kinds: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        copies: list[Photograph] = []
        for kind, (change, quality) in CHANGES.items():
            for index in np.resize(rng.permutation(len(files)), options.planted).tolist():
                pixels = np.ascontiguousarray(change(np.asarray(open_rgb(files[index])), rng))
                file = Path(folder) / f"{len(copies)}.jpg"
                Image.fromarray(pixels).save(file, quality=quality)
                copies.append(photograph(file))
                sources[str(file)], kinds[str(file)] = index, kind
        everything = originals + copies
        start = time.monotonic()
        pairs = {(everything[pair.first].name, everything[pair.second].name) for pair in find_copies(everything)}
        seconds = time.monotonic() - start
    own = {frozenset((sources[a], sources[b])) for a, b in pairs if not {a, b} & kinds.keys()}
    planted = [(a, b) for a, b in pairs if {a, b} & kinds.keys()]
    false = [(a, b) for a, b in planted if (s := frozenset((sources[a], sources[b]))) not in own and len(s) == 2]
    table = Table("planted", "copies", "found", "share")
    total = 0
    for kind in CHANGES:
        names = [name for name in kinds if kinds[name] == kind]
        found = sum((originals[sources[name]].name, name) in pairs for name in names)
        total += found
        table.add_row(kind, str(len(names)), str(found), f"{found / len(names):.3f}")
    table.add_row("all", str(len(kinds)), str(total), f"{total / len(kinds):.3f}")
    Console().print(table)
    print(
        f"{len(false)} of {len(planted)} pairs with a planted copy are false ({len(false) / max(1, len(planted)):.2%})"
    )
    print(f"{len(own)} pairs among the {len(originals)} photographs themselves")
    if options.groups is not None:
        compare_groups(files, own, *options.groups.rsplit(":", 1))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{seconds:.1f} s for {len(everything)} photographs: {1000 * seconds / len(everything):.1f} ms each, "
        f"{memory:.1f} GiB at most"
    )


def compare_groups(files: Sequence[Path], own: Collection[frozenset[int]], manifest: str, column: str) -> None:
    """Print how many pairs are inside a known group, and how far apart their files are in the order of names."""
    folder = Path(manifest).parent
    with Path(manifest).open(newline="") as opened:
        known = {str(folder / row["path"]): (Path(row["path"]).parent, row[column]) for row in csv.DictReader(opened)}
    print(f"pairs among the photographs, compared with {column}:")
    for name in sorted({group[0] for group in known.values()}):
        members = [index for index, file in enumerate(files) if known[str(file)][0] == name]
        position = {index: place for place, index in enumerate(members)}
        pairs = [tuple(pair) for pair in own if pair <= position.keys()]
        if not pairs:
            continue
        inside = sum(known[str(files[first])] == known[str(files[second])] for first, second in pairs)
        near = sum(abs(position[first] - position[second]) <= NEAR for first, second in pairs)
        sizes = Counter(known[str(files[index])] for index in members)
        chance = sum(size * (size - 1) for size in sizes.values()) / (len(members) * (len(members) - 1))
        print(
            f"  {name}: {len(pairs)} pairs, {inside} inside a {column} ({inside / len(pairs):.0%}, by chance "
            f"{chance:.0%}), {near} at most {NEAR} files apart; {len(set().union(*pairs))} of "
            f"{len(members)} photographs"
        )


if __name__ == "__main__":
    main()
