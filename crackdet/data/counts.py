"""How many images and groups each split has, and whether the validation split is large enough to compare networks."""

from collections.abc import Mapping, Sequence

from rich.table import Table

from crackdet.data.records import ImageRecord
from crackdet.metrics.sample_size import MIN_OBSERVATIONS

Splits = Mapping[str, Sequence[ImageRecord]]


def num_groups(records: Sequence[ImageRecord]) -> int:
    """Return the number of independent observations: groups, and images without a group."""
    return len({record.group for record in records if record.group}) + sum(not record.group for record in records)


def is_grouped(splits: Splits) -> bool:
    """Return whether any image has a group."""
    return any(record.group for records in splits.values() for record in records)


def count_splits(splits: Splits) -> dict[str, dict[str, int]]:
    """Return the number of images, and of groups if there are any, of each split and class."""
    counts = {}
    for name, records in splits.items():
        cracks, others = [[record for record in records if record.crack is crack] for crack in (True, False)]
        counts[name] = {"cracks": len(cracks), "no_cracks": len(others)}
        if is_grouped(splits):
            members = {"groups": records, "groups_with_cracks": cracks, "groups_without_cracks": others}
            counts[name] |= {key: num_groups(images) for key, images in members.items()}
    return counts


def count_table(splits: Splits) -> Table:
    """Return a table of the images, and of the groups if there are any, of each split and class."""
    table = Table("split")
    for name in ("cracks", "no cracks", *(("groups", "with cracks", "without cracks") if is_grouped(splits) else ())):
        table.add_column(name, justify="right")
    for name, counts in count_splits(splits).items():
        table.add_row(name, *map(str, counts.values()))
    return table


def few_observations_warning(splits: Splits) -> str | None:
    """Return a warning if the validation split has too few groups, or images of a class, to compare networks.

    A class that no split has does not count.
    """
    records, noun = splits["valid"], "groups" if is_grouped(splits) else "images"
    counts, totals = _count_by_class(records), _count_by_class([*splits["train"], *records])
    if noun == "groups" and num_groups(records) < MIN_OBSERVATIONS:
        counts, totals = {"": num_groups(records)}, {"": num_groups([*splits["train"], *records])}
    few = [kind for kind, number in counts.items() if number < MIN_OBSERVATIONS and totals[kind]]
    if not few:
        return None
    remedy = f"raise data.valid_fraction, or add {noun}"
    if any(record.split == "valid" for record in records):
        remedy = f"add {noun} to the valid split"
    elif any(totals[kind] <= MIN_OBSERVATIONS for kind in few):  # training needs at least one
        remedy = f"add {noun}: all data has {' and '.join(_describe(totals[kind], noun, kind) for kind in few)}"
    needed = f"at least {MIN_OBSERVATIONS} are needed to compare networks"
    found = " and ".join(_describe(counts[kind], noun, kind) for kind in few)
    return f"data: {found} in the valid split; {needed}; {remedy}"


def _count_by_class(records: Sequence[ImageRecord]) -> dict[str, int]:
    kinds = {" with a crack": True, " without a crack": False}
    return {kind: num_groups([r for r in records if r.crack is crack]) for kind, crack in kinds.items()}


def _describe(number: int, noun: str, kind: str) -> str:
    return f"{number} {noun[: None if number != 1 else -1]}{kind}"
