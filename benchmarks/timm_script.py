"""Run timm's own train.py on a network of crackdet: `python -m benchmarks.timm_script TRAIN_PY OVERRIDES ARGUMENTS...`.

The network has the weights that the seed gives it, and two outputs, 0 and its logit: their cross-entropy is the
binary cross-entropy of the logit. OVERRIDES is a JSON list of crackdet's settings; the ARGUMENTS are those of train.py.
"""

import json
import runpy
import sys
from typing import Any

import torch
from timm.models import register_model
from torch import Tensor, nn

from crackdet.config.composing import compose
from crackdet.models.factory import build

MODEL = "crackdet_classifier"


class TwoOutputs(nn.Module):
    """A classifier with one output per class, as timm's script expects."""

    num_classes = 2

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        logits = self.classifier(images)
        return torch.stack([torch.zeros_like(logits), logits], 1)


def main() -> None:
    _, script, overrides, *arguments = sys.argv

    def crackdet_classifier(pretrained: bool = False, **_: Any) -> nn.Module:
        return TwoOutputs(build(compose(json.loads(overrides))))

    register_model(crackdet_classifier)
    sys.argv = [script, "--model", MODEL, *arguments]
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main()
