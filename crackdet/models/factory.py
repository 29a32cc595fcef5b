"""Configuration -> classifier: `build(config)` returns the network that a run trains."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import nn

from crackdet.config.parsing import parse
from crackdet.config.schema import Config, CustomModel, Model, ResNeXt50Model, TimmModel, UserModel
from crackdet.config.user_model import import_target
from crackdet.core.errors import UserError
from crackdet.core.files import expand_home
from crackdet.models import weights as weight_files
from crackdet.models.architecture import Architecture
from crackdet.models.batchnorm import check_batch_size
from crackdet.models.classifier import (
    UNNORMALIZED,
    Classifier,
    Head,
    Normalization,
    feature_dimension,
    linear_head,
    mlp_head,
)
from crackdet.models.custom import CustomFeatures
from crackdet.models.flops import MetaFlopCounter
from crackdet.models.memo import once_per_network
from crackdet.store.identity import is_weights_file

log = logging.getLogger(__name__)

PREFIX = "feature_extractor."  # of the backbone's tensors in the weights of a run


def architecture(model: Model) -> Architecture:
    """Return the architecture of a model configuration."""
    if isinstance(model, CustomModel):
        return Architecture(model.name, partial(CustomFeatures, model.conv_out))
    if isinstance(model, UserModel):
        return Architecture(model.name, partial(_user_network, model))
    if isinstance(model, TimmModel):
        from crackdet.models.timm import TimmArchitecture  # takes seconds

        return TimmArchitecture(model.name)
    from crackdet.models.torchvision import TorchvisionArchitecture  # takes seconds

    if isinstance(model, ResNeXt50Model):
        return TorchvisionArchitecture("resnext50_32x4d", keep_last_layer=True)
    return TorchvisionArchitecture(model.name)


def _user_network(model: UserModel) -> nn.Module:
    target, arguments = model.target, model.arguments
    try:
        network = import_target(target)(**arguments)
    except Exception as error:  # a user's network may raise anything
        raise UserError(f"model._target_={target}: fails with arguments {arguments}: {error}") from error
    if not isinstance(network, nn.Module):
        raise UserError(f"model._target_={target}: must return a torch.nn.Module, not {type(network).__name__}")
    return network


def build(config: Config | DictConfig | Mapping[str, Any]) -> Classifier:
    """Return the classifier of a configuration, with the initial weights that `seed` and `model.weights` determine.

    Raises:
        UserError: If the weights are not available or do not fit, or the network does not accept the image size.
    """
    if not isinstance(config, Config):
        config = parse(config)
    dimension = validate_model(config)
    torch.manual_seed(config.seed)
    extractor, normalization = _load_initial_weights(config.model)
    if config.model.freeze_features:
        return _classifier(config, extractor, build_head(config, dimension), normalization)
    return _classifier(config, extractor, _head(config, dimension), normalization)


def build_head(config: Config, dimension: int) -> Head:
    """Return the head of a frozen run with its initial weights, which do not depend on the feature extractor."""
    torch.manual_seed(config.seed)
    return _head(config, dimension)


def build_on_meta(config: Config) -> Classifier:
    """Return the classifier of a configuration on the meta device, without memory for its weights."""
    with torch.device("meta"):
        return _classifier(config, feature_extractor(config.model, on_meta=True), _head(config, validate_model(config)))


def load_trained(config: Config, file: Path) -> Classifier:
    """Return the trained classifier of a run, with its published weights.

    Raises:
        UserError: If the file is missing, damaged, or from another network.
    """
    model = build(replace(config, model=replace(config.model, weights=None)))
    weight_files.load_strict(model, weight_files.read_state_dict(file, "weights"), str(file))
    return model


def feature_extractor(model: Model, on_meta: bool = False) -> nn.Module:
    """Return the feature extractor of a network with random weights, or on the meta device without memory for them."""
    family = architecture(model)
    return family.feature_extractor(_full_model(family, on_meta))


def load_trained_features(model: Model, file: Path) -> tuple[nn.Module, list[float] | None, list[float] | None]:
    """Return the trained feature extractor of a run, and mean and std of the pixels that it expects.

    Raises:
        UserError: If the file is missing, damaged, or from another network.
    """
    extractor, expected = _load_initial_weights(replace(model, weights=str(file)))
    return extractor, expected.mean, expected.std


@once_per_network
def validate_model(config: Config) -> int:
    """Return the feature dimension; raise UserError as `build`, but compute nothing and load no weights."""
    model = config.model
    if model.weights is not None and not is_weights_file(model.weights):
        architecture(model).check_weights_name(model.weights)
    return feature_dimension(feature_extractor(model, on_meta=True), config.data.image_size, model.name)


def validate_initial_weights(config: Config) -> None:
    """Raise UserError if the network cannot be built or trained, or its initial weights do not exist or do not fit."""
    validate_model(config)
    check_batch_size(config, partial(build_on_meta, config))
    _check_initial_weights(config)


@once_per_network
def _check_initial_weights(config: Config) -> None:
    _load_initial_weights(config.model, on_meta=True)


def validate_network(config: Config) -> None:
    """Raise UserError as `validate_initial_weights`, but check published weights by their name, without a download."""
    if config.model.weights is None or is_weights_file(config.model.weights):
        validate_initial_weights(config)
    else:
        validate_model(config)
        check_batch_size(config, partial(build_on_meta, config))


@once_per_network
def feature_flops(config: Config) -> int:
    """Return the floating-point operations of the feature extractor for one image: what a detector will compute."""
    return count_flops(feature_extractor(config.model, on_meta=True), config.data.image_size, config.data.image_size)


@once_per_network
def extractor_bytes(config: Config) -> int:
    """Return the bytes of the feature extractor's weights."""
    return sum(tensor.nbytes for tensor in feature_extractor(config.model, on_meta=True).state_dict().values())


@once_per_network
def depthwise_share(config: Config) -> float:
    """Return the share of the feature extractor's floating-point operations that is in depthwise convolutions."""
    depthwise = 0

    def count(convolution: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        nonlocal depthwise
        assert isinstance(convolution, nn.Conv2d)
        depthwise += 2 * output.numel() * convolution.kernel_size[0] * convolution.kernel_size[1]

    extractor = feature_extractor(config.model, on_meta=True)
    for module in extractor.modules():
        if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1:
            module.register_forward_hook(count)
    total = count_flops(extractor, config.data.image_size, config.data.image_size)  # calls the hooks
    return depthwise / max(total, 1)


def count_flops(extractor: nn.Module, height: int, width: int) -> int:
    """Return the floating-point operations of a network on the meta device for one image."""
    counter = MetaFlopCounter()
    with torch.no_grad(), counter:
        extractor.eval()(torch.empty(1, 3, height, width, device="meta"))
    return counter.flops


def _head(config: Config, dimension: int) -> Head:
    return linear_head(dimension) if config.trainer.probe else mlp_head(dimension, config.model.linear_features)


def _classifier(
    config: Config, extractor: nn.Module, head: Head, normalization: Normalization = UNNORMALIZED
) -> Classifier:
    model = config.model
    return Classifier(
        extractor,
        head,
        config.data.image_size,
        Normalization(model.input_mean or normalization.mean, model.input_std or normalization.std),
        freeze_features=model.freeze_features,
        freeze_batchnorm=model.batchnorm == "eval",
    )


def _full_model(family: Architecture, on_meta: bool) -> nn.Module:
    if not on_meta:
        return family.full_model()
    try:
        with torch.device("meta"):
            return family.full_model()
    except (RuntimeError, UserError):  # a constructor that reads values of tensors, as RegNet's does for its widths
        with torch.random.fork_rng(devices=[]):
            return family.full_model().to("meta")


def _load_initial_weights(model: Model, on_meta: bool = False) -> tuple[nn.Module, Normalization]:
    """Return the feature extractor with `model.weights`, which the meta device only checks, and their normalisation."""
    family = architecture(model)
    full_model = _full_model(family, on_meta)
    if model.weights is None:
        return family.feature_extractor(full_model), UNNORMALIZED
    unused = family.unused(full_model)
    extractor = family.feature_extractor(full_model)
    key = f"model.weights={model.weights}"
    if not is_weights_file(model.weights):
        file, normalization = family.published_weights(model.weights)
        _load_weights(family, extractor, file, key, unused)
        return extractor, normalization
    file = expand_home(model.weights)
    fit, own = _load_weights(family, extractor, file, key, unused)
    if own.mean is not None:  # the weights of another run
        return extractor, own
    normalization = family.normalization_of(file)
    if fit.notes and not on_meta:
        log.info("%s: %s", file.name, "; ".join(fit.notes))
    if normalization.mean is None and model.input_mean is None and not on_meta:
        log.warning(
            "%s: the normalisation of these weights is unknown, so pixels stay in [0, 1]. "
            "Set model.input_mean and model.input_std", key,
        )  # fmt: skip
    return extractor, normalization


def _load_weights(
    family: Architecture, extractor: nn.Module, file: Path, key: str, unused: weight_files.Unused
) -> tuple[weight_files.Fit, Normalization]:
    """Load a file of weights into a feature extractor; return how it fits, and the normalisation that is in it."""
    state = family.current_state(weight_files.read_state_dict(file), extractor)
    fit = weight_files.load_fit(extractor, state, key, unused)
    names = (fit.prefix.removesuffix(PREFIX) + name for name in ("input_mean", "input_std"))
    mean, std = (state[name].flatten().tolist() if name in state else None for name in names)
    return fit, Normalization(mean, std)
