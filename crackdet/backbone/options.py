"""The options of loading and exporting a backbone; importable without torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from crackdet.core.errors import UserError

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # per RGB channel: the defaults of torchvision's detectors
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class LoadOptions:
    """See `crackdet.load_backbone`."""

    pyramid: bool = False
    trainable_stages: int | None = None
    freeze_batchnorm: bool = True
    image_mean: Sequence[float] = IMAGENET_MEAN
    image_std: Sequence[float] = IMAGENET_STD
    untrained: bool = False


def check_onnx() -> None:
    """Raise UserError if a package that writes or checks ONNX is not installed."""
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise UserError(f"--onnx: needs {', '.join(missing)}; run uv pip install -e '.[onnx]'")
