"""Configuration -> classifier: `build(config)` gives the network that a run trains."""

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
from crackdet.models.architecture import Architecture, InitialWeights
from crackdet.models.classifier import Classifier, feature_dimension
from crackdet.models.flops import MetaFlopCounter
from crackdet.store.identity import is_weights_file

log = logging.getLogger(__name__)

OWN = "feature_extractor."  # how the backbone's tensors begin in the weights of a run


def build(config: Config | DictConfig | Mapping[str, Any]) -> Classifier:
    """The classifier of a configuration, with the initial weights that `seed` and `model.weights` decide.

    Raises:
        UserError: for weights that cannot be had or do not fit, or an image size the network cannot take.
    """
    if not isinstance(config, Config):
        config = parse(config)
    dimension = check(config)
    torch.manual_seed(config.seed)
    family = _architecture(config.model)
    extractor, mean, std = _with_weights(config.model, family, family.full_model())
    return _classifier(config, extractor, dimension, mean, std)


def build_on_meta(config: Config) -> Classifier:
    """The classifier of a configuration on the meta device: without memory for its weights.

    Raises:
        UserError: as `check`.
    """
    with torch.device("meta"):
        return _classifier(config, _extractor_on_meta(config.model), check(config))


def load_trained(config: Config, file: Path) -> Classifier:
    """The trained classifier of a run: its network with the weights that were published.

    Raises:
        UserError: where the file is missing, damaged, or of another network.
    """
    model = build(replace(config, model=replace(config.model, weights=None)))
    weight_files.load(model, weight_files.read(file, "weights"), str(file))
    return model


def feature_extractor(model: Model) -> nn.Module:
    """The feature extractor of a network, with random weights.

    Raises:
        UserError: where there is no such network.
    """
    family = _architecture(model)
    return family.features(family.full_model())


def load_trained_features(model: Model, file: Path) -> tuple[nn.Module, list[float] | None, list[float] | None]:
    """The trained feature extractor of a run without its linear layers, and mean and std of the pixels it expects.

    Raises:
        UserError: where the file is missing, damaged, or of another network.
    """
    family = _architecture(model)
    return _with_weights(replace(model, weights=str(file)), family, family.full_model())


def license_of(model: Model, weights: str | None) -> str:
    """What is known of the licence of initial weights, given as an identity names them: exact name or digest."""
    if weights is None:
        return "random initial weights"
    return _architecture(model).license(weights)


def check(config: Config) -> int:
    """Refuses, without computing anything, a network that cannot be built; gives the feature dimension.

    Raises:
        UserError: as `build`; but weights are not looked for.
    """
    model = config.model
    if model.weights is not None and not is_weights_file(model.weights):
        _architecture(model).check_published(model.weights)
    return feature_dimension(_extractor_on_meta(model), config.data.image_size, model.name)


def default_weights(model: Model) -> str:
    """The exact name of what `model.weights=DEFAULT` means with the torchvision that is installed.

    Raises:
        UserError: where the network has no published weights.
    """
    return _architecture(model).default_weights()


def check_weights(config: Config) -> None:
    """As `check`, and reads the initial weights to see that they are there and fit.

    Raises:
        UserError: as `build`.
    """
    check(config)
    family = _architecture(config.model)
    _with_weights(config.model, family, _on_meta(family))


def feature_flops(config: Config) -> int:
    """Floating-point operations of the feature extractor for one image; what a detector pays for it."""
    return _flops(_extractor_on_meta(config.model), config.data.image_size)


def depthwise_share(config: Config) -> float:
    """Share of the feature extractor's floating-point operations that is in depthwise convolutions."""
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
    counted = MetaFlopCounter()
    with torch.no_grad(), counted:
        extractor.eval()(torch.empty(1, 3, size, size, device="meta"))
    return counted.flops


def _classifier(
    config: Config,
    extractor: nn.Module,
    dimension: int,
    mean: list[float] | None = None,
    std: list[float] | None = None,
) -> Classifier:
    model = config.model
    return Classifier(
        extractor,
        dimension,
        model.linear_features,
        config.data.image_size,
        input_mean=model.input_mean or mean,
        input_std=model.input_std or std,
        freeze_features=model.freeze_features,
        freeze_batchnorm=model.batchnorm == "eval",
    )


def _extractor_on_meta(model: Model) -> nn.Module:
    """The feature extractor without memory for its weights."""
    family = _architecture(model)
    return family.features(_on_meta(family))


def _on_meta(family: Architecture) -> nn.Module:
    try:
        with torch.device("meta"):
            return family.full_model()
    except (RuntimeError, UserError):  # a constructor that looks into tensors, as RegNet's does for its widths
        with torch.random.fork_rng(devices=[]):
            return family.full_model().to("meta")


def _architecture(model: Model) -> Architecture:
    """Each family is imported where it is needed: torchvision takes seconds."""
    if isinstance(model, CustomModel):
        from crackdet.models.custom import CustomArchitecture

        return CustomArchitecture(model)
    if isinstance(model, UserModel):
        from crackdet.models.user import UserArchitecture

        return UserArchitecture(model)
    from crackdet.models.torchvision import TorchvisionArchitecture

    if isinstance(model, ResNeXt50Model):
        return TorchvisionArchitecture("resnext50_32x4d", keep_last_layer=True)
    return TorchvisionArchitecture(model.name)


def _with_weights(
    model: Model, family: Architecture, whole: nn.Module
) -> tuple[nn.Module, list[float] | None, list[float] | None]:
    """The feature extractor, and the normalisation that belongs to its weights."""
    if model.weights is None:
        return family.features(whole), None, None
    key = f"model.weights={model.weights}"
    if is_weights_file(model.weights):
        path = Path(model.weights).expanduser()
        state = weight_files.read(path)
        if any(name.startswith(OWN) for name in state):  # the weights of another run
            extractor = family.features(whole)
            weight_files.load(extractor, {n.removeprefix(OWN): t for n, t in state.items() if n.startswith(OWN)}, key)
            mean, std = (
                state[name].flatten().tolist() if name in state else None for name in ("input_mean", "input_std")
            )
            return extractor, mean, std
        initial = family.known_file(path, state)
    else:
        initial = family.published(model.weights)
    weight_files.load(whole, initial.state, key)
    if not next(whole.parameters()).is_meta:
        _warn_of_unknown_pixels(model, initial)
    return family.features(whole), initial.mean, initial.std


def _warn_of_unknown_pixels(model: Model, initial: InitialWeights) -> None:
    if initial.mean is None and model.input_mean is None:
        log.warning(
            "model.weights=%s: what these weights expect of pixels is not known; they stay in [0, 1]. "
            "Say it with model.input_mean and model.input_std",
            model.weights,
        )
