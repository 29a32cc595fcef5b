"""Sizes of images and what is too little."""

from crackdet.data.records import ImageRecord
from crackdet.doctor.headers import Header
from crackdet.doctor.sizes import measure_sizes


def records(split: str, number: int, group: str | None = None) -> list[ImageRecord]:
    return [
        ImageRecord(f"{split}{index}.jpg", index % 2 == 0, f"{split}{index}", group=group) for index in range(number)
    ]


def headers(images: list[ImageRecord], width: int, height: int) -> dict[str, Header]:
    return {record.name: Header(width, height) for record in images}


def test_sizes_are_counted_by_split() -> None:
    train, valid = records("train", 20), records("valid", 12)
    sizes = measure_sizes({"train": train, "valid": valid, "test": []}, headers(train, 300, 200), 128)
    assert [one.split for one in sizes.splits] == ["train", "valid"]
    first, second = sizes.splits
    assert first.common == ((300, 200, 20),) and first.shorter_side == (200, 200, 200) and first.enlarged == 0
    assert second.shorter_side is None and first.counts["cracks"] == 10
    assert first.margin < second.margin and not sizes.warnings


def test_small_and_long_images_are_remarked() -> None:
    train, valid = records("train", 20), records("valid", 12)
    sizes = measure_sizes({"train": train, "valid": valid}, headers(train, 300, 100), 128)
    small, long = sizes.warnings
    assert "20 of 20 train images are smaller than data.image_size=128" in small
    assert "squeezed" in long and sizes.splits[0].enlarged == sizes.splits[0].elongated == 20


def test_a_tile_has_its_own_size() -> None:
    tile = ImageRecord("a.jpg#0,0,96x96", True, "a:0,0,96x96", group="a")
    sizes = measure_sizes({"train": [tile], "valid": []}, {"a.jpg": Header(4000, 3000)}, 96)
    assert sizes.splits[0].common == ((96, 96, 1),) and sizes.splits[0].enlarged == 0


def test_too_few_images_and_groups_of_one_class_are_remarked() -> None:
    train = [record._replace(group=str(index % 2)) for index, record in enumerate(records("train", 20))]
    sizes = measure_sizes({"train": train, "valid": records("valid", 4, "x")[::2]}, {}, 64)
    assert sizes.splits[0].pure_groups == 2 and sizes.splits[0].mixed_groups == 0
    assert "at least 6 are needed" in sizes.warnings[0] and "no group has images of both classes" in sizes.warnings[1]
