"""The commands after a decision, and the advice for a firmer one."""

import shlex
from pathlib import Path

import numpy as np

from crackdet.analysis.next_steps import firmer_answers, next_commands
from crackdet.analysis.ranking import summarize
from crackdet.cli.main import app
from crackdet.store.run import Run
from tests.analysis.runs import LABELS, publish


def logits_with(mistakes: int, start: int = 0) -> np.ndarray:
    logits = np.where(LABELS, 1.0, -1.0)
    logits[start : start + mistakes] *= -1
    return logits


def publish_two(store: Path, mistakes: int, start: int = 0, **options: object) -> tuple[Run, Run]:
    best = publish(store, LABELS, logits_with(6), width=1, **options)  # type: ignore[arg-type]
    return best, publish(store, LABELS, logits_with(mistakes, start), width=2, **options)  # type: ignore[arg-type]


def test_the_commands_name_the_recommended_run_and_exist(tmp_path: Path) -> None:
    best, _ = publish_two(tmp_path / "a store", 100)
    decision = summarize(tmp_path / "a store").decisions[0]
    commands = [shlex.split(step.command) for step in next_commands(decision)]
    known = {command.name or command.callback.__name__ for command in app.registered_commands}  # type: ignore[union-attr]
    assert {words[1] for words in commands} <= known and {"inspect", "export", "predict"} <= {w[1] for w in commands}
    assert all(words[2] == best.id and str(best.root) in words for words in commands)


def test_a_run_at_chance_is_not_exported(tmp_path: Path) -> None:
    publish(tmp_path, LABELS, logits_with(150), width=1)
    words = " ".join(step.command for step in next_commands(summarize(tmp_path).decisions[0]))
    assert "inspect" in words and "export" not in words


def test_a_close_second_asks_for_a_number_of_images(tmp_path: Path) -> None:
    publish_two(tmp_path, 10, start=6)
    (advice,) = (text for text in firmer_answers(summarize(tmp_path).decisions[0]) if "more validation images" in text)
    assert "(now 300)" in advice
    needed = int(advice.partition("about ")[2].partition(" ")[0].replace(",", ""))
    # 10 against 6 mistakes on different images: the error is sqrt(16) / 300, the gap 4 / 300
    by_hand = 300 * (1.96 * 16**0.5 / 4) ** 2
    assert by_hand <= needed <= 1.15 * by_hand, "Agresti and Min's interval is a little wider"


def test_few_groups_are_advised_against_first(tmp_path: Path) -> None:
    groups = [str(index % 4) for index in range(300)]
    publish_two(tmp_path, 12, groups=groups)
    advice = firmer_answers(summarize(tmp_path).decisions[0])
    assert "4 validation groups" in advice[0] and "data.valid_fraction" in advice[0]
    assert not any("more validation" in text for text in advice)


def test_seeds_are_advised_until_there_are_three(tmp_path: Path) -> None:
    for width in (1, 2):
        for seed in range(3):
            publish(tmp_path / "many", LABELS, logits_with(5 * width + seed), width=width, seed=seed)
        publish(tmp_path / "one", LABELS, logits_with(5 * width), width=width)
    assert any("seed=0,1,2" in text for text in firmer_answers(summarize(tmp_path / "one").decisions[0]))
    assert not any("seed=0,1,2" in text for text in firmer_answers(summarize(tmp_path / "many").decisions[0]))
