"""`sweep.dry_run=true`: what it refuses, the times that it expects, and the images and groups of each split."""

import csv
from pathlib import Path

import pytest
import torch

from crackdet.core.errors import UserError
from crackdet.core.files import write_json
from crackdet.models.factory import build
from crackdet.sweep.dry_run import dry_run
from crackdet.sweep.grid import validate_jobs
from tests.composing import compose
from tests.conftest import TINY
from tests.jobs import Configure, job_of, train


@pytest.fixture
def small(base_overrides: list[str]) -> Configure:
    """As `tiny`, but of any network."""
    settings = [override for override in TINY if not override.startswith("model.conv_out")]
    return lambda *overrides: compose([*settings, *base_overrides, *overrides])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.weights={folder}/other.pth"], "other.pth: .*fit"),
        (["model.weights={folder}/broken.pth"], "broken.pth: cannot be read as weights"),
        (["model=torchvision", "model.name=vgg11", "model.weights=null", "data.image_size=24"], "data.image_size=24"),
        (["model=resnet18", "model.weights=null", "trainer.batch_size=1"], "trainer.batch_size=1: resnet18 has batch"),
        (["model=torchvision", "model.name=resnet18", "model.weights=IMAGENET1K_V9"], "must be one of IMAGENET1K_V1"),
    ],
)
def test_what_a_sweep_would_refuse_is_refused_with_its_combination(
    small: Configure, tmp_path: Path, overrides: list[str], message: str
) -> None:
    torch.save(build(small("model.conv_out=[3]")).feature_extractor.state_dict(), tmp_path / "other.pth")
    (tmp_path / "broken.pth").write_bytes(b"no weights")
    overrides = [override.format(folder=tmp_path) for override in overrides]
    jobs = [job_of(small(), "seed=0"), job_of(small(*overrides), *overrides)]
    with pytest.raises(UserError, match=rf"(?s)1 of 2 combinations are invalid.*{overrides[-1]}.*{message}"):
        validate_jobs(jobs, read=False)
    assert not (tmp_path / "runs").exists()


def test_published_weights_are_not_downloaded(
    small: Configure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    validate_jobs([job_of(small("model=resnet18"))], read=False)
    assert not list(tmp_path.rglob("*.pth"))


def test_times_are_those_of_the_same_network_or_called_rough(
    tiny: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    def shown(*overrides: str) -> str:
        dry_run([job_of(tiny(*overrides))])
        return capsys.readouterr().out

    assert "?" in shown("seed=1")
    run = train(tiny())
    same, other = shown("seed=1"), shown("model.conv_out=[4]")
    assert "1 runs of custom, 0 of them finished, 1 to train, at most 1 s of training" in same and "~" not in same
    assert "at most ~1 s of training (~: rough" in other
    write_json(run.provenance_file, {**run.snapshot().provenance, "processor": "another"})
    assert "?" in shown("seed=1"), "a run on another machine tells nothing about this one"


def test_a_dry_run_counts_the_groups_once_and_says_if_they_are_too_few(
    photographs: Path, base_overrides: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with (photographs / "manifest.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "wall"])
        for folder in ("Positive", "Negative"):
            names = sorted(path.name for path in (photographs / folder).iterdir())
            rows.writerows([f"{folder}/{name}", f"wall{number % 4}"] for number, name in enumerate(names))
    data = ("data=folder", f"data.root={photographs}", "data.groups=wall", "data.image_size=16")
    network = ("model.conv_out=[4]", "model.linear_features=8")
    configs = [compose([*data, *network, *base_overrides, f"seed={seed}"]) for seed in (0, 1)]
    dry_run([job_of(config, f"seed={config.seed}") for config in configs])
    shown = capsys.readouterr().out
    counts = [line.split("│")[2:7] for line in shown.splitlines() if line.startswith("│ valid")]
    assert [[int(cell) for cell in cells] for cells in counts] == [[2, 2, 1, 1, 1]], shown
    warning = "data: 1 group in the valid split; at least 6 are needed to compare networks; add groups"
    assert shown.count(warning) == 1, shown  # of four groups in all, no share gives six
