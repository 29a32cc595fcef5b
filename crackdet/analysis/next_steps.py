"""The commands to type after a decision, and how to make the decision firmer."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from crackdet.analysis.narrative import num_to_fine_tune
from crackdet.metrics.sample_size import MIN_OBSERVATIONS

if TYPE_CHECKING:
    from crackdet.analysis.decision import Decision

MIN_SEEDS = 3
Z = 1.96  # standard errors in half of a 95 % interval
MAX_IMAGES_RATIO = 50  # more times the present images are not advised


@dataclass(frozen=True)
class NextStep:
    """A command, and its purpose in a few words."""

    purpose: str
    command: str


def next_commands(decision: "Decision") -> list[NextStep]:
    """Return the commands that use the recommended run, or that look at the best one if none is recommended."""
    recommended = decision.best_is_above_chance
    run = (decision.recommended if recommended else decision.best).run
    store = run.root.resolve()
    shown = store.relative_to(Path.cwd()) if store.is_relative_to(Path.cwd()) else run.root
    where = f"{run.id} --store {shlex.quote(str(shown))}"
    if decision.is_screen:
        return [NextStep("Fine-tune the best candidates", _fine_tune(decision))]
    steps = [
        NextStep("Look at its feature maps", f"crackdet inspect {where}"),
        NextStep("Check whether the saliency lies on the cracks, if the data has masks", f"crackdet pointing {where}"),
    ]
    if recommended:
        steps += [
            NextStep("Classify other images", f"crackdet predict {where} FOLDER"),
            NextStep("Evaluate it on other labelled images", f"crackdet evaluate {where} data=folder data.root=FOLDER"),
            NextStep("Export the backbone for a detector", f"crackdet export {where} --to backbone"),
        ]
    return steps


def firmer_answers(decision: "Decision") -> list[str]:
    """Return how to make the decision firmer, the most effective advice first; empty if nothing is in doubt."""
    groups = decision.num_groups
    found = []
    if groups is not None and groups < MIN_OBSERVATIONS:
        found.append(
            f"Use more groups: with {groups} validation group{'s' * (groups > 1)}, no difference can be significant. "
            "Raise data.valid_fraction, or photograph more walls."
        )
    if len(decision.undecided) > 1 and (groups is None or groups >= MIN_OBSERVATIONS):
        found.append(_more_images(decision))
    if not decision.is_screen and not _has_seeds(decision):
        found.append(
            f"Train the best settings with {MIN_SEEDS} seeds or more (seed={','.join(map(str, range(MIN_SEEDS)))}): "
            "fewer runs do not show how much the result varies from training to training."
        )
    if not decision.best.setting("data.test_fraction"):
        found.append(
            "Keep images for a final check (data.test_fraction=0.2, or a folder named test), and evaluate the chosen "
            "run on these images once with crackdet summary --test. The run was chosen on the validation images, so "
            "its score on the validation images is too high."
        )
    return [text for text in found if text]


def _fine_tune(decision: "Decision") -> str:
    """Return the command of a sweep over the best candidates of a screen, on the same data."""
    same = [text for text in decision.best.overrides if re.match(r"data\b|runtime\.(store|cache)=", text)]
    swept = [f"sweep.top={num_to_fine_tune(decision)}", "optimizer.learning_rate=1e-4,1e-3"]
    return shlex.join(["python", "train.py", "-m", *swept, *same])


def _more_images(decision: "Decision") -> str:
    """Say how many validation images would distinguish the best two runs, if the difference stays the same."""
    differences = [run.difference for run in decision.undecided[1:] if run.difference is not None]
    gap = min((one for one in differences if one.value > 0), key=lambda one: one.value, default=None)
    observation, number = "images", decision.num_images
    if decision.num_groups is not None:
        observation, number = "groups", decision.num_groups
    more = "Use more validation " + observation
    if gap is None:
        return f"{more}: some runs score the same as the best on these."
    ratio = (Z * gap.error / gap.value) ** 2
    if ratio > MAX_IMAGES_RATIO:
        return f"Choose by cost: no affordable number of {observation} would distinguish runs that are this close."
    needed = _rounded(max(ratio, 1.0) * number)
    return (
        f"{more}: if the difference from the next run stays {100 * gap.value:.2g} points, about {needed:,} "
        f"(now {number:,}) would distinguish the two runs."
    )


def _rounded(number: float) -> int:
    """Return a number rounded up to two digits."""
    digits = max(len(str(int(number))) - 2, 0)
    return int(-(-number // 10**digits) * 10**digits)


def _has_seeds(decision: "Decision") -> bool:
    return all(len(one.rows) >= MIN_SEEDS for one in decision.combinations[:2])
