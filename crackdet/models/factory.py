"""Configuration -> classifier: `build(config)` returns the network that a run trains."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import nn

from crackdet.config.parsing import parse
from crackdet.config.schema import Config, CustomModel, Model, ResNeXt50Model, UserModel
from crackdet.core.errors import UserError
from crackdet.models import weights as weight_files
from crackdet.models.architecture import Architecture
from crackdet.models.classifier import UNNORMALIZED, Classifier, Normalization, feature_dimension
from crackdet.models.flops import MetaFlopCounter
from crackdet.store.identity import is_weights_file

log = logging.getLogger(__name__)

PREFIX = "feature_extractor."  # of the backbone's tensors in the weights of a run


def architecture(model: Model) -> Architecture:
    """Return the architecture of a model configuration; imports only its family, since torchvision takes seconds."""
    match model:
        case CustomModel():
            from crackdet.models.custom import CustomArchitecture

            return CustomArchitecture(model)
        case UserModel():
            from crackdet.models.user import UserArchitecture

            return UserArchitecture(model)
        case _:
            from crackdet.models.torchvision import TorchvisionArchitecture

            if isinstance(model, ResNeXt50Model):
                return TorchvisionArchitecture("resnext50_32x4d", keep_last_layer=True)
            return TorchvisionArchitecture(model.name)


def build(config: Config | DictConfig | Mapping[str, Any]) -> Classifier:
    """Return the classifier of a configuration, with the initial weights that `seed` and `model.weights` determine.

    Raises:
        UserError: If the weights are not available or do not fit, or the network does not accept the image size.
    """
    if not isinstance(config, Config):
        config = parse(config)
    dimension = validate_model(config)
    torch.manual_seed(config.seed)
    family = architecture(config.model)
    extractor, normalization = _load_initial_weights(config.model, family, family.full_model())
    return _classifier(config, extractor, dimension, normalization)


def build_on_meta(config: Config) -> Classifier:
    """Return the classifier of a configuration on the meta device, without memory for its weights."""
    with torch.device("meta"):
        return _classifier(config, _extractor_on_meta(config.model), validate_model(config))


def load_trained(config: Config, file: Path) -> Classifier:
    """Return the trained classifier of a run, with its published weights.

    Raises:
        UserError: If the file is missing, damaged, or from another network.
    """
    model = build(replace(config, model=replace(config.model, weights=None)))
    weight_files.load_strict(model, weight_files.read_state_dict(file, "weights"), str(file))
    return model


def feature_extractor(model: Model) -> nn.Module:
    """Return the feature extractor of a network, with random weights."""
    family = architecture(model)
    return family.feature_extractor(family.full_model())


def load_trained_features(model: Model, file: Path) -> tuple[nn.Module, list[float] | None, list[float] | None]:
    """Return the trained feature extractor of a run, and mean and std of the pixels that it expects.

    Raises:
        UserError: If the file is missing, damaged, or from another network.
    """
    family = architecture(model)
    extractor, expected = _load_initial_weights(replace(model, weights=str(file)), family, family.full_model())
    return extractor, expected.mean, expected.std


def weights_license(model: Model, weights: str | None) -> str:
    """Return the licence of initial weights, which are named as in a run's identity: exact name or digest."""
    return "random initial weights" if weights is None else architecture(model).license(weights)


def validate_model(config: Config) -> int:
    """Return the feature dimension; raise UserError as `build`, but compute nothing and load no weights."""
    model = config.model
    if model.weights is not None and not is_weights_file(model.weights):
        architecture(model).check_weights_name(model.weights)
    return feature_dimension(_extractor_on_meta(model), config.data.image_size, model.name)


def default_weights(model: Model) -> str:
    """Return the exact name of `model.weights=DEFAULT` in the installed torchvision."""
    return architecture(model).default_weights()


def validate_initial_weights(config: Config) -> None:
    """Raise UserError if the network cannot be built, or its initial weights do not exist or do not fit."""
    validate_model(config)
    family = architecture(config.model)
    _load_initial_weights(config.model, family, _full_model_on_meta(family))


def feature_flops(config: Config) -> int:
    """Return the floating-point operations of the feature extractor for one image: what a detector will compute."""
    return _flops(_extractor_on_meta(config.model), config.data.image_size)


def depthwise_share(config: Config) -> float:
    """Return the share of the feature extractor's floating-point operations that is in depthwise convolutions."""
    depthwise = 0

    def count(convolution: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        nonlocal depthwise
        assert isinstance(convolution, nn.Conv2d)
        depthwise += 2 * output.numel() * convolution.kernel_size[0] * convolution.kernel_size[1]

    extractor = _extractor_on_meta(config.model)
    for module in extractor.modules():
        if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1:
            module.register_forward_hook(count)
    total = _flops(extractor, config.data.image_size)
    return depthwise / max(total, 1)


def _flops(extractor: nn.Module, size: int) -> int:
    counter = MetaFlopCounter()
    with torch.no_grad(), counter:
        extractor.eval()(torch.empty(1, 3, size, size, device="meta"))
    return counter.flops


def _classifier(
    config: Config, extractor: nn.Module, dimension: int, normalization: Normalization = UNNORMALIZED
) -> Classifier:
    model = config.model
    return Classifier(
        extractor,
        dimension,
        model.linear_features,
        config.data.image_size,
        Normalization(model.input_mean or normalization.mean, model.input_std or normalization.std),
        freeze_features=model.freeze_features,
        freeze_batchnorm=model.batchnorm == "eval",
    )


def _extractor_on_meta(model: Model) -> nn.Module:
    family = architecture(model)
    return family.feature_extractor(_full_model_on_meta(family))


def _full_model_on_meta(family: Architecture) -> nn.Module:
    try:
        with torch.device("meta"):
            return family.full_model()
    except (RuntimeError, UserError):  # a constructor that reads values of tensors, as RegNet's does for its widths
        with torch.random.fork_rng(devices=[]):
            return family.full_model().to("meta")


def _load_initial_weights(model: Model, family: Architecture, full_model: nn.Module) -> tuple[nn.Module, Normalization]:
    """Load `model.weights`; return the feature extractor and the normalisation of its weights."""
    if model.weights is None:
        return family.feature_extractor(full_model), UNNORMALIZED
    key = f"model.weights={model.weights}"
    if is_weights_file(model.weights):
        path = Path(model.weights).expanduser()
        state = weight_files.read_state_dict(path)
        backbone = {n.removeprefix(PREFIX): tensor for n, tensor in state.items() if n.startswith(PREFIX)}
        if backbone:  # the weights of another run
            extractor = family.feature_extractor(full_model)
            weight_files.load_strict(extractor, backbone, key)
            mean, std = (state[n].flatten().tolist() if n in state else None for n in ("input_mean", "input_std"))
            return extractor, Normalization(mean, std)
        initial = family.identify_weights(path, state)
    else:
        initial = family.download_weights(model.weights)
    weight_files.load_strict(full_model, initial.state, key)
    is_meta = next(full_model.parameters()).is_meta  # only checked, to be loaded later
    if initial.normalization.mean is None and model.input_mean is None and not is_meta:
        log.warning(
            "%s: the normalisation of these weights is unknown, so pixels stay in [0, 1]. "
            "Set model.input_mean and model.input_std", key,
        )  # fmt: skip
    return family.feature_extractor(full_model), initial.normalization
