"""Photographs to measure with: the user's own folder, or drawn ones as JPEG files of METU's size."""

from pathlib import Path

from PIL import Image

from crackdet.data import synthetic

SIZE = 227  # pixels a side, as in METU


def photographs(folder: Path | None, number: int, into: Path) -> Path:
    """A folder with `Positive` and `Negative`, of `number` images in all: links to the user's, or drawn."""
    for crack, name in ((True, "Positive"), (False, "Negative")):
        (into / name).mkdir(parents=True, exist_ok=True)
        if folder is not None:
            files = sorted(path for path in (folder / name).iterdir() if path.suffix.lower() == ".jpg")
            for path in files[:: max(1, len(files) // (number // 2))][: number // 2]:
                (into / name / path.name).symlink_to(path.absolute())
        else:
            _draw(into / name, crack, number // 2)
    return into


def _draw(folder: Path, crack: bool, number: int) -> None:
    options = {"seed": 0, "crack_fraction": 0.5}
    found = (index for index in range(8 * number) if synthetic.label(index, **options) is crack)  # type: ignore[arg-type]
    for index, _ in zip(found, range(number), strict=False):
        drawing = synthetic.draw(index, image_size=SIZE, hard_negatives=0.5, difficulty=0.4, **options)  # type: ignore[arg-type]
        Image.fromarray(drawing.image).save(folder / f"{index:05d}.jpg", quality=90)
