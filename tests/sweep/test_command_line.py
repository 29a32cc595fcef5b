"""Single values that not every option of a sweep accepts are left to the jobs."""

import sys

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from crackdet.sweep.command_line import acceptable_arguments, leave_to_jobs, restore_arguments

SWEPT = ["-m", "optimizer=adam,sgd", "model=custom,resnet18", "data=choice(synthetic,folder)"]
VALUES = ["0.8", "1e-3", "true", "[8,16]", "{a:1}", "/a/b c", "'a,b'", "a\\,b", "'[x'", "x:y@z", "7", "text", "''"]


@given(key=st.sampled_from(["optimizer.momentum", "model.conv_out", "data.root"]), value=st.sampled_from(VALUES))
def test_a_single_value_becomes_a_choice_of_the_same_value(key: str, value: str) -> None:
    *others, text = leave_to_jobs([*SWEPT, f"{key}={value}"])
    assert others == SWEPT
    parser = OverridesParser.create()
    override = parser.parse_override(text)
    assert override.is_sweep_override()
    (choice,) = override.sweep_string_iterator()
    assert parser.parse_override(f"{key}={choice}").value() == parser.parse_override(f"{key}={value}").value()


@pytest.mark.parametrize(
    "text",
    [
        "optimizer.learning_rate=0.1", "data.image_size=32", "scheduler.gamma=0.1", "seed=1", "runtime.store=x",
        "optimizer.momentum=0.8,0.9", "+optimizer.momentum=0.8", "~optimizer.momentum", "data.masks=null",
        "data.root=${oc.env:HOME}", "sweep.dry_run=true", "hydra.sweep.dir=x", "optimizer.momentum=[", "--config-dir",
    ],
)  # fmt: skip
def test_other_arguments_stay_as_they_are(text: str) -> None:
    assert leave_to_jobs([*SWEPT, text]) == [*SWEPT, text]


def test_without_a_swept_group_nothing_changes() -> None:
    assert leave_to_jobs(["-m", "optimizer.momentum=0.8", "seed=0,1"]) == ["-m", "optimizer.momentum=0.8", "seed=0,1"]


def test_runs_record_the_arguments_that_the_user_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    typed = ["train.py", *SWEPT, "optimizer.momentum=0.8"]
    monkeypatch.setattr(sys, "argv", typed)
    with acceptable_arguments():
        assert sys.argv[-1] == "optimizer.momentum=choice(0.8)"
        restore_arguments()
        assert sys.argv == typed
    assert sys.argv == typed
