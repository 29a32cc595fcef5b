"""What a detector takes over from a run: the parameters of the feature extractor, its operations, its license."""

from crackdet.config.schema import Config, Model
from crackdet.core.licenses import RANDOM
from crackdet.models.factory import architecture, count_flops, feature_extractor
from crackdet.models.memo import once_per_network

# Pixels of the images that torchvision's FasterRCNN gives its backbone by default, for a photograph of 3:4: the shorter
# side becomes 800, and the batch is padded to multiples of 32 (torchvision.models.detection.transform)
DETECTOR_HEIGHT, DETECTOR_WIDTH = 800, 1088


@once_per_network
def feature_parameters(config: Config) -> int:
    """Return the number of parameters of the feature extractor."""
    return sum(parameter.numel() for parameter in feature_extractor(config.model, on_meta=True).parameters())


@once_per_network
def detector_flops(config: Config) -> int | None:
    """Return the floating-point operations of the feature extractor for one photograph in a detector.

    None if the network does not accept images of this size.
    """
    extractor = feature_extractor(config.model, on_meta=True)
    try:
        return count_flops(extractor, DETECTOR_HEIGHT, DETECTOR_WIDTH)
    except Exception:  # a user's network may raise anything
        return None


def initial_license(model: Model, weights: str | None) -> str:
    """Return the license of initial weights, given as in an identity: a published name, sha256:DIGEST or None."""
    return RANDOM if weights is None else architecture(model).license(weights)
