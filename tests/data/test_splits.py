"""Which photographs are trained on, chosen by, and never seen."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from crackdet.config.composing import compose
from crackdet.config.schema import FolderData, Runtime
from crackdet.core.errors import UserError
from crackdet.data.dataset import load_splits
from crackdet.data.records import ImageRecord
from crackdet.data.sources.factory import open_source
from crackdet.data.splits import SPLITS, leakage_warnings, split
from tests.data.pictures import fill

METU = Path(__file__).parents[3] / "shared" / "data" / "metu4000"

counts = st.integers(20, 80)
fractions = st.floats(0.1, 0.4)
seeds = st.integers(0, 2**32 - 1)


def data(**settings: Any) -> FolderData:
    return replace(FolderData(root="unused"), **settings)


def photographs(cracks: int, others: int, part: str | None = None) -> list[ImageRecord]:
    prefix = part or ""
    listed = [
        ImageRecord(f"{prefix}{number}", number < cracks, f"{prefix}{number:064x}", part)
        for number in range(cracks + others)
    ]
    return in_order(listed)


def in_order(listed: Sequence[ImageRecord]) -> list[ImageRecord]:
    return sorted(listed, key=lambda photograph: photograph.order)


def sizes(splits: dict[str, list[ImageRecord]]) -> dict[tuple[str, bool], int]:
    return Counter((name, photograph.crack) for name, members in splits.items() for photograph in members)


def names(members: Sequence[ImageRecord]) -> set[str]:
    return {photograph.name for photograph in members}


def assert_disjoint_and_complete(splits: dict[str, list[ImageRecord]], listed: Sequence[ImageRecord]) -> None:
    everything = [photograph.name for members in splits.values() for photograph in members]
    assert sorted(everything) == sorted(photograph.name for photograph in listed)


# --- drawn splits -------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(cracks=counts, others=counts, valid=fractions, test=fractions, seed=seeds)
def test_splits_are_disjoint_complete_and_have_the_fractions_of_each_class(
    cracks: int, others: int, valid: float, test: float, seed: int
) -> None:
    listed = photographs(cracks, others)
    splits = split(listed, data(valid_fraction=valid, test_fraction=test, split_seed=seed))
    assert_disjoint_and_complete(splits, listed)
    for crack, total in ((True, cracks), (False, others)):
        assert sizes(splits)["valid", crack] == round(valid * total)
        assert sizes(splits)["test", crack] == round(test * total)


def test_there_is_no_test_split_by_default() -> None:
    assert split(photographs(20, 20), data())["test"] == []


def test_the_same_seed_draws_the_same_split() -> None:
    listed = photographs(30, 30)
    assert split(listed, data(split_seed=3)) == split(listed, data(split_seed=3))
    assert split(listed, data(split_seed=3)) != split(listed, data(split_seed=4))


def test_each_split_is_in_canonical_order() -> None:
    splits = split(photographs(30, 30), data(test_fraction=0.2))
    assert all(members == in_order(members) for members in splits.values())


def test_a_split_does_not_follow_the_order_of_the_digests() -> None:
    valid = split(photographs(200, 200), data())["valid"]
    first_half = sum(int(photograph.digest, 16) % 200 < 100 for photograph in valid)
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
    listed = [
        ImageRecord(str(number), number % 2 == 0, f"{number:064x}", group=str(group) if group else None)
        for number, group in enumerate(grouping)
    ]
    for number, original in copied:
        listed[number] = listed[number]._replace(digest=listed[original].digest)
    try:
        splits = split(in_order(listed), data(valid_fraction=valid, test_fraction=test, split_seed=seed))
    except UserError:
        assume(False)
    assert_disjoint_and_complete(splits, listed)
    for what in ("digest", "group"):
        places: dict[str, set[str]] = {}
        for name, members in splits.items():
            for photograph in members:
                if getattr(photograph, what) is not None:
                    places.setdefault(getattr(photograph, what), set()).add(name)
        assert all(len(found) == 1 for found in places.values())


@settings(max_examples=40, deadline=None)
@given(per_group=st.integers(1, 12), groups=st.integers(40, 60), valid=fractions, test=fractions, seed=seeds)
def test_the_fractions_are_kept_to_within_half_a_group(
    per_group: int, groups: int, valid: float, test: float, seed: int
) -> None:
    listed = [
        ImageRecord(f"{crack}{number}", crack, f"{crack}{number}", group=f"{crack}{number // per_group}")
        for crack in (False, True)
        for number in range(per_group * groups)
    ]
    splits = split(in_order(listed), data(valid_fraction=valid, test_fraction=test, split_seed=seed))
    for crack in (False, True):
        assert abs(sizes(splits)["valid", crack] - valid * per_group * groups) <= (per_group + 1) / 2
        assert abs(sizes(splits)["test", crack] - test * per_group * groups) <= (per_group + 1) / 2


@pytest.mark.parametrize(("cracks", "others", "missing"), [(2, 40, "with"), (40, 2, "without")])
def test_too_few_images_for_a_split_are_refused(cracks: int, others: int, missing: str) -> None:
    with pytest.raises(UserError, match=rf"the valid split has no image {missing} a crack.*data\.valid_fraction"):
        split(photographs(cracks, others), data(valid_fraction=0.2))


# --- splits of the source -----------------------------------------------------------------------------


def test_the_splits_of_the_source_stand() -> None:
    given_ = {name: photographs(5, 6, name) for name in SPLITS}
    assert split([photograph for members in given_.values() for photograph in members], data()) == given_


def test_a_missing_valid_split_is_drawn_from_train() -> None:
    train, test = photographs(20, 30, "train"), photographs(5, 5, "test")
    splits = split([*train, *test], data(valid_fraction=0.1, test_fraction=0.5))
    assert splits["test"] == test
    assert names(splits["train"]) | names(splits["valid"]) == names(train)
    assert sizes(splits)["valid", True] == 2
    assert sizes(splits)["valid", False] == 3


@pytest.mark.parametrize("part", SPLITS)
def test_a_split_of_one_class_is_refused(part: str) -> None:
    parts = {name: photographs(3, 0 if name == part else 3, name) for name in SPLITS}
    with pytest.raises(UserError, match=f"the {part} split has no image without a crack"):
        split([photograph for members in parts.values() for photograph in members], data())


def test_what_given_splits_share_is_told() -> None:
    train, valid, test = (photographs(5, 5, name) for name in SPLITS)
    assert leakage_warnings({"train": train, "valid": valid, "test": test}) == []
    copied = [*valid, train[0]._replace(split="valid", name="again.jpg")]
    (remark,) = leakage_warnings({"train": train, "valid": copied, "test": test})
    assert remark.startswith("data: 1 of 11 valid photographs are copies of some in train, such as again.jpg")
    one, other = ([photograph._replace(group="wall") for photograph in members] for members in (train, test))
    (remark,) = leakage_warnings({"train": one, "valid": valid, "test": other})
    assert remark.startswith("data: 10 of 10 test photographs are of groups that are also in train")
    blank = {
        name: [one._replace(group="") for one in members]
        for name, members in zip(SPLITS, (train, valid, test), strict=True)
    }
    assert leakage_warnings(blank) == []


def test_copies_with_other_labels_are_told() -> None:
    listed = photographs(5, 5)
    other = next(one for one in listed if one.crack)
    (remark,) = leakage_warnings({"train": [*listed, other._replace(crack=False)], "valid": [], "test": []})
    assert remark.startswith("data: 2 photographs are there with a crack and, as copies, without one, such as ")


# --- subsets ------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(cracks=counts, others=counts, test=st.just(0.0) | fractions, seed=seeds, sizes_=st.data())
@example(cracks=37, others=80, test=0.3, seed=0, sizes_=None)
def test_a_subset_is_exact_and_the_larger_holds_the_smaller(
    cracks: int, others: int, test: float, seed: int, sizes_: st.DataObject | None
) -> None:
    listed = photographs(cracks, others)
    chosen = (
        range(6, cracks + others)
        if sizes_ is None
        else sorted(sizes_.draw(st.lists(st.integers(6, cracks + others), min_size=2, max_size=5)))
    )
    smaller: dict[str, list[ImageRecord]] = {name: [] for name in SPLITS}
    whole = split(listed, data(test_fraction=test, split_seed=seed))
    for size in chosen:
        subset = split(listed, data(test_fraction=test, split_seed=seed, max_images=size))
        assert sum(map(len, subset.values())) == size
        for name in SPLITS:
            assert names(smaller[name]) <= names(subset[name]) <= names(whole[name])
        smaller = subset


@settings(max_examples=40, deadline=None)
@given(cracks=counts, others=counts, seed=seeds, size=st.integers(8, 40))
def test_a_subset_has_the_proportions_of_the_whole(cracks: int, others: int, seed: int, size: int) -> None:
    listed = photographs(cracks, others)
    whole = sizes(split(listed, data(split_seed=seed)))
    subset = sizes(split(listed, data(split_seed=seed, max_images=size)))
    for cell, count in whole.items():
        assert abs(subset[cell] - count * size / (cracks + others)) < 2


@pytest.mark.parametrize("size", [100, 101, 10**9])
def test_a_subset_of_all_images_is_all_images(size: int) -> None:
    listed = photographs(60, 40)
    assert split(listed, data(max_images=size)) == split(listed, data())


def test_a_subset_of_four_has_both_classes_in_train_and_valid() -> None:
    subset = sizes(split(photographs(60, 40), data(max_images=4)))
    assert subset == {(name, crack): 1 for name in ("train", "valid") for crack in (True, False)}


def test_another_seed_draws_another_subset() -> None:
    parts = [*photographs(50, 50, "train"), *photographs(50, 50, "valid")]
    first, second = (split(parts, data(max_images=20, split_seed=seed)) for seed in (0, 1))
    assert names(first["train"]) != names(second["train"])


def test_a_test_split_of_the_source_does_not_change_what_is_trained_on() -> None:
    parts = [*photographs(50, 50, "train"), *photographs(10, 10, "valid")]
    test = photographs(30, 30, "test")
    without, beside = split(parts, data(max_images=20)), split([*parts, *test], data(max_images=20))
    assert beside == {**without, "test": test}


# --- from files ---------------------------------------------------------------------------------------


def test_renaming_files_does_not_change_the_split(tmp_path: Path) -> None:
    root = fill(tmp_path / "data", {"crack": 10, "noncrack": 10})
    folder, runtime = FolderData(root=str(root), image_size=4), Runtime(cache=str(tmp_path / "cache"))
    before = [photograph.digest for photograph in load_splits(folder, runtime)["train"].photographs]
    for number, path in enumerate(sorted(root.rglob("*.png"), reverse=True)):
        path.rename(path.with_name(f"renamed{number:03d}.png"))
    assert [photograph.digest for photograph in load_splits(folder, runtime)["train"].photographs] == before


@pytest.mark.skipif(not METU.is_dir(), reason="the METU photographs are not here")
def test_real_photographs_are_split_by_blocks(places: list[str], cache: Path) -> None:
    config = compose(["data=folder", f"data.root={METU}", "data.groups=block", "data.test_fraction=0.1", *places])
    listed = open_source(config.data, cache).photographs()
    splits = split(listed, config.data)
    assert_disjoint_and_complete(splits, listed)
    blocks = {name: {photograph.group for photograph in members} for name, members in splits.items()}
    assert sum(map(len, blocks.values())) == len(set().union(*blocks.values())) == 20
    for name, share in (("train", 0.7), ("valid", 0.2), ("test", 0.1)):
        for crack in (True, False):
            assert sizes(splits)[name, crack] == pytest.approx(share * 2000, abs=100)


@pytest.mark.skipif(not METU.is_dir(), reason="the METU photographs are not here")
def test_real_photographs_are_decoded(places: list[str]) -> None:
    config = compose(["data=folder", f"data.root={METU}", "data.image_size=32", "data.max_images=20", *places])
    splits = load_splits(config.data, config.runtime)
    means = [images.pixels.read(photograph).mean() for images in splits.values() for photograph in images.photographs]
    assert len(means) == 20
    assert all(60 < mean < 240 for mean in means)
