"""Gradual unfreezing (ULMFiT, Howard and Ruder 2018): the head first, then stage by stage from the top."""

from torch import nn

from crackdet.models.classifier import Classifier
from crackdet.models.layers import parameter_layers, stage_layers


class GradualUnfreezing:
    """Which parameters of a classifier are trained in an epoch.

    Args:
        model: The classifier; parameters that are frozen already stay so.
        epochs: Number of epochs of the head alone, and of each further stage.
    """

    def __init__(self, model: Classifier, epochs: int) -> None:
        extractor = model.feature_extractor
        self._extractor, self._epochs = extractor, epochs
        parameters = {name: parameter for name, parameter in extractor.named_parameters() if parameter.requires_grad}
        stages = stage_layers(parameter_layers(extractor), model.stages(), extractor)
        self._stages: list[list[nn.Parameter]] = [
            [parameters[name] for layer in stage for name in layer if name in parameters] for stage in stages
        ]

    def apply(self, epoch: int) -> None:
        """Freeze the stages whose turn comes after this epoch, counted from 1; they are in evaluation mode."""
        num_frozen = len(self._stages) - (epoch - 1) // self._epochs
        for number, stage in enumerate(self._stages):
            for parameter in stage:
                parameter.requires_grad_(number >= num_frozen)
        for module in self._extractor.modules():
            parameters = list(module.parameters())
            if parameters and not any(parameter.requires_grad for parameter in parameters):
                module.eval()
