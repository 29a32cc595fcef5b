"""The interface of a model family, which by itself serves families without published weights.

To add a family, write an `Architecture` in a file of this package and its test, a schema class in `config/schema.py`
with an entry in `config/groups.py`, a file in `conf/model/`, and a case in `factory.architecture`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from crackdet.core.errors import UserError
from crackdet.core.licenses import UNKNOWN
from crackdet.models.classifier import UNNORMALIZED, Normalization
from crackdet.models.weights import NOTHING, Unused

UNKNOWN_LICENSE = f"{UNKNOWN}: see the source of the initial weights file"


@dataclass
class Architecture:
    """A network as published, and the feature extractor in it; here the network itself, without published weights."""

    name: str
    full_model: Callable[[], nn.Module]  # returns the network that published weights fit, with random weights

    def feature_extractor(self, full_model: nn.Module) -> nn.Module:
        """Return the feature extractor of the full model, which may be changed in place."""
        return full_model

    def check_weights_name(self, weights: str) -> None:
        """Raise UserError if there are no published weights of this name."""
        raise self._no_published_weights(weights)

    def default_weights(self) -> str:
        """Return the exact name of DEFAULT; raise UserError if there are no published weights."""
        raise self._no_published_weights("DEFAULT")

    def published_weights(self, weights: str) -> tuple[Path, Normalization]:
        """Return the file of the published weights of this name, and the normalisation that they were trained with.

        Raises:
            UserError: If the file is not available, or is not the published one.
        """
        raise self._no_published_weights(weights)

    def normalization_of(self, file: Path) -> Normalization:
        """Return the normalisation of a local file of weights, known if the file is a published one."""
        return UNNORMALIZED

    def current_name(self, name: str) -> str:
        """Return the present name of a tensor that older weights may name differently."""
        return name

    def current_state(self, state: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
        """Return the tensors of a file of weights by their present names; `network` is the feature extractor."""
        return {self.current_name(name): tensor for name, tensor in state.items()}

    def unused(self, full_model: nn.Module) -> Unused:
        """Return what `feature_extractor` removes from the full model."""
        return NOTHING

    def license(self, weights: str) -> str:
        """Return the licence of weights, given by their published name or as sha256:DIGEST."""
        return UNKNOWN_LICENSE

    def _no_published_weights(self, weights: str) -> UserError:
        return UserError(
            f"model.weights={weights}: must be a .pth or .safetensors file, or null; "
            f"{self.name} has no published weights"
        )
