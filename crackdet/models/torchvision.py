"""Classification networks of torchvision as feature extractors, with their published weights."""

import re
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torchvision.models
from torch import Tensor, nn
from torchvision.models import get_model_builder, get_model_weights, list_models

from crackdet.config.messages import suggest
from crackdet.core.errors import UserError
from crackdet.core.reading import file_digest
from crackdet.models.architecture import UNKNOWN_LICENSE, Architecture, InitialWeights
from crackdet.models.classifier import UNNORMALIZED, Normalization

NUM_CLASSES = 1000  # of ImageNet
SELF_NORMALIZING = ("googlenet", "inception_v3")  # with published weights they convert [0, 1] to [-1, 1] themselves
AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")  # classifiers that are used only in the network's original training


class TorchvisionArchitecture(Architecture):
    """A torchvision network by name, with its last layer (as in the article) or without.

    Raises:
        UserError: If torchvision has no classification network of this name.
    """

    def __init__(self, name: str, keep_last_layer: bool = False) -> None:
        names = list_models(module=torchvision.models)
        if name not in names:
            raise UserError(f"model.name={name}: torchvision has no such classification network{suggest(name, names)}")
        options = {"aux_logits": False, "init_weights": True} if name in SELF_NORMALIZING else {}
        super().__init__(name, partial(get_model_builder(name), weights=None, **options))
        self.keep_last_layer = keep_last_layer

    def feature_extractor(self, full_model: nn.Module) -> nn.Module:
        if self.keep_last_layer:
            return full_model
        sizes = ("out_features", "out_channels")
        layers = [n for n, m in full_model.named_modules() if NUM_CLASSES in (getattr(m, size, 0) for size in sizes)]
        if not layers:
            raise UserError(
                f"model.name={self.name}: this network has no last layer with {NUM_CLASSES} outputs that could be "
                "removed; choose another network"
            )
        parent, _, child = layers[-1].rpartition(".")
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
        by_name = get_model_weights(self.name).__members__
        published = self._by_digest(weights.removeprefix("sha256:")) or by_name.get(weights)
        if published is None:
            return UNKNOWN_LICENSE
        if stated := published.meta.get("license"):
            return f"{stated} ({published})"
        return f"torchvision states none for {published}; its code is BSD-3-Clause"

    def _by_digest(self, digest: str) -> Any:
        """Return the published weights whose file has this SHA-256, or None; file names end with its first digits."""
        for published in get_model_weights(self.name):
            match = re.search(r"-([0-9a-f]{8,})\.", Path(published.url).name)
            if match and digest.startswith(match[1]):
                return published
        return None

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
            return state, UNNORMALIZED
        if self.name in SELF_NORMALIZING:
            return state, Normalization([0.5] * 3, [0.5] * 3)
        transforms = published.transforms()
        return state, Normalization(list(transforms.mean), list(transforms.std))
