"""The detector example, run as a user runs it, on a backbone trained for this test."""

import re
from pathlib import Path

from crackdet.backbone.export import export
from tests.composing import compose
from tests.jobs import train
from tests.preloaded import run_python

EXAMPLE = Path(__file__).parents[2] / "examples" / "detector.py"


def test_a_detector_with_an_exported_backbone_beats_one_with_random_weights(tmp_path: Path, cache: Path) -> None:
    config = compose(
        [
            "model.conv_out=[32,64]", "model.linear_features=64", "data.num_images=400", "data.difficulty=0.2",
            "trainer.max_epochs=4", "optimizer.learning_rate=1e-3", f"runtime.store={tmp_path / 'runs'}",
            f"runtime.cache={cache}", "runtime.device=cpu",
        ]
    )  # fmt: skip
    export(train(config), tmp_path / "backbone")
    options = ["--steps", "30", "--seeds", "1", "--test-scenes", "20"]
    result = run_python([EXAMPLE, tmp_path / "backbone", *options], tmp_path)
    assert result.returncode == 0, result.stderr
    precisions = {
        start: [float(value) for value in re.findall(rf"{start} +(\d\.\d+) ", result.stdout)]
        for start in ("exported", "untrained")
    }
    assert [len(values) for values in precisions.values()] == [1, 1]
    # measured on nine pairs: 0.09 to 0.24 exported, 0.00 to 0.04 untrained, at least 4.3 times as much
    assert precisions["exported"][0] > 2 * precisions["untrained"][0]
