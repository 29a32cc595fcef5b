"""The split of images into train, valid and test."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from crackdet.config.file_data import FolderData
from crackdet.config.schema import Runtime
from crackdet.core.errors import UserError
from crackdet.data import synthetic
from crackdet.data.dataset import load_splits
from crackdet.data.records import ImageRecord
from crackdet.data.sources.factory import open_source
from crackdet.data.splits import SPLITS, SplitCache, leakage_warnings, split
from tests.composing import compose
from tests.data.image_files import make_folders

counts = st.integers(20, 80)
fractions = st.floats(0.1, 0.4)
seeds = st.integers(0, 2**32 - 1)


def data_with(**settings: Any) -> FolderData:
    return replace(FolderData(root="unused"), **settings)


def make_records(cracks: int, others: int, split_name: str | None = None) -> list[ImageRecord]:
    prefix = split_name or ""
    records = [
        ImageRecord(f"{prefix}{number}", number < cracks, f"{prefix}{number:064x}", split_name)
        for number in range(cracks + others)
    ]
    return sort_records(records)


def sort_records(records: Sequence[ImageRecord]) -> list[ImageRecord]:
    return sorted(records, key=lambda record: record.sort_key)


def count_cells(splits: dict[str, list[ImageRecord]]) -> dict[tuple[str, bool], int]:
    return Counter((name, record.crack) for name, members in splits.items() for record in members)


def names_of(members: Sequence[ImageRecord]) -> set[str]:
    return {record.name for record in members}


def assert_disjoint_and_complete(splits: dict[str, list[ImageRecord]], records: Sequence[ImageRecord]) -> None:
    everything = [record.name for members in splits.values() for record in members]
    assert sorted(everything) == sorted(record.name for record in records)


# --- random splits -----------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(cracks=counts, others=counts, valid=fractions, test=fractions, seed=seeds)
def test_random_splits_are_disjoint_complete_and_stratified(
    cracks: int, others: int, valid: float, test: float, seed: int
) -> None:
    records = make_records(cracks, others)
    splits = split(records, data_with(valid_fraction=valid, test_fraction=test, split_seed=seed))
    assert_disjoint_and_complete(splits, records)
    for crack, total in ((True, cracks), (False, others)):
        assert count_cells(splits)["valid", crack] == round(valid * total)
        assert count_cells(splits)["test", crack] == round(test * total)


def test_there_is_no_test_split_by_default() -> None:
    assert split(make_records(20, 20), data_with())["test"] == []


def test_the_same_seed_gives_the_same_split() -> None:
    records = make_records(30, 30)
    assert split(records, data_with(split_seed=3)) == split(records, data_with(split_seed=3))
    assert split(records, data_with(split_seed=3)) != split(records, data_with(split_seed=4))


def test_each_split_is_in_canonical_order() -> None:
    splits = split(make_records(30, 30), data_with(test_fraction=0.2))
    assert all(members == sort_records(members) for members in splits.values())


def test_a_split_does_not_depend_on_the_order_of_digests() -> None:
    valid = split(make_records(200, 200), data_with())["valid"]
    first_half = sum(int(record.digest, 16) % 200 < 100 for record in valid)
    assert 25 < first_half < 55


@settings(max_examples=60, deadline=None)
@given(
    grouping=st.lists(st.integers(0, 12), min_size=40, max_size=80),
    copied=st.lists(st.tuples(st.integers(0, 39), st.integers(0, 39)), max_size=8),
    valid=fractions,
    test=st.just(0.0) | fractions,
    seed=seeds,
)
@example(grouping=[n // 10 for n in range(40)], copied=[(0, 10), (10, 20)], valid=0.4, test=0.0, seed=0)
def test_groups_and_copies_stay_together(
    grouping: list[int], copied: list[tuple[int, int]], valid: float, test: float, seed: int
) -> None:
    records = [
        ImageRecord(str(number), number % 2 == 0, f"{number:064x}", group=str(group) if group else None)
        for number, group in enumerate(grouping)
    ]
    for number, original in copied:
        records[number] = records[number]._replace(digest=records[original].digest)
    try:
        splits = split(sort_records(records), data_with(valid_fraction=valid, test_fraction=test, split_seed=seed))
    except UserError:
        assume(False)
    assert_disjoint_and_complete(splits, records)
    for field in ("digest", "group"):
        splits_of: dict[str, set[str]] = {}
        for name, members in splits.items():
            for record in members:
                if getattr(record, field) is not None:
                    splits_of.setdefault(getattr(record, field), set()).add(name)
        assert all(len(found) == 1 for found in splits_of.values())


@settings(max_examples=40, deadline=None)
@given(per_group=st.integers(1, 12), groups=st.integers(40, 60), valid=fractions, test=fractions, seed=seeds)
def test_the_fractions_are_kept_to_within_half_a_group(
    per_group: int, groups: int, valid: float, test: float, seed: int
) -> None:
    records = [
        ImageRecord(f"{crack}{number}", crack, f"{crack}{number}", group=f"{crack}{number // per_group}")
        for crack in (False, True)
        for number in range(per_group * groups)
    ]
    splits = split(sort_records(records), data_with(valid_fraction=valid, test_fraction=test, split_seed=seed))
    for crack in (False, True):
        assert abs(count_cells(splits)["valid", crack] - valid * per_group * groups) <= (per_group + 1) / 2
        assert abs(count_cells(splits)["test", crack] - test * per_group * groups) <= (per_group + 1) / 2


@pytest.mark.parametrize(("cracks", "others", "missing"), [(2, 40, "with"), (40, 2, "without")])
def test_too_few_images_for_a_split_are_rejected(cracks: int, others: int, missing: str) -> None:
    with pytest.raises(UserError, match=rf"the valid split has no image {missing} a crack.*data\.valid_fraction"):
        split(make_records(cracks, others), data_with(valid_fraction=0.2))


# --- splits of the source -----------------------------------------------------------------------------


def test_the_splits_of_the_source_are_kept() -> None:
    splits = {name: make_records(5, 6, name) for name in SPLITS}
    assert split([record for members in splits.values() for record in members], data_with()) == splits


def test_a_missing_valid_split_is_sampled_from_train() -> None:
    train, test = make_records(20, 30, "train"), make_records(5, 5, "test")
    splits = split([*train, *test], data_with(valid_fraction=0.1, test_fraction=0.5))
    assert splits["test"] == test
    assert names_of(splits["train"]) | names_of(splits["valid"]) == names_of(train)
    assert count_cells(splits)["valid", True] == 2
    assert count_cells(splits)["valid", False] == 3


@pytest.mark.parametrize("incomplete", SPLITS)
def test_a_split_with_one_class_is_rejected(incomplete: str) -> None:
    splits = {name: make_records(3, 0 if name == incomplete else 3, name) for name in SPLITS}
    with pytest.raises(UserError, match=f"the {incomplete} split has no image without a crack"):
        split([record for members in splits.values() for record in members], data_with())


def test_a_warning_counts_the_copies_and_groups_that_two_splits_share() -> None:
    train, valid, test = (make_records(5, 5, name) for name in SPLITS)
    assert leakage_warnings({"train": train, "valid": valid, "test": test}) == []
    copied = [*valid, train[0]._replace(split="valid", name="again.jpg")]
    (warning,) = leakage_warnings({"train": train, "valid": copied, "test": test})
    assert warning.startswith("data: 1 of 11 valid images are copies of images in train, such as again.jpg")
    one, other = ([record._replace(group="wall") for record in members] for members in (train, test))
    (warning,) = leakage_warnings({"train": one, "valid": valid, "test": other})
    assert warning.startswith("data: 10 of 10 test images belong to groups that are also in train")
    with_empty_groups = {
        name: [one._replace(group="") for one in members]
        for name, members in zip(SPLITS, (train, valid, test), strict=True)
    }
    assert leakage_warnings(with_empty_groups) == []


def test_a_warning_counts_copies_with_contradictory_labels() -> None:
    records = make_records(5, 5)
    other = next(one for one in records if one.crack)
    (warning,) = leakage_warnings({"train": [*records, other._replace(crack=False)], "valid": [], "test": []})
    assert warning.startswith("data: 2 images have an identical copy with the other label, such as ")


# --- subsets ------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(cracks=counts, others=counts, test=st.just(0.0) | fractions, seed=seeds, sizes_=st.data())
@example(cracks=37, others=80, test=0.3, seed=0, sizes_=None)
def test_a_subset_has_the_exact_size_and_contains_smaller_subsets(
    cracks: int, others: int, test: float, seed: int, sizes_: st.DataObject | None
) -> None:
    records = make_records(cracks, others)
    chosen = (
        range(6, cracks + others)
        if sizes_ is None
        else sorted(sizes_.draw(st.lists(st.integers(6, cracks + others), min_size=2, max_size=5)))
    )
    smaller: dict[str, list[ImageRecord]] = {name: [] for name in SPLITS}
    full = split(records, data_with(test_fraction=test, split_seed=seed))
    for size in chosen:
        subset = split(records, data_with(test_fraction=test, split_seed=seed, max_images=size))
        assert sum(map(len, subset.values())) == size
        for name in SPLITS:
            assert names_of(smaller[name]) <= names_of(subset[name]) <= names_of(full[name])
        smaller = subset


@settings(max_examples=40, deadline=None)
@given(cracks=counts, others=counts, seed=seeds, size=st.integers(8, 40))
def test_a_subset_has_the_proportions_of_all_images(cracks: int, others: int, seed: int, size: int) -> None:
    records = make_records(cracks, others)
    full = count_cells(split(records, data_with(split_seed=seed)))
    subset = count_cells(split(records, data_with(split_seed=seed, max_images=size)))
    for cell, count in full.items():
        assert abs(subset[cell] - count * size / (cracks + others)) < 2


@pytest.mark.parametrize("size", [100, 101, 10**9])
def test_a_subset_of_all_images_is_all_images(size: int) -> None:
    records = make_records(60, 40)
    assert split(records, data_with(max_images=size)) == split(records, data_with())


def test_a_subset_of_four_has_both_classes_in_train_and_valid() -> None:
    subset = count_cells(split(make_records(60, 40), data_with(max_images=4)))
    assert subset == {(name, crack): 1 for name in ("train", "valid") for crack in (True, False)}


def test_another_seed_gives_another_subset() -> None:
    records = [*make_records(50, 50, "train"), *make_records(50, 50, "valid")]
    first, second = (split(records, data_with(max_images=20, split_seed=seed)) for seed in (0, 1))
    assert names_of(first["train"]) != names_of(second["train"])


def test_a_test_split_of_the_source_does_not_change_the_other_splits() -> None:
    records = [*make_records(50, 50, "train"), *make_records(10, 10, "valid")]
    test = make_records(30, 30, "test")
    without_test, with_test = (
        split(records, data_with(max_images=20)),
        split([*records, *test], data_with(max_images=20)),
    )
    assert with_test == {**without_test, "test": test}


def test_the_split_cache_notices_other_records_and_other_settings() -> None:
    cache, records = SplitCache(), make_records(30, 30)
    for asked, data in ((records, data_with()), (records, data_with(split_seed=1)), (records[5:], data_with())):
        for _ in range(2):
            assert cache.get(asked, data) == (split(asked, data), [])


# --- from files ---------------------------------------------------------------------------------------


def test_renaming_files_does_not_change_the_split(tmp_path: Path) -> None:
    root = make_folders(tmp_path / "data", {"crack": 10, "noncrack": 10})
    folder, runtime = FolderData(root=str(root), image_size=4), Runtime(cache=str(tmp_path / "cache"))
    before = [record.digest for record in load_splits(folder, runtime)["train"].records]
    for number, path in enumerate(sorted(root.rglob("*.png"), reverse=True)):
        path.rename(path.with_name(f"renamed{number:03d}.png"))
    assert [record.digest for record in load_splits(folder, runtime)["train"].records] == before


def test_large_groups_of_a_manifest_are_split_nearly_by_the_fractions(tmp_path: Path) -> None:
    """Twenty blocks of a few consecutive images per class, the layout of the METU crack images."""
    root = make_folders(tmp_path / "data", {"Negative": 40, "Positive": 40})
    paths = sorted(path.relative_to(root) for path in root.rglob("*.png"))
    rows = [f"{path.as_posix()},{path.parent},{int(path.stem) // 2}" for path in paths]
    (root / "manifest.csv").write_text("\n".join(["path,label,block", *rows, ""]))
    data = data_with(root=str(root), groups="block", test_fraction=0.1)
    records = open_source(data, tmp_path / "cache").list_records()
    splits = split(records, data)
    assert_disjoint_and_complete(splits, records)
    blocks = {name: {record.group for record in members} for name, members in splits.items()}
    assert sum(map(len, blocks.values())) == len(set().union(*blocks.values())) == 20
    for name, share in (("train", 0.7), ("valid", 0.2), ("test", 0.1)):
        for crack in (True, False):
            assert count_cells(splits)[name, crack] == pytest.approx(share * 40, abs=2)


def test_a_subset_of_jpeg_files_is_decoded(tmp_path: Path, base_overrides: list[str]) -> None:
    for index in range(32):
        folder = tmp_path / "photos" / ("Positive" if index % 2 else "Negative")
        folder.mkdir(parents=True, exist_ok=True)
        image = synthetic.render(
            index, seed=0, image_size=227, crack_fraction=index % 2, hard_negatives=0.5, difficulty=0.5
        )
        Image.fromarray(image.image).save(folder / f"{index:05d}.jpg")
    overrides = [f"data.root={tmp_path / 'photos'}", "data.image_size=32", "data.max_images=20", *base_overrides]
    config = compose(["data=folder", *overrides])
    splits = load_splits(config.data, config.runtime)
    means = [dataset.pixels.read(record).mean() for dataset in splits.values() for record in dataset.records]
    assert len(means) == 20
    assert all(60 < mean < 240 for mean in means)
