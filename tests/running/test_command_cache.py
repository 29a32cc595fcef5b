import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from crackdet.config.composing import compose
from crackdet.config.parsing import parse
from crackdet.config.schema import Config, to_dict
from crackdet.running.command_cache import SINGLE, CommandCache, is_cacheable, stamp
from crackdet.running.job import Job, execute, make_job
from crackdet.running.skip import skip_finished
from crackdet.store.run import Run

NETWORK = """
import torch

class Net(torch.nn.Sequential):
    def __init__(self, width: int) -> None:
        super().__init__(torch.nn.Conv2d(3, width, 3), torch.nn.AdaptiveAvgPool2d(1))
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def age(folder: Path) -> None:
    """Makes files look as if they had been there for a while: what has just been changed is not remembered."""
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (time.time() - 60,) * 2, follow_symlinks=False)


class Remembered:
    """A finished run over photographs, from weights in a file, of a network of the user's own, remembered."""

    def __init__(self, folder: Path, photographs: Path, places: list[str]) -> None:
        self.conf, self.photographs = folder / "conf", photographs
        self.source, self.weights = folder / f"{folder.name}.py", folder / "initial.pth"
        self.manifest = folder / "walls.csv"
        self.conf.mkdir()
        (self.conf / "config.yaml").write_text("seed: 0\n")
        self.source.write_text(NETWORK)
        names = [path.relative_to(photographs).as_posix() for path in photographs.rglob("*.png")]
        self.manifest.write_text("path,wall\n" + "".join(f"{name},{i}\n" for i, name in enumerate(names)))
        base = to_dict(
            compose(
                ["data=folder", f"data.root={photographs}", "data.image_size=32", "data.groups=wall",
                 f"data.manifest={self.manifest}", "trainer.max_epochs=1", "trainer.batch_size=4", *places]
            )
        )  # fmt: skip
        model = {"_target_": f"{folder.name}.Net", "name": "net", "width": 4, "linear_features": 8, "weights": None}
        self.save_weights(parse({**base, "model": model}))
        self.tree = {**base, "model": {**model, "weights": str(self.weights)}}
        age(folder)
        self.overrides = ["model=net"]
        memo = self.memo()
        assert memo.get(self.overrides) is None
        job = self.plan()
        memo.put([job.meaning(self.tree)])
        assert self.get() is None  # remembered, but not trained
        execute(job)
        self.run = job.run

    def save_weights(self, config: Config) -> None:
        import torch

        from crackdet.models.factory import build

        torch.save(build(config).feature_extractor.state_dict(), self.weights)

    def memo(self) -> CommandCache:
        return CommandCache([self.conf], f"{SINGLE} config")

    def plan(self) -> Job:
        return make_job(self.tree, self.overrides)

    def get(self) -> Run | None:
        return self.memo().get(self.overrides)


@pytest.fixture
def remembered(tmp_path: Path, photographs: Path, places: list[str]) -> Remembered:
    return Remembered(tmp_path, photographs, places)


def edit(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


CHANGES: dict[str, Callable[[Remembered], None]] = {
    "a configuration file": lambda known: edit(known.conf / "config.yaml"),
    "another configuration file": lambda known: (known.conf / "more.yaml").write_text("a: 1\n") and None,
    "an image": lambda known: edit(next(known.photographs.rglob("*.png"))),
    "a further image": lambda known: (
        shutil.copy(next(known.photographs.glob("Positive/*")), known.photographs / "Negative" / "more.png") and None
    ),
    "the name of an image": lambda known: (
        next(known.photographs.rglob("*.png")).rename(known.photographs / "Positive" / "other.png") and None
    ),
    "the manifest": lambda known: edit(known.manifest),
    "the initial weights": lambda known: edit(known.weights),
    "the network's source": lambda known: edit(known.source),
    "the result": lambda known: known.run.result_file.unlink(),
    "the history": lambda known: edit(known.run.history_file),
    "no weights there": lambda known: known.weights.unlink(),
}


def test_a_finished_run_is_recalled_until_something_that_was_read_for_it_changes(remembered: Remembered) -> None:
    assert remembered.get() == remembered.run
    assert remembered.memo().get(["model=other"]) is None
    assert CommandCache([remembered.conf], "job config").get(remembered.overrides) is None


@pytest.mark.parametrize("what", list(CHANGES))
def test_it_is_not_recalled_after_a_change_of(remembered: Remembered, what: str) -> None:
    CHANGES[what](remembered)
    assert remembered.get() is None


@pytest.mark.parametrize("link", [".#config.yaml", "more.yaml"])
def test_a_link_that_leads_nowhere_hides_no_change(remembered: Remembered, link: str) -> None:
    (remembered.conf / link).symlink_to("somebody@somewhere:1")  # as editors leave them beside an unsaved file
    age(remembered.conf.parent)
    remembered.memo().put([remembered.plan().meaning(remembered.tree)])
    assert remembered.get() == remembered.run
    edit(remembered.conf / "config.yaml")
    assert remembered.get() is None


def test_in_another_folder_the_same_words_may_mean_another_run(
    remembered: Remembered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memos = tmp_path / "outputs"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    shutil.copytree(memos, "outputs")
    assert remembered.get() is None


def test_damaged_memories_are_forgotten(remembered: Remembered, tmp_path: Path) -> None:
    (file,) = (tmp_path / "outputs" / "memo").glob("*/*")
    whole = file.read_text()
    for content in (
        whole[:-20],
        whole[:34] + "[]\n",
        whole[:33] + "{}\n",
        "\n \n",
        "\udc80".encode(errors="replace").decode(),
    ):
        file.write_text(content)
        assert remembered.get() is None
    file.write_bytes(b"\xff" + whole.encode())
    assert remembered.get() is None
    file.write_text("torn li" + "\n" + whole)
    assert remembered.get() == remembered.run


def test_what_has_just_been_written_may_be_written_again_and_is_not_remembered(
    remembered: Remembered, tmp_path: Path
) -> None:
    shutil.rmtree(tmp_path / "outputs")
    edit(remembered.weights)
    memo = remembered.memo()
    memo.get(remembered.overrides)
    memo.put([remembered.plan().meaning(remembered.tree)])
    assert not (tmp_path / "outputs").exists()


def test_without_a_place_to_write_nothing_is_remembered_and_nothing_fails(
    remembered: Remembered, tmp_path: Path
) -> None:
    shutil.rmtree(tmp_path / "outputs")
    (tmp_path / "outputs").write_text("a file")
    memo = remembered.memo()
    memo.put([remembered.plan().meaning(remembered.tree)])
    assert memo.get(remembered.overrides) is None


def test_a_defaults_list_that_asks_the_environment_is_not_remembered(remembered: Remembered, tmp_path: Path) -> None:
    (remembered.conf / "config.yaml").write_text("defaults:\n  - model: ${oc.env:MODEL}\n")
    age(tmp_path)
    remembered.memo().put([remembered.plan().meaning(remembered.tree)])
    assert remembered.get() is None


def test_a_rerun_is_never_skipped(remembered: Remembered, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "outputs")
    tree = {**remembered.tree, "runtime": {**remembered.tree["runtime"], "retrain": True}}
    remembered.memo().put([make_job(tree, remembered.overrides).meaning(tree)])
    assert remembered.get() is None


@pytest.mark.parametrize("value", ["${oc.env:HOME}", "a ${now:%Y} b", "${ my.own : 1}"])
def test_a_value_from_a_resolver_does_not_last(value: str) -> None:
    assert is_cacheable({"a": {"b": ["${seed}", 1]}}) and not is_cacheable({"a": {"b": [value]}})


def test_old_memories_are_cleared_away(remembered: Remembered, tmp_path: Path) -> None:
    for number in range(20):
        (remembered.conf / "config.yaml").write_text(f"seed: {number}\n")
        age(tmp_path)
        remembered.memo().put([remembered.plan().meaning(remembered.tree)])
        assert remembered.get() == remembered.run
    assert len(list((tmp_path / "outputs" / "memo").iterdir())) == 8


@pytest.mark.parametrize(
    "arguments",
    [
        ["-m", "seed=0"],
        ["--cfg", "job"],
        ["--help"],
        ["hydra.mode=MULTIRUN"],
        ["hydra/sweeper=optuna"],
        ["--config-dir"],
    ],
)
def test_only_a_single_run_takes_the_shortest_way(
    remembered: Remembered, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    known = remembered.overrides
    assert skip_finished([*known, "hydra.run.dir=logs"], remembered.conf)
    assert capsys.readouterr().out.startswith(f"already finished {remembered.run.id}: accuracy ")
    assert not skip_finished([*known, *arguments], remembered.conf)
    assert not skip_finished([*arguments, *known], remembered.conf)
    assert not capsys.readouterr().out


def test_the_stamp_of_a_folder_knows_names_sizes_and_times_but_not_compiled_modules(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "inner" / "__pycache__").mkdir(parents=True)
    (folder / "inner" / "a").write_text("1")
    before = stamp(str(folder)).text
    (folder / "inner" / "__pycache__" / "a.pyc").write_text("compiled")
    assert stamp(str(folder)).text == before
    (folder / "inner" / "a").rename(folder / "a")
    assert stamp(str(folder)).text not in ("", before)
    (folder / "loop").symlink_to(folder)
    looped = stamp(str(folder)).text
    (folder / "a").write_text("other")
    assert looped and stamp(str(folder)).text not in ("", looped)
    assert stamp(str(tmp_path / "nothing")).text == ""
