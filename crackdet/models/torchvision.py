"""Classification networks of torchvision as feature extractors, with their published weights."""

import re
from pathlib import Path
from typing import Any

import torch
import torchvision.models
from torch import Tensor, nn
from torchvision.models import get_model_builder, get_model_weights, list_models

from crackdet.config.messages import nearest
from crackdet.core.errors import UserError
from crackdet.core.files import file_digest
from crackdet.models.architecture import UNKNOWN_LICENSE, InitialWeights

NUM_CLASSES = 1000  # of ImageNet
TRANSFORMING = ("googlenet", "inception_v3")  # with published weights they turn [0, 1] into [-1, 1] themselves
AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")  # classifiers beside the network that only its own training needs


class TorchvisionArchitecture:
    """A network by its name in torchvision; its last layer is kept as in the article, or cut off.

    Raises:
        UserError: where torchvision has no classification network of this name.
    """

    def __init__(self, name: str, keep_last_layer: bool = False) -> None:
        known = list_models(module=torchvision.models)
        if name not in known:
            raise UserError(f"model.name={name}: torchvision has no such classification network{nearest(name, known)}")
        self.name = name
        self.keep_last_layer = keep_last_layer

    def full_model(self) -> nn.Module:
        options: dict[str, Any] = {}
        if self.name in TRANSFORMING:
            options = {"aux_logits": False, "init_weights": True}
        network: nn.Module = get_model_builder(self.name)(weights=None, **options)
        return network

    def features(self, whole: nn.Module) -> nn.Module:
        if self.keep_last_layer:
            return whole
        last = ""
        for name, module in whole.named_modules():
            if NUM_CLASSES in (getattr(module, "out_features", 0), getattr(module, "out_channels", 0)):
                last = name
        parent, _, child = last.rpartition(".")
        setattr(whole.get_submodule(parent), child, nn.Identity())
        return whole

    def check_published(self, weights: str) -> None:
        self._published(weights)

    def published(self, weights: str) -> InitialWeights:
        """From torch's folder of downloads, or the network."""
        chosen = self._published(weights)
        file = Path(chosen.url).name
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        try:
            state = chosen.get_state_dict(progress=False, check_hash=True)
        except (OSError, RuntimeError) as error:  # URLError is an OSError; a wrong hash is a RuntimeError
            raise UserError(
                f"model.weights={weights}: {file} for {self.name} cannot be downloaded ({error}); put the file into "
                f"{folder}, or give its place as model.weights=FILE.pth, or train without: model.weights=null"
            ) from None
        return self._with_normalisation(state, chosen)

    def known_file(self, file: Path, state: dict[str, Tensor]) -> InitialWeights:
        """Published weights are known by their content, whatever the file is called now.

        The name of the file must not decide: it is no part of a run's identity.
        """
        return self._with_normalisation(state, self._of_digest(file_digest(file)))

    def license(self, weights: str) -> str:
        chosen = self._of_digest(weights.removeprefix("sha256:"))
        if chosen is None and weights in get_model_weights(self.name).__members__:
            chosen = self._published(weights)
        if chosen is None:
            return UNKNOWN_LICENSE
        stated = chosen.meta.get("license")
        return f"{stated} ({chosen})" if stated else f"torchvision states none for {chosen}; its code is BSD-3-Clause"

    def default_weights(self) -> str:
        return str(get_model_weights(self.name).DEFAULT.name)

    def _of_digest(self, digest: str) -> Any:
        """The published weights whose file has this SHA-256; None where there are none."""
        return next((w for w in get_model_weights(self.name) if digest.startswith(_published_digest(w.url))), None)

    def _published(self, weights: str) -> Any:
        known = get_model_weights(self.name).__members__
        if weights not in known:
            raise UserError(
                f"model.weights={weights}: must be one of {', '.join(known)} for {self.name}, "
                "a .pth or .safetensors file, or null"
            )
        return known[weights]

    def _with_normalisation(self, state: dict[str, Tensor], chosen: Any) -> InitialWeights:
        state = {name: tensor for name, tensor in state.items() if not name.startswith(AUXILIARY)}
        if chosen is None:
            return InitialWeights(state)
        if self.name in TRANSFORMING:
            return InitialWeights(state, [0.5] * 3, [0.5] * 3)
        transforms = chosen.transforms()
        return InitialWeights(state, list(transforms.mean), list(transforms.std))


def _published_digest(url: str) -> str:
    """The beginning of the SHA-256 that torchvision puts at the end of a file's name."""
    match = re.search(r"-([0-9a-f]{8,})\.", Path(url).name)
    return match.group(1) if match else "none"
