"""A cached command is skipped until something that was read for it changes."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from crackdet.config.parsing import parse
from crackdet.config.schema import Config, to_dict
from crackdet.core.files import SETTLE_SECONDS
from crackdet.running.command_cache import MAX_VERSIONS, ROOT, SINGLE, CommandCache, is_cacheable
from crackdet.running.execute import execute
from crackdet.running.fast_path import skip_finished
from crackdet.running.job import Job, make_job
from crackdet.running.stamps import stamp
from crackdet.store.run import Run
from tests.composing import compose

NETWORK = """
import torch

class Net(torch.nn.Sequential):
    def __init__(self, width: int) -> None:
        super().__init__(torch.nn.Conv2d(3, width, 3), torch.nn.AdaptiveAvgPool2d(1))
"""


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as settled as soon as a command begins: their times of change cannot be set back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("crackdet.running.command_cache.SETTLE_SECONDS", 0)


class CachedRun:
    """A finished run of a user's network, with weights from a file and images from a folder, and its cache entry."""

    def __init__(self, folder: Path, images: Path, overrides: list[str]) -> None:
        self.conf, self.images = folder / "conf", images
        self.source, self.weights = folder / f"{folder.name}.py", folder / "initial.pth"
        self.manifest = folder / "walls.csv"
        self.conf.mkdir()
        (self.conf / "config.yaml").write_text("seed: 0\n")
        self.source.write_text(NETWORK)
        names = [path.relative_to(images).as_posix() for path in images.rglob("*.png")]
        self.manifest.write_text("path,wall\n" + "".join(f"{name},{i}\n" for i, name in enumerate(names)))
        base = to_dict(
            compose(
                ["data=folder", f"data.root={images}", "data.image_size=32", "data.groups=wall",
                 f"data.manifest={self.manifest}", "trainer.max_epochs=1", "trainer.batch_size=4", *overrides]
            )
        )  # fmt: skip
        model = {"_target_": f"{folder.name}.Net", "name": "net", "width": 4, "linear_features": 8, "weights": None}
        self.save_weights(parse({**base, "model": model}))
        self.tree = {**base, "model": {**model, "weights": str(self.weights)}}
        self.overrides = ["model=net"]
        self.put()
        assert self.get() is None, "not trained yet"
        execute(self.job())
        self.run = self.job().run

    def save_weights(self, config: Config) -> None:
        import torch

        from crackdet.models.factory import build

        torch.save(build(config).feature_extractor.state_dict(), self.weights)

    def cache(self) -> CommandCache:
        return CommandCache([self.conf], f"{SINGLE} config")

    def job(self) -> Job:
        return make_job(self.tree, self.overrides)

    def put(self) -> CommandCache:
        """Write the cache entry as a command does, and return the command's cache."""
        cache = self.cache()
        cache.get(self.overrides)
        cache.put([self.job().cache_entry(self.tree)])
        return cache

    def get(self) -> Run | None:
        return self.cache().get(self.overrides)


@pytest.fixture
def cached(tmp_path: Path, photographs: Path, base_overrides: list[str]) -> CachedRun:
    return CachedRun(tmp_path, photographs, base_overrides)


def edit(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


def exchange_two_images(cached: CachedRun) -> None:
    """Correct two labels: both files have the same size and time."""
    first, second = (next((cached.images / name).iterdir()) for name in ("Positive", "Negative"))
    for path in (first, second):
        path.write_bytes(path.read_bytes().ljust(10_000))
        os.utime(path, (1.5e9, 1.5e9))
    cached.put()
    execute(cached.job())
    cached.put()
    assert cached.get() is not None
    first.rename(cached.images / "temporary")
    second.rename(first)
    (cached.images / "temporary").rename(second)


CHANGES: dict[str, Callable[[CachedRun], object]] = {
    "a configuration file": lambda cached: edit(cached.conf / "config.yaml"),
    "another configuration file": lambda cached: (cached.conf / "more.yaml").write_text("a: 1\n"),
    "an image": lambda cached: edit(next(cached.images.rglob("*.png"))),
    "another image": lambda cached: shutil.copy(
        next(cached.images.glob("Positive/*")), cached.images / "Negative" / "more.png"
    ),
    "the name of an image": lambda cached: next(cached.images.rglob("*.png")).rename(
        cached.images / "Positive" / "other.png"
    ),
    "two images": exchange_two_images,
    "the manifest": lambda cached: edit(cached.manifest),
    "the initial weights": lambda cached: edit(cached.weights),
    "the network's source": lambda cached: edit(cached.source),
    "the result": lambda cached: cached.run.result_file.unlink(),
    "the history": lambda cached: edit(cached.run.history_file),
    "missing weights": lambda cached: cached.weights.unlink(),
}


def test_a_finished_run_is_found_by_its_overrides_and_the_kind_of_command(cached: CachedRun) -> None:
    assert cached.get() == cached.run
    assert cached.cache().get(["model=other"]) is None
    assert CommandCache([cached.conf], "job config").get(cached.overrides) is None


@pytest.mark.parametrize("what", list(CHANGES))
def test_an_entry_is_invalid_after_a_change_of(cached: CachedRun, what: str) -> None:
    CHANGES[what](cached)
    assert cached.get() is None


@pytest.mark.parametrize("link", [".#config.yaml", "more.yaml"])
def test_a_dangling_link_hides_no_change(cached: CachedRun, link: str) -> None:
    (cached.conf / link).symlink_to("somebody@somewhere:1")  # as editors leave beside an unsaved file
    cached.put()
    assert cached.get() == cached.run
    edit(cached.conf / "config.yaml")
    assert cached.get() is None


def test_an_entry_is_valid_only_in_the_folder_of_its_command(
    cached: CachedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    shutil.copytree(tmp_path / "outputs", "outputs")
    assert cached.get() is None


def test_a_corrupt_entry_is_ignored_until_it_is_written_again(cached: CachedRun, tmp_path: Path) -> None:
    (file,) = (tmp_path / ROOT).glob("*/*")
    text = file.read_text()
    for content in (text[:-20], "", "\n \n", "[]", "{}", "null", text + text):
        file.write_text(content)
        assert cached.get() is None
    file.write_bytes(b"\xff" + text.encode())
    assert cached.get() is None
    cached.put()
    assert cached.get() == cached.run


def edit_and_restore_the_time(path: Path) -> None:
    status = path.stat()
    edit(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("change", [edit, edit_and_restore_the_time])
def test_a_command_that_reads_a_file_written_just_now_is_not_cached(
    change: Callable[[Path], None], cached: CachedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(tmp_path / "outputs")
    monkeypatch.setattr("crackdet.running.command_cache.SETTLE_SECONDS", SETTLE_SECONDS)
    change(cached.weights)
    cached.put()
    assert not (tmp_path / "outputs").exists()


def test_a_cache_that_cannot_be_written_stays_empty(cached: CachedRun, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "outputs")
    (tmp_path / "outputs").write_text("a file")
    assert cached.put().get(cached.overrides) is None


def test_a_defaults_list_that_reads_the_environment_is_not_cached(cached: CachedRun, tmp_path: Path) -> None:
    (cached.conf / "config.yaml").write_text("defaults:\n  - model: ${oc.env:MODEL}\n")
    cached.put()
    assert cached.get() is None


def test_a_command_that_retrains_is_not_cached(cached: CachedRun, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "outputs")
    cached.tree = {**cached.tree, "runtime": {**cached.tree["runtime"], "retrain": True}}
    cached.put()
    assert cached.get() is None


@pytest.mark.parametrize("value", ["${oc.env:HOME}", "a ${now:%Y} b", "${ my.own : 1}"])
def test_a_configuration_with_a_resolver_is_not_cacheable(value: str) -> None:
    assert is_cacheable({"a": {"b": ["${seed}", 1]}}) and not is_cacheable({"a": {"b": [value]}})


def test_entries_of_old_configuration_files_are_deleted(cached: CachedRun, tmp_path: Path) -> None:
    for number in range(20):
        (cached.conf / "config.yaml").write_text(f"seed: {number}\n")
        cached.put()
        assert cached.get() == cached.run
    assert len(list((tmp_path / ROOT).iterdir())) == MAX_VERSIONS == 8


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
def test_only_a_single_run_is_skipped_before_hydra_is_imported(
    cached: CachedRun, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert skip_finished([*cached.overrides, "hydra.run.dir=logs"], cached.conf)
    assert capsys.readouterr().out.startswith(f"already finished {cached.run.id}: accuracy ")
    assert not skip_finished([*cached.overrides, *arguments], cached.conf)
    assert not skip_finished([*arguments, *cached.overrides], cached.conf)
    assert not capsys.readouterr().out


def test_the_stamp_of_a_folder_covers_names_sizes_and_times_but_not_compiled_modules(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "inner" / "__pycache__").mkdir(parents=True)
    (folder / "inner" / "a").write_text("1")
    before = stamp(str(folder)).text
    (folder / "inner" / "__pycache__" / "a.pyc").write_text("compiled")
    assert stamp(str(folder)).text == before
    (folder / "inner" / "a").rename(folder / "a")
    assert stamp(str(folder)).text not in ("", before)
    (folder / "loop").symlink_to(folder)
    with_link = stamp(str(folder)).text
    (folder / "a").write_text("other")
    assert with_link and stamp(str(folder)).text not in ("", with_link)
    assert stamp(str(tmp_path / "nothing")).text == ""
