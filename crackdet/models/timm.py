"""Networks of timm as feature extractors: the network with `num_classes=0`, whose output is its pooled features."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from crackdet.config.messages import suggest
from crackdet.core.errors import UserError
from crackdet.core.licenses import UNKNOWN
from crackdet.models.architecture import UNKNOWN_LICENSE, Architecture
from crackdet.models.classifier import UNNORMALIZED, Normalization
from crackdet.models.timm_weights import published_file
from crackdet.models.weights import Unused, fit

try:
    import timm
    from timm.models import (
        _builder,
        get_arch_pretrained_cfgs,
        get_deprecated_models,
        get_pretrained_cfg,
        is_model,
    )
except ImportError:
    raise UserError("model=timm: timm is not installed; uv pip install -e '.[timm]' installs it") from None

# Arguments of vision transformers that accept images of another size than the one of their weights; tried in this order
ANY_SIZE: tuple[dict[str, Any], ...] = ({"dynamic_img_size": True}, {"strict_img_size": False}, {})

Convert = Callable[[dict[str, Tensor], nn.Module], dict[str, Tensor]]


class TimmArchitecture(Architecture):
    """A network of timm by its name, without the tag of weights.

    Raises:
        UserError: If timm has no network of this name.
    """

    def __init__(self, name: str) -> None:
        if name in (renamed := get_deprecated_models()):
            now = f"is {renamed[name]} now" if renamed[name] else "is no longer part of timm"
            raise UserError(f"model.name={name}: this network {now}")
        if not is_model(name):
            raise UserError(f"model.name={name}: timm has no such network{_similar(name)}")
        super().__init__(name, lambda: create(name))

    def unused(self, full_model: nn.Module) -> Unused:
        """Return the last layer, and whatever else `num_classes=0` leaves out."""
        with torch.device("meta"):
            published: Any = timm.create_model(self.name)
        lacking = published.state_dict().keys() - full_model.state_dict().keys()
        head = str(published.pretrained_cfg.get("classifier"))
        classes = int(published.pretrained_cfg.get("num_classes") or 0)
        return Unused(head if any(name.startswith(f"{head}.") for name in lacking) else "", classes, tuple(lacking))

    def check_weights_name(self, weights: str) -> None:
        self._by_tag(weights)

    def default_weights(self) -> str:
        if not self._published:
            raise self._no_published_weights("DEFAULT")
        default: Any = get_pretrained_cfg(self.name)
        return str(default.tag) if default.tag in self._published else next(iter(self._published))

    def published_weights(self, weights: str) -> tuple[Path, Normalization]:
        """Return the file in the cache of the Hugging Face hub or in torch's, downloaded if it is missing."""
        published = self._by_tag(weights)
        return published_file(published, f"model.weights={weights}"), _normalization(published)

    def normalization_of(self, file: Path) -> Normalization:
        """Return the normalisation that all published weights of this network share; unknown if they differ."""
        shared = {(tuple(each.mean), tuple(each.std)): _normalization(each) for each in self._published.values()}
        return next(iter(shared.values())) if len(shared) == 1 else UNNORMALIZED

    def current_state(self, state: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
        """Return the tensors, renamed as timm does it for older and foreign files if only these fit."""
        unused = self.unused(network)
        for is_converted in (False, True):
            with suppress(Exception):  # of a file of another network; reported later
                converted = dict(_converter(self.name)(dict(state), network) if is_converted else state)
                if not fit(network.state_dict(), converted, "", unused).problems:
                    return converted
        return dict(state)

    def license(self, weights: str) -> str:
        if (published := self._published.get(weights)) is None:
            return UNKNOWN_LICENSE
        origin = f", {published.origin_url}" if published.origin_url else ""
        return f"{published.license or f'{UNKNOWN}: timm states none'} ({self.name}.{weights} of timm{origin})"

    @property
    def _published(self) -> dict[str, Any]:
        """The configuration of each tag that has weights."""
        return {str(each.tag): each for each in get_arch_pretrained_cfgs(self.name).values() if each.has_weights}

    def _by_tag(self, weights: str) -> Any:
        if not self._published:
            raise self._no_published_weights(weights)
        if weights == "DEFAULT":
            weights = self.default_weights()
        if weights not in self._published:
            raise UserError(
                f"model.weights={weights}: must be one of {', '.join(self._published)} for {self.name}, "
                "a .pth or .safetensors file, or null"
            )
        return self._published[weights]


def create(name: str) -> nn.Module:
    """Return the feature extractor with random weights, for images of any size if the network can have one."""
    for options in ANY_SIZE:
        try:
            network: nn.Module = timm.create_model(name, num_classes=0, **options)
        except TypeError as error:  # the network has no such argument
            if not any(option in str(error) for option in options):
                raise
        else:
            return network
    raise AssertionError("the last attempt has no options")


@cache
def _converter(name: str) -> Convert:
    """Return the function that timm applies to a file of weights before it is loaded into this network.

    timm does not publish these functions, which differ between families; it hands them to `load_pretrained`.
    """
    found: list[Convert | None] = []

    def record(_network: nn.Module, *_: object, filter_fn: Convert | None = None, **__: object) -> None:
        found.append(filter_fn)

    builder: Any = _builder
    original, builder.load_pretrained = builder.load_pretrained, record
    try:
        with torch.device("meta"):
            timm.create_model(name, pretrained=True)
    finally:
        builder.load_pretrained = original
    return (found[0] if found else None) or (lambda state, _network: state)


def _normalization(published: Any) -> Normalization:
    return Normalization(list(published.mean), list(published.std))


def _similar(name: str) -> str:
    names = timm.list_models()
    hint = suggest(name, names)
    return hint if "did you mean" in hint else "; timm.list_models() lists them"
