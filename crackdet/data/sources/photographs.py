"""Which of the images below a root are photographs, which are masks of them, and which mask belongs to which."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from crackdet.data.sources.layout import MASK_NAMES
from crackdet.data.sources.names import split_of

IMAGE_WORDS = {
    "image", "images", "img", "imgs", "photo", "photos", "photograph", "photographs", "picture", "pictures",
    "jpegimages", "original", "originals", "rgb",
}  # fmt: skip
MASK_WORDS = MASK_NAMES | {
    "lab", "lbl", "seg", "ann", "anno", "segmentations", "groundtruths", "segmentationclass", "segmentationobject",
}  # fmt: skip
SUFFIX = re.compile(r"(?i)(.+?)[\s_.-]+(mask|masks|gt|ground[\s_-]?truth|label|lab|lbl|seg|segmentation|annotation)")
LOSSLESS = (".png", ".bmp", ".tif", ".tiff", ".gif")  # of masks beside photographs of the same name

Key = tuple[str, ...]  # what a photograph and its mask have in common: folders without their kind, and the stem


@dataclass
class PhotographSet:
    """Photographs and masks below a root, by their path relative to the root."""

    photographs: list[str] = field(default_factory=list)
    masks: dict[str, list[str]] = field(default_factory=dict)  # photograph -> its masks: one, if all is well
    unused_masks: list[str] = field(default_factory=list)


def pair_masks(names: Iterable[str], folder: str | None, suffix: str | None) -> PhotographSet:
    """Tell photographs from masks, and find the mask of each photograph.

    A file is a mask if it is in a folder of masks, if its name is that of a photograph with a suffix such as `_mask`,
    or if it has the name of a JPEG photograph beside it and a lossless format.

    Args:
        names: Paths of all images.
        folder: `data.masks`, relative to the root or a name of folders; None: any usual name.
        suffix: `data.mask_suffix`; None: any usual one.
    """
    in_folders: list[str] = []
    others: list[str] = []
    for name in names:
        (in_folders if _is_in_folder(name, folder) else others).append(name)
    beside = _masks_beside(others, suffix)
    masks: dict[Key, list[str]] = defaultdict(list)
    for name in in_folders:
        masks[_key(name, folder, suffix)].append(name)
    for name, photograph in beside.items():
        masks[_key(photograph)].append(name)
    result = PhotographSet([name for name in others if name not in beside])
    used: set[Key] = set()
    for name in result.photographs:
        if (key := _key(name)) in masks:
            result.masks[name] = masks[key]
            used.add(key)
    unused = [name for key, of_key in masks.items() if key not in used for name in of_key]
    result.masks |= _pair_by_stem([name for name in result.photographs if name not in result.masks], unused, suffix)
    paired = {mask for of_photograph in result.masks.values() for mask in of_photograph}
    result.unused_masks = [name for name in unused if name not in paired]
    return result


def _pair_by_stem(photographs: Sequence[str], masks: Sequence[str], suffix: str | None) -> dict[str, list[str]]:
    """Pair photographs and masks in folders of unknown names, if no other file has the same name."""
    stems = Counter(PurePosixPath(name).stem for name in photographs)
    by_stem: dict[str, list[str]] = defaultdict(list)
    for mask in masks:
        by_stem[_without_suffix(PurePosixPath(mask).stem, suffix)].append(mask)
    pairs = {name: by_stem.get(PurePosixPath(name).stem, []) for name in photographs}
    return {name: of_name for name, of_name in pairs.items() if len(of_name) == 1 == stems[PurePosixPath(name).stem]}


def leave_out_masks(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the photographs among images, and a warning about masks beside them, such as `7_mask.png` of `7.jpg`."""
    masks = _masks_by_suffix(names, None)
    example = next(iter(masks), "")
    warning = f"{len(masks)} images such as {example} are masks of photographs beside them, and are left out"
    return [name for name in names if name not in masks], [warning] if masks else []


def split_in_path(name: str) -> str | None:
    """Return the split that a folder of a path is named after, as in `train/images/7.jpg` or `train_img/7.jpg`."""
    for part in PurePosixPath(name).parts[:-1]:
        words = [word for word in _words(part) if word not in IMAGE_WORDS | MASK_WORDS]
        if len(words) == 1 and (split := split_of(re.sub(r"\d{4}$", "", words[0]))):  # train2017
            return split
    return None


def is_kind_or_split(folder: str) -> bool:
    """Return whether a folder is named after a split, or after images or masks."""
    return split_of(folder) is not None or all(word in IMAGE_WORDS | MASK_WORDS for word in _words(folder))


def _masks_by_suffix(names: Sequence[str], suffix: str | None) -> dict[str, str]:
    """Return the files whose name is that of a photograph beside them and a suffix, and the photograph of each."""
    photographs = {_stem(name): name for name in reversed(names)}
    found = {}
    for name in names:
        folder, slash, stem = _stem(name).rpartition("/")
        without = _without_suffix(stem, suffix)
        if without != stem and (photograph := photographs.get(f"{folder}{slash}{without}")):
            found[name] = photograph
    return found


def _masks_beside(names: Sequence[str], suffix: str | None) -> Mapping[str, str]:
    """Return the masks among files that are in no folder of masks, and the photograph of each."""
    by_stem: dict[str, list[str]] = defaultdict(list)
    for name in names:
        by_stem[_stem(name)].append(name)
    found = _masks_by_suffix(names, suffix)
    for name in names:
        if name not in found and suffix is None and name.lower().endswith(LOSSLESS) and len(by_stem[_stem(name)]) == 2:
            (other,) = (same for same in by_stem[_stem(name)] if same != name)
            if not other.lower().endswith(LOSSLESS):
                found[name] = other
    return found


def _is_in_folder(name: str, folder: str | None) -> bool:
    parts = PurePosixPath(name).parts[:-1]
    if folder is None:
        return any(word in MASK_WORDS for part in parts for word in _words(part))
    wanted = PurePosixPath(folder).parts
    return any(parts[start : start + len(wanted)] == wanted for start in range(len(parts)))


def _key(name: str, folder: str | None = None, suffix: str | None = None) -> Key:
    path = PurePosixPath(name)
    parts = list(path.parts[:-1])
    if folder is not None:
        wanted = PurePosixPath(folder).parts
        start = next((at for at in range(len(parts)) if tuple(parts[at : at + len(wanted)]) == wanted), None)
        if start is not None:
            del parts[start : start + len(wanted)]
    kinds = IMAGE_WORDS | MASK_WORDS
    words = [" ".join(word for word in _words(part) if word not in kinds) for part in parts]
    is_mask = folder is not None or any(word in MASK_WORDS for part in path.parts[:-1] for word in _words(part))
    stem = _without_suffix(path.stem, suffix) if is_mask else path.stem
    return (*filter(None, words), stem)


def _words(folder: str) -> list[str]:
    joined = re.sub(r"ground[\s_-]+truth", "groundtruth", folder.lower())
    return [word for word in re.split(r"[\s_-]+", joined) if word]


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def _without_suffix(stem: str, suffix: str | None) -> str:
    if suffix is not None:
        return stem.removesuffix(suffix)
    match = SUFFIX.fullmatch(stem)
    return match[1] if match else stem
