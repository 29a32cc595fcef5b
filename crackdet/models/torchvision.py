"""Classification networks of torchvision as feature extractors, with their published weights."""

import logging
import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torchvision.models
from torch import nn
from torchvision.models import VisionTransformer, get_model_builder, get_model_weights, list_models

from crackdet.config.groups import TIMM
from crackdet.config.messages import suggest
from crackdet.config.timm_names import timm_names
from crackdet.core.errors import UserError, first_line
from crackdet.core.files import SETTLE_SECONDS, change_stamp
from crackdet.core.licenses import UNKNOWN
from crackdet.core.reading import file_digest
from crackdet.models.architecture import UNKNOWN_LICENSE, Architecture
from crackdet.models.checkpoint_file import describe_content
from crackdet.models.classifier import UNNORMALIZED, Normalization
from crackdet.models.torchvision_vit import MapVisionTransformer
from crackdet.models.weights import Unused

NUM_CLASSES = 1000  # of ImageNet
SELF_NORMALIZING = ("googlenet", "inception_v3")  # with published weights they convert [0, 1] to [-1, 1] themselves
AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")  # classifiers that are used only in the network's original training
HASH = re.compile(r"-([0-9a-f]{8,})\.[a-z]+$")  # the first digits of a published file's SHA-256, in its name
OLDER_NAMES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (  # in files that are published
    (re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)"), lambda found: f"{found[1]}{found[2]}"),
    (re.compile(r"(encoder_layer_\d+\.mlp)\.linear_([12])\."), lambda found: f"{found[1]}.{3 * int(found[2]) - 3}."),
)

log = logging.getLogger(__name__)
_verified: dict[Path, tuple[int, ...]] = {}  # stamps of published files whose SHA-256 this process found right


class TorchvisionArchitecture(Architecture):
    """A torchvision network by name, with its last layer (as in the article) or without.

    Raises:
        UserError: If torchvision has no classification network of this name.
    """

    def __init__(self, name: str, keep_last_layer: bool = False) -> None:
        names = list_models(module=torchvision.models)
        if name not in names:
            other = f"; timm has: give model={TIMM}{name}" if name in timm_names() else suggest(name, names)
            raise UserError(f"model.name={name}: torchvision has no such classification network{other}")
        options = {"aux_logits": False, "init_weights": True} if name in SELF_NORMALIZING else {}
        super().__init__(name, partial(get_model_builder(name), weights=None, **options))
        self.keep_last_layer = keep_last_layer

    def feature_extractor(self, full_model: nn.Module) -> nn.Module:
        if self.keep_last_layer:
            return full_model
        if isinstance(full_model, VisionTransformer):
            full_model.__class__ = MapVisionTransformer  # which has more methods, and no other attributes
        parent, _, child = self._last_layer(full_model).rpartition(".")
        setattr(full_model.get_submodule(parent), child, nn.Identity())
        return full_model

    def unused(self, full_model: nn.Module) -> Unused:
        """Return the last layer and the auxiliary classifiers.

        The last layer includes the modules around it that have no other weights, because users often replace them all.
        """
        if self.keep_last_layer:
            return Unused(others=AUXILIARY)
        head, weights = self._last_layer(full_model), list(full_model.state_dict())
        own = sum(name.startswith(f"{head}.") for name in weights)
        while (parent := head.rpartition(".")[0]) and sum(name.startswith(f"{parent}.") for name in weights) == own:
            head = parent
        return Unused(head, NUM_CLASSES, AUXILIARY)

    def current_name(self, name: str) -> str:
        for pattern, replacement in OLDER_NAMES:
            name = pattern.sub(replacement, name)
        return name

    def _last_layer(self, full_model: nn.Module) -> str:
        sizes = ("out_features", "out_channels")
        layers: list[str] = [
            n for n, m in full_model.named_modules() if NUM_CLASSES in (getattr(m, size, 0) for size in sizes)
        ]
        if not layers:
            raise UserError(
                f"model.name={self.name}: this network has no last layer with {NUM_CLASSES} outputs that could be "
                "removed; choose another network"
            )
        return layers[-1]

    def check_weights_name(self, weights: str) -> None:
        self._by_name(weights)

    def default_weights(self) -> str:
        return str(get_model_weights(self.name).DEFAULT.name)

    def published_weights(self, weights: str) -> tuple[Path, Normalization]:
        """Return the file in torch's download folder, downloaded if it is missing; its SHA-256 has been compared."""
        published = self._by_name(weights)
        file = Path(torch.hub.get_dir()) / "checkpoints" / Path(published.url).name
        match = HASH.search(file.name)
        if not file.exists():
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                hash_prefix = match[1] if match else None
                torch.hub.download_url_to_file(published.url, str(file), hash_prefix, progress=False)
            except (OSError, RuntimeError) as error:  # URLError is an OSError; a wrong hash is a RuntimeError
                raise UserError(
                    f"model.weights={weights}: {file.name} for {self.name} cannot be downloaded ({first_line(error)}); "
                    f"copy the file to {file.parent}, set model.weights=FILE.pth, or train from random weights: "
                    "model.weights=null"
                ) from None
        if match is None:
            log.warning("%s: cannot be verified, because its name has no digest", file)
        elif found := _wrong_content(file, match[1]):
            raise UserError(
                f"model.weights={weights}: {file} is not the published file of this name ({found}); delete "
                f"the file to download it again, or load it as a file of your own: model.weights={file}"
            )
        return file, self._normalization(published)

    def normalization_of(self, file: Path) -> Normalization:
        """Recognise published weights by content: the name of the file is not part of a run's identity."""
        return self._normalization(self._by_digest(file_digest(file)))

    def license(self, weights: str) -> str:
        by_name = get_model_weights(self.name).__members__
        published = self._by_digest(weights.removeprefix("sha256:")) or by_name.get(weights)
        if published is None:
            return UNKNOWN_LICENSE
        if stated := published.meta.get("license"):
            return f"{stated} ({published})"
        return f"{UNKNOWN}: torchvision states none for {published}; its code is BSD-3-Clause"

    def _by_digest(self, digest: str) -> Any:
        """Return the published weights whose file has this SHA-256, or None; file names end with its first digits."""
        for published in get_model_weights(self.name):
            match = HASH.search(Path(published.url).name)
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

    def _normalization(self, published: Any) -> Normalization:
        if published is None:
            return UNNORMALIZED
        if self.name in SELF_NORMALIZING:
            return Normalization([0.5] * 3, [0.5] * 3)
        transforms = published.transforms()
        return Normalization(list(transforms.mean), list(transforms.std))


def _wrong_content(file: Path, digest: str) -> str | None:
    """Return what a file holds if its SHA-256 does not begin with `digest`; an unchanged file is read once."""
    try:
        status = file.stat()
        stamp = change_stamp(status)
        if _verified.get(file) == stamp:
            return None
        found = file_digest(file)
        if not found.startswith(digest):
            return describe_content(file) or f"its SHA-256 begins with {found[: len(digest)]}"
    except OSError as error:
        return error.strerror or str(error)
    if time.time() - status.st_ctime > SETTLE_SECONDS:  # else it may change again without a change of its times
        _verified[file] = stamp
    return None
