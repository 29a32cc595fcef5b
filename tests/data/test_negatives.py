"""The choice of tiles without a crack: their number, and hard negatives by the scores of an earlier run."""

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crackdet.config.file_data import FolderData, MasksData
from crackdet.config.schema import Data, Runtime
from crackdet.core.errors import UserError
from crackdet.core.files import write_csv
from crackdet.data.dataset import data_fingerprint, list_splits
from crackdet.data.negatives import choose_negatives
from crackdet.data.records import ImageRecord
from crackdet.store.run import Run
from crackdet.store.run_store import RunStore
from tests.data.walls import make_walls, masks_data

RUN = "custom-0123456789ab"

ratios = st.sampled_from([0.1, 0.5, 1, 1.5, 3, 100])


def make_records(cracks: int, others: int) -> list[ImageRecord]:
    return [ImageRecord(f"{number}", number < cracks, f"{number:064x}") for number in range(cracks + others)]


def tiles(ratio: float | None, seed: int = 0) -> MasksData:
    return MasksData(root="unused", negatives_per_positive=ratio, split_seed=seed)


def negatives_of(records: list[ImageRecord]) -> set[str]:
    return {record.digest for record in records if not record.crack}


@given(cracks=st.integers(1, 10), others=st.integers(1, 60), ratio=ratios)
def test_the_number_of_negatives_is_a_multiple_of_the_positives(cracks: int, others: int, ratio: float) -> None:
    records = make_records(cracks, others)
    chosen = choose_negatives(records, tiles(ratio))
    assert len(negatives_of(chosen)) == min(others, max(1, round(ratio * cracks)))
    assert len(chosen) == len(set(chosen)) == cracks + len(negatives_of(chosen))
    assert set(chosen) <= set(records)


@given(seed=st.integers(0, 10**9), order=st.randoms(use_true_random=False))
def test_the_choice_depends_on_the_seed_and_the_digests_alone(seed: int, order: random.Random) -> None:
    records = make_records(3, 40)
    renamed = [record._replace(name=f"moved/{record.name}") for record in order.sample(records, len(records))]
    assert negatives_of(choose_negatives(renamed, tiles(2, seed))) == negatives_of(
        choose_negatives(records, tiles(2, seed))
    )


def test_another_seed_chooses_others() -> None:
    records = make_records(3, 40)
    assert len({frozenset(negatives_of(choose_negatives(records, tiles(2, seed)))) for seed in range(5)}) == 5


@given(small=ratios, large=ratios)
def test_a_larger_ratio_keeps_the_negatives_of_a_smaller_one(small: float, large: float) -> None:
    records = make_records(5, 60)
    few, many = (negatives_of(choose_negatives(records, tiles(ratio))) for ratio in sorted([small, large]))
    assert few <= many


@pytest.mark.parametrize("data", [tiles(None), FolderData(root="unused")])
def test_without_a_ratio_all_negatives_stay(data: Data) -> None:
    records = make_records(2, 30)
    assert choose_negatives(records, data) == records


@given(logits=st.lists(st.floats(-10, 10), min_size=60, max_size=60), ratio=st.sampled_from([1, 2, 3]))
def test_half_of_the_negatives_are_those_with_the_highest_logits(logits: list[float], ratio: float) -> None:
    records = make_records(6, 60)
    scores = {f"{6 + number:064x}": logit for number, logit in enumerate(logits)}
    chosen = negatives_of(choose_negatives(records, tiles(ratio), scores))
    wanted = round(6 * ratio)
    assert len(chosen) == wanted
    threshold = sorted(logits, reverse=True)[wanted // 2 - 1]
    assert sum(scores[digest] >= threshold for digest in chosen) >= wanted // 2
    at_random = negatives_of(choose_negatives(records, tiles(ratio)))
    assert len(chosen - at_random) <= wanted // 2  # the other half is chosen as without scores


# --- scores in the store ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def walls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_walls(tmp_path_factory.mktemp("walls"))


@pytest.fixture
def stored(runtime: Runtime, tmp_path: Path) -> Runtime:
    """Settings with a store that holds one run."""
    changed = replace(runtime, store=str(tmp_path / "runs"))
    run_of(changed).directory.mkdir(parents=True)
    return changed


def run_of(runtime: Runtime) -> Run:
    return RunStore(Path(runtime.store)).run(RUN)


def write_scores(runtime: Runtime, scores: Mapping[str, float]) -> None:
    write_csv(run_of(runtime).negatives_file, [{"digest": digest, "logit": scores[digest]} for digest in scores])


def hard_data(root: Path) -> MasksData:
    return masks_data(root, stride=8, negatives_per_positive=0.5, hard_negatives=RUN)


def test_hard_negatives_are_in_the_training_split_alone(walls: Path, stored: Runtime) -> None:
    random_data = replace(hard_data(walls), hard_negatives=None)
    before, _ = list_splits(random_data, stored)
    all_tiles, _ = list_splits(replace(random_data, negatives_per_positive=None), stored)
    candidates = negatives_of(all_tiles["train"])
    hard = candidates - negatives_of(before["train"])
    write_scores(stored, {digest: float(digest in hard) for digest in candidates})
    after, _ = list_splits(hard_data(walls), stored)
    assert after["valid"] == before["valid"]
    chosen = negatives_of(after["train"])
    assert len(chosen) == len(negatives_of(before["train"]))
    assert len(chosen & hard) == round(len(chosen) / 2) > 0


def test_scores_are_part_of_the_fingerprint(walls: Path, stored: Runtime) -> None:
    found = {data_fingerprint(replace(hard_data(walls), hard_negatives=None), stored)}
    for logit in (0.0, 1.0):
        write_scores(stored, {"a": logit})
        found.add(data_fingerprint(hard_data(walls), stored))
    assert len(found) == 3


def no_run(runtime: Runtime) -> None:
    run_of(runtime).directory.rmdir()


def of_other_tiles(runtime: Runtime) -> None:
    write_scores(runtime, {"ab:0,0,32x32": 1.0})


def with_content(content: bytes) -> Callable[[Runtime], None]:
    def write(runtime: Runtime) -> None:
        run_of(runtime).negatives_file.write_bytes(content)

    return write


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda runtime: None, "this run has no scores of tiles; `crackdet mine custom-0123456789ab` writes them"),
        (no_run, "there is no such run in runtime.store="),
        (of_other_tiles, "its scores are of other tiles than these"),
        (with_content(b""), "its scores are of other tiles than these"),
        (with_content(b"name\na"), r"negatives\.csv cannot be read \(is not a table of digests and logits\)"),
        (with_content(b"digest,logit\na,high"), "is not a table of digests and logits"),
        (with_content(b"digest,logit\na,nan"), "is not a table of digests and logits"),
        (with_content(b"digest,logit\na"), "is not a table of digests and logits"),
        (with_content(b"\xff\xfe"), "is not a table of digests and logits"),
    ],
)
def test_scores_that_cannot_be_used_are_an_error(
    damage: Callable[[Runtime], None], message: str, walls: Path, stored: Runtime
) -> None:
    damage(stored)
    with pytest.raises(UserError, match=f"data.hard_negatives={RUN}: .*{message}"):
        list_splits(hard_data(walls), stored)


def test_hard_negatives_must_name_a_run(walls: Path, stored: Runtime) -> None:
    with pytest.raises(UserError, match=r"data\.hard_negatives=\.\./other: is not a run id"):
        list_splits(replace(hard_data(walls), hard_negatives="../other"), stored)


def test_hard_negatives_need_a_number_of_negatives(walls: Path, stored: Runtime) -> None:
    write_scores(stored, {"a": 0.0})
    with pytest.raises(UserError, match=rf"data\.hard_negatives={RUN}: needs data\.negatives_per_positive"):
        list_splits(replace(hard_data(walls), negatives_per_positive=None), stored)
