"""`data=masks`: tiles of photographs, labelled by masks of the cracks."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crackdet.config.file_data import MasksData
from crackdet.core.errors import UserError
from crackdet.core.files import expand_home
from crackdet.core.text import list_first
from crackdet.data.digests import file_digests
from crackdet.data.facts import find_facts
from crackdet.data.masks import MaskRule, open_mask
from crackdet.data.sources.photographs import pair_masks, split_in_path
from crackdet.data.sources.tiled import NO_CRACK, Labels, Photograph, TiledSource, label_by_share
from crackdet.data.tiles import crack_pixels

VERSION = 1  # of the facts about masks; raised if the same mask gives other numbers
MIN_MASKS = 3  # of which one must have a crack


class MasksSource(TiledSource):
    """A tile shows a crack if its share of crack pixels is `min_crack_share`, and none if it has no crack pixel."""

    def __init__(self, data: MasksData, cache_dir: Path) -> None:
        super().__init__(data, cache_dir)
        self.settings = data
        self.rule = MaskRule(data.mask_value)
        self.ambiguity = f"less than data.min_crack_share={data.min_crack_share} of each, but not none, is crack"
        self._masks: dict[str, str] = {}  # photograph -> mask, of the last listing

    @property
    def dependencies(self) -> Sequence[Path]:
        masks = self.settings.masks
        folder = None if masks is None else self.root / expand_home(masks)
        return [*super().dependencies, *([folder] if folder is not None and folder.is_dir() else [])]

    def find_photographs(self) -> tuple[list[Photograph], list[str], list[str]]:
        folder = self._mask_folder()
        names = self.list_names(self.root)
        if folder is not None and Path(folder).is_absolute():
            names += [(Path(folder) / name).as_posix() for name in self.list_names(Path(folder), Path(folder))]
        found = pair_masks(names, folder, self.settings.mask_suffix)
        if not found.masks:
            raise self._no_masks_error(len(found.photographs), found.unused_masks)
        problems = [
            f"{name}: has several masks: {', '.join(masks)}" for name, masks in found.masks.items() if len(masks) > 1
        ]
        problems += [f"{mask}: is a mask of no photograph" for mask in found.unused_masks]
        self._masks = {name: masks[0] for name, masks in found.masks.items() if len(masks) == 1}
        annotated = [Photograph(name, split_in_path(name), mask) for name, mask in self._masks.items()]
        return annotated, [name for name in found.photographs if name not in found.masks], problems

    def label_tiles(self, photographs: Sequence[Photograph]) -> tuple[list[Labels], dict[int, str]]:
        grids = [self.grid(photograph) for photograph in photographs]
        masked = [index for index, photograph in enumerate(photographs) if photograph.annotation is not None]
        paths = [str((self.root / photographs[index].annotation).absolute()) for index in masked]
        digests = file_digests(paths, self.root.absolute() / "masks", self.cache_dir)
        # the photograph and its tiles matter as well: it may be rotated
        keys = [
            hashlib.sha256(f"{digests[path]}{photographs[i].digest}{photographs[i].tile}".encode()).hexdigest()[:32]
            for i, path in zip(masked, paths, strict=True)
        ]

        def measure(position: int) -> list[Any]:
            index = masked[position]
            mask, values = open_mask(Path(paths[position]), self.root / photographs[index].name, self.rule)
            return [int(mask.sum()), values, crack_pixels(mask, grids[index]).tolist()]

        kind = f"masks {VERSION} {self.rule.text} {self.data.tile} {self.data.step}"
        facts, wrong = find_facts(kind, self.root.absolute(), self.cache_dir, keys, measure, _is_fact)
        labels = [np.full(len(grid.lefts) * len(grid.tops), NO_CRACK, np.int8) for grid in grids]
        for position, index in enumerate(masked):
            if position not in wrong:
                shares = np.array(facts[position][2]) / photographs[index].tile ** 2
                labels[index] = label_by_share(shares, self.settings.min_crack_share)
        self._check_masks([fact for position, fact in enumerate(facts) if position not in wrong])
        return labels, {masked[at]: f"its mask cannot be used: {reason}" for at, reason in wrong.items()}

    def crack_mask(self, photograph: str) -> NDArray[np.bool_] | None:
        if not self._masks:
            self.find_photographs()
        if (mask := self._masks.get(photograph)) is None:
            return None
        return open_mask(self.root / mask, self.root / photograph, self.rule)[0]

    def _check_masks(self, facts: Sequence[Sequence[Any]]) -> None:
        """Keep a warning about empty masks; refuse them if there are several and all are empty."""
        empty = [fact for fact in facts if not fact[0]]
        if len(empty) == len(facts) >= MIN_MASKS:
            values = list_first(list(dict.fromkeys(fact[1] for fact in facts)), 3, "; ")
            raise UserError(
                f"data.mask_value={self.settings.mask_value}: none of the {len(facts)} masks has a crack; the values "
                f"in the masks, with their share of the pixels, are {values}: set data.mask_value to the value of a "
                "crack, such as data.mask_value=1 or data.mask_value='#ff0000'"
            )
        if empty:
            self.doubts.append(f"{len(empty)} of {len(facts)} masks are empty: their photographs show no crack")

    def _mask_folder(self) -> str | None:
        """Return the folder of the masks relative to the root, or as it is given if it is outside.

        Raises:
            UserError: If there is no such folder.
        """
        if self.settings.masks is None:
            return None
        folder = expand_home(self.settings.masks)
        full = self.root / folder
        if full.is_dir():
            inside = full.absolute().is_relative_to(self.root.absolute())
            return (full.absolute().relative_to(self.root.absolute()) if inside else full.absolute()).as_posix()
        if any(path.is_dir() for path in self.root.rglob(folder.name) if path.match(str(folder))):
            return folder.as_posix()
        raise UserError(f"data.masks={self.settings.masks}: there is no such folder in {self.root}")

    def _no_masks_error(self, photographs: int, masks: Sequence[str]) -> UserError:
        found = f"{photographs} photographs" + (f" and {len(masks)} masks of other names" if masks else "")
        return UserError(
            f"data.root={self.data.root}: found {found}, but no mask of a photograph. Masks have the file name of "
            "their photograph, in a folder such as masks/ beside images/, or a suffix such as _mask; set data.masks "
            "to their folder, or data.mask_suffix"
        )


def _is_fact(value: Any) -> bool:
    return (
        isinstance(value, list)
        and list(map(type, value)) == [int, str, list]
        and all(type(count) is int for count in value[2])
    )
