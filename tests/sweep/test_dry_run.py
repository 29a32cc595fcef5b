"""`sweep.dry_run=true` shows the images and groups of each split, and refuses what cannot be trained."""

import csv
from pathlib import Path

import pytest

from crackdet.config.composing import compose
from crackdet.core.errors import UserError
from crackdet.sweep.dry_run import dry_run
from tests.jobs import job_of


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
    assert shown.count("data: 1 group in valid; fewer than 6 tell nothing apart; raise data.valid_fraction") == 1


def test_a_dry_run_refuses_batches_that_cannot_be_trained(base_overrides: list[str]) -> None:
    network = ("model=torchvision", "model.name=shufflenet_v2_x0_5", "model.weights=null", "data.image_size=32")
    with pytest.raises(UserError, match=r"trainer\.batch_size=1: shufflenet_v2_x0_5 has batch normalization"):
        dry_run([job_of(compose([*network, *base_overrides, "trainer.batch_size=1"]))])
