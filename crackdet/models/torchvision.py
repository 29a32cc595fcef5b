"""Classification networks of torchvision as feature extractors, with their published weights."""

import re
from pathlib import Path
from typing import Any

import torch
import torchvision.models
from torch import Tensor, nn
from torchvision.models import get_model_builder, get_model_weights, list_models

from crackdet.config.messages import suggest
from crackdet.core.errors import UserError
from crackdet.core.files import file_digest
from crackdet.models.architecture import UNKNOWN_LICENSE, InitialWeights
from crackdet.models.classifier import Normalization

NUM_CLASSES = 1000  # of ImageNet
SELF_NORMALIZING = ("googlenet", "inception_v3")  # with published weights they convert [0, 1] to [-1, 1] themselves
AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")  # classifiers that are used only in the network's original training


class TorchvisionArchitecture:
    """A torchvision network by name, with its last layer (as in the article) or without.

    Raises:
        UserError: If torchvision has no classification network of this name.
    """

    def __init__(self, name: str, keep_last_layer: bool = False) -> None:
        names = list_models(module=torchvision.models)
        if name not in names:
            raise UserError(f"model.name={name}: torchvision has no such classification network{suggest(name, names)}")
        self.name = name
        self.keep_last_layer = keep_last_layer

    def full_model(self) -> nn.Module:
        options = {"aux_logits": False, "init_weights": True} if self.name in SELF_NORMALIZING else {}
        network: nn.Module = get_model_builder(self.name)(weights=None, **options)
        return network

    def feature_extractor(self, full_model: nn.Module) -> nn.Module:
        if self.keep_last_layer:
            return full_model
        last = ""
        for name, module in full_model.named_modules():
            if NUM_CLASSES in (getattr(module, "out_features", 0), getattr(module, "out_channels", 0)):
                last = name
        parent, _, child = last.rpartition(".")
        setattr(full_model.get_submodule(parent), child, nn.Identity())
        return full_model

    def check_weights_name(self, weights: str) -> None:
        self._by_name(weights)

    def default_weights(self) -> str:
        return str(get_model_weights(self.name).DEFAULT.name)

    def download_weights(self, weights: str) -> InitialWeights:
        """Return the weights from torch's download folder, or from the network."""
        published = self._by_name(weights)
        try:
            state = published.get_state_dict(progress=False, check_hash=True)
        except (OSError, RuntimeError) as error:  # URLError is an OSError; a wrong hash is a RuntimeError
            file, folder = Path(published.url).name, Path(torch.hub.get_dir()) / "checkpoints"
            raise UserError(
                f"model.weights={weights}: {file} for {self.name} cannot be downloaded ({error}); copy the file to "
                f"{folder}, set model.weights=FILE.pth, or train from random weights: model.weights=null"
            ) from None
        return self._initial_weights(state, published)

    def identify_weights(self, file: Path, state: dict[str, Tensor]) -> InitialWeights:
        """Recognise published weights by content: the name of the file is not part of a run's identity."""
        return self._initial_weights(state, self._by_digest(file_digest(file)))

    def license(self, weights: str) -> str:
        published = self._by_digest(weights.removeprefix("sha256:"))
        if published is None and weights in get_model_weights(self.name).__members__:
            published = self._by_name(weights)
        if published is None:
            return UNKNOWN_LICENSE
        if stated := published.meta.get("license"):
            return f"{stated} ({published})"
        return f"torchvision states none for {published}; its code is BSD-3-Clause"

    def _by_digest(self, digest: str) -> Any:
        """Return the published weights whose file has this SHA-256, or None."""
        return next((w for w in get_model_weights(self.name) if digest.startswith(_digest_in_name(w.url))), None)

    def _by_name(self, weights: str) -> Any:
        published = get_model_weights(self.name).__members__
        if weights not in published:
            raise UserError(
                f"model.weights={weights}: must be one of {', '.join(published)} for {self.name}, "
                "a .pth or .safetensors file, or null"
            )
        return published[weights]

    def _initial_weights(self, state: dict[str, Tensor], published: Any) -> InitialWeights:
        state = {name: tensor for name, tensor in state.items() if not name.startswith(AUXILIARY)}
        if published is None:
            return InitialWeights(state)
        if self.name in SELF_NORMALIZING:
            return InitialWeights(state, Normalization([0.5] * 3, [0.5] * 3))
        transforms = published.transforms()
        return InitialWeights(state, Normalization(list(transforms.mean), list(transforms.std)))


def _digest_in_name(url: str) -> str:
    """Return the first digits of the SHA-256, which torchvision puts at the end of a file's name."""
    match = re.search(r"-([0-9a-f]{8,})\.", Path(url).name)
    return match.group(1) if match else "none"
