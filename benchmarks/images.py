"""Images to measure with: the user's photographs, or synthetic images as JPEG files of METU's size."""

from pathlib import Path

from PIL import Image

from crackdet.data import synthetic

SIZE = 227  # pixels per side, as in METU


def make_images(photographs: Path | None, number: int, folder: Path) -> Path:
    """Fill `folder` with `Positive` and `Negative`, together `number` images, and return it.

    Args:
        photographs: A folder with `Positive` and `Negative` to link to; None writes synthetic images.
        number: Images of both classes together.
        folder: The folder to fill.
    """
    for crack, name in ((True, "Positive"), (False, "Negative")):
        (folder / name).mkdir(parents=True, exist_ok=True)
        if photographs is not None:
            files = sorted(path for path in (photographs / name).iterdir() if path.suffix.lower() == ".jpg")
            for path in files[:: max(1, len(files) // (number // 2))][: number // 2]:
                (folder / name / path.name).symlink_to(path.absolute())
        else:
            _write_synthetic(folder / name, crack, number // 2)
    return folder


def _write_synthetic(folder: Path, crack: bool, number: int) -> None:
    indices = (index for index in range(8 * number) if synthetic.label(index, seed=0, crack_fraction=0.5) is crack)
    for index, _ in zip(indices, range(number), strict=False):
        sample = synthetic.render(
            index, seed=0, image_size=SIZE, crack_fraction=0.5, hard_negatives=0.5, difficulty=0.4
        )
        Image.fromarray(sample.image).save(folder / f"{index:05d}.jpg", quality=90)
