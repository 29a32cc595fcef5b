"""The end of a sweep if not everything can be written."""

from pathlib import Path

import numpy as np
import pytest

from crackdet.sweep.finalize import finalize
from tests.analysis.runs import publish, simulate_logits


def test_the_summary_is_printed_even_if_it_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    labels = np.arange(20) % 2 == 0
    publish(tmp_path, labels, simulate_logits(labels, 3.0, 1), 10, width=1)
    (tmp_path / "summary.json").mkdir()
    with pytest.raises(SystemExit) as ended:
        finalize(tmp_path)
    assert ended.value.code == 1 and "summary.json: cannot be written" in caplog.text
    assert "accuracy" in capsys.readouterr().out
