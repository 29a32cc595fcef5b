"""What a run trains, and what it publishes: a whole network, or a head on frozen features."""

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from crackdet.models.classifier import Classifier, Head
from crackdet.training.frozen import FrozenExtractor
from crackdet.training.latency import LatencyMeter, add_head

HEAD_PREFIX = "classifier."  # of the head's tensors in the weights of a run


class Network(Protocol):
    """What training and publishing need to know of a network."""

    @property
    def num_parameters(self) -> int: ...

    @property
    def feature_dimension(self) -> int: ...

    def weights(self, best: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the weights to publish, given those of the trained part in the best epoch."""
        ...

    def sample_costs(self, seconds: float, images_per_second: float) -> None:
        """Measure between two epochs of a run that has taken so many seconds."""

    def costs(self, batch_size: int, seconds: float) -> dict[str, float]:
        """Return latency and throughput of the classifier and of its feature extractor."""
        ...


class WholeNetwork:
    """A network that is trained end to end."""

    def __init__(self, classifier: nn.Module, precision: str) -> None:
        assert isinstance(classifier, Classifier)
        self._classifier = classifier
        self._meter = LatencyMeter(classifier, precision)

    @property
    def num_parameters(self) -> int:
        return self._classifier.num_parameters

    @property
    def feature_dimension(self) -> int:
        return self._classifier.feature_dimension

    def weights(self, best: dict[str, Tensor]) -> dict[str, Tensor]:
        return best

    def sample_costs(self, seconds: float, images_per_second: float) -> None:
        self._meter.sample(seconds, images_per_second)

    def costs(self, batch_size: int, seconds: float) -> dict[str, float]:
        return self._meter.result(batch_size, seconds)


class FrozenNetwork:
    """A head that is trained on the features of an extractor; the extractor's costs were measured with its features."""

    def __init__(self, head: nn.Module, extractor: FrozenExtractor, costs: Mapping[str, float], precision: str) -> None:
        assert isinstance(head, Head)
        self._head, self._extractor, self._costs, self._precision = head, extractor, costs, precision

    @property
    def num_parameters(self) -> int:
        frozen = self._extractor.classifier.feature_extractor.parameters()
        return sum(parameter.numel() for parameter in (*frozen, *self._head.parameters()))

    @property
    def feature_dimension(self) -> int:
        return self._head.feature_dimension

    def weights(self, best: dict[str, Tensor]) -> dict[str, Tensor]:
        state = self._extractor.classifier.state_dict()
        frozen = {
            name: tensor.detach().to("cpu", memory_format=torch.contiguous_format)
            for name, tensor in state.items()
            if not name.startswith(HEAD_PREFIX)
        }
        return frozen | {HEAD_PREFIX + name: tensor for name, tensor in best.items()}

    def sample_costs(self, seconds: float, images_per_second: float) -> None:
        pass

    def costs(self, batch_size: int, seconds: float) -> dict[str, float]:
        return add_head(self._costs, self._head, batch_size, self._precision)
