"""What a family of networks has to say for itself; one file per family implements it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from crackdet.core.errors import UserError

UNKNOWN_LICENSE = "not known: of the file that training started from"


@dataclass(frozen=True)
class InitialWeights:
    """Weights to start from, and the normalisation of pixels in [0, 1] that they expect (per RGB channel)."""

    state: dict[str, Tensor]
    mean: list[float] | None = None
    std: list[float] | None = None


class Architecture(Protocol):
    """A network as published, and the feature extractor it becomes."""

    def full_model(self) -> nn.Module:
        """The network with random weights, as its published weights know it."""

    def features(self, whole: nn.Module) -> nn.Module:
        """The feature extractor in it."""

    def check_published(self, weights: str) -> None:
        """Raises UserError where there are no published weights of this name."""

    def default_weights(self) -> str:
        """The exact name of what DEFAULT means; raises UserError where there are no published weights."""

    def published(self, weights: str) -> InitialWeights:
        """The published weights of this name; raises UserError where they cannot be had."""

    def known_file(self, file: Path, state: dict[str, Tensor]) -> InitialWeights:
        """Weights that the user has as a file, with the normalisation where the file is known."""

    def license(self, weights: str) -> str:
        """What is known of the licence of weights, given by their published name or as sha256:DIGEST."""


class PlainArchitecture:
    """What networks have in common that are their own feature extractor and have no published weights."""

    name = ""

    def features(self, whole: nn.Module) -> nn.Module:
        return whole

    def check_published(self, weights: str) -> None:
        raise UserError(self._none(weights))

    def default_weights(self) -> str:
        raise UserError(self._none("DEFAULT"))

    def published(self, weights: str) -> InitialWeights:
        raise UserError(self._none(weights))

    def known_file(self, file: Path, state: dict[str, Tensor]) -> InitialWeights:
        return InitialWeights(state)

    def license(self, weights: str) -> str:
        return UNKNOWN_LICENSE

    def _none(self, weights: str) -> str:
        return (
            f"model.weights={weights}: must be a .pth or .safetensors file, or null; "
            f"{self.name} has no published weights"
        )
