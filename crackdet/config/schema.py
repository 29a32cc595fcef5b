"""Every setting of `conf/`: its type, unit, range and default.

Plain dataclasses without slow imports; `crackdet.config.parsing` fills and checks them.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from crackdet.config.fields import MAX_SEED, MISSING, field
from crackdet.config.optimization import Optimizer, Scheduler

DEFAULT_VIEWS = 4  # of data.augmentation.views
MONITORS: dict[str, Literal["min", "max"]] = {  # metrics that can choose the best epoch, and their better end
    "valid_loss": "min",
    "valid_accuracy": "max",
    "valid_f1": "max",
    "valid_roc_auc": "max",
}


@dataclass
class Model:
    """The settings of every network; a user's class adds its own."""

    name: str = MISSING  # part of the run id
    linear_features: int = field(512, ge=1)  # width of the classifier's two hidden layers
    weights: str | None = None  # published name (timm: tag), .pth or .safetensors file; null: random weights
    freeze_features: bool = False  # train the classifier only
    batchnorm: str = field("train", choices=("train", "eval"))  # eval: keep the running statistics
    # normalisation per RGB channel of pixels in [0, 1]; null: the values of the weights
    input_mean: list[float] | None = field(None, min_length=3, max_length=3, ge=0, le=1)
    input_std: list[float] | None = field(None, min_length=3, max_length=3, gt=0)


@dataclass
class CustomModel(Model):
    name: str = field("custom", choices=("custom",))
    conv_out: list[int] = field([64, 128], ge=1, min_length=1)  # output channels of each convolution


@dataclass
class ResNeXt50Model(Model):
    name: str = field("resnext50", choices=("resnext50",))
    weights: str | None = "IMAGENET1K_V2"


@dataclass
class TorchvisionModel(Model):
    name: str = "mobilenet_v2"  # any classification network of torchvision
    weights: str | None = "DEFAULT"


@dataclass
class TimmModel(Model):
    library: str = field("timm", choices=("timm",))  # tells the network apart from torchvision's of the same name
    name: str = "tf_efficientnet_lite0"  # any network of timm that gives features
    weights: str | None = "DEFAULT"


@dataclass
class UserModel(Model):
    """A user's feature extractor: the dotted path of its class and the arguments of the constructor."""

    target: str = MISSING
    arguments: dict[str, Any] = field(dict)


@dataclass
class Augmentation:
    """Random changes of the training images, sampled for each image in each epoch; none by default."""

    horizontal_flip: bool = False
    vertical_flip: bool = False
    rotate90: bool = False  # by 0, 90, 180 or 270 degrees
    rotation: float = field(0.0, ge=0, le=180)  # degrees, sampled from [-rotation, rotation]
    brightness: float = field(0.0, ge=0, le=1)  # factor, sampled from [1 - x, 1 + x]
    contrast: float = field(0.0, ge=0, le=1)  # likewise
    saturation: float = field(0.0, ge=0, le=1)  # likewise
    hue: float = field(0.0, ge=0, le=0.5)  # shift on the colour circle, sampled from [-x, x]
    rand_augment: float | None = field(None, ge=0, le=10)  # magnitude of RandAugment with two operations; null: off
    # with frozen features: each image is augmented in so many ways, which alternate by epoch; null: DEFAULT_VIEWS
    views: int | None = field(None, ge=1, le=1000)

    @property
    def is_active(self) -> bool:
        """Whether anything is changed at random."""
        return self.rand_augment is not None or any(value for name, value in vars(self).items() if name != "views")


@dataclass
class Data:
    name: str = MISSING
    image_size: int = field(64, ge=1)  # pixels; every image is resized to this square
    max_images: int | None = field(None, ge=4)  # size of a stratified subset; null: all images
    valid_fraction: float = field(0.2, gt=0, lt=1)  # split off if the data has no validation split of its own
    test_fraction: float = field(0.0, ge=0, lt=1)  # split off as well; 0: no test split
    split_seed: int = field(0, ge=0, le=MAX_SEED)  # of the split and of the subset
    on_bad_image: str = field("error", choices=("error", "skip"))  # for unreadable or truncated files
    augmentation: Augmentation = field(Augmentation)


@dataclass
class SyntheticData(Data):
    name: str = field("synthetic", choices=("synthetic",))
    num_images: int = field(600, ge=4)
    crack_fraction: float = field(0.5, gt=0, lt=1)
    hard_negatives: float = field(0.5, ge=0, le=1)  # fraction of the negatives that show something crack-like
    difficulty: float = field(0.4, ge=0, le=1)  # 0: wide dark cracks; 1: hairlines and clutter
    seed: int = field(0, ge=0, le=MAX_SEED)  # of the images; replicates, which differ in `seed`, share them


@dataclass
class Trainer:
    max_epochs: int = field(25, ge=1)
    batch_size: int = field(32, ge=1)  # images
    accumulate_grad_batches: int = field(1, ge=1)  # batches per optimizer step
    patience: int = field(7, ge=1)  # epochs without a better monitor before training stops
    monitor: str = field("valid_loss", choices=tuple(MONITORS))  # chooses the best epoch
    min_delta: float = field(0.0, ge=0)  # smallest change of the monitor that counts as better
    precision: str = field("auto", choices=("auto", "fp32", "bf16"))
    compile: bool = False  # with torch.compile, which takes a minute at the start of a run
    gradient_clip_norm: float | None = field(None, gt=0)  # largest gradient norm; null: no clipping
    pos_weight: float | None = field(None, gt=0)  # weight of the crack class in the loss
    label_smoothing: float | None = field(None, ge=0, lt=1)  # share of each label that is divided among both classes
    mixup: float | None = field(None, gt=0)  # alpha of the Beta distribution of the shares of two mixed images
    cutmix: float | None = field(None, gt=0)  # likewise, of the area that is kept when a box of another image is pasted
    ema_decay: float | None = field(None, gt=0, lt=1)  # of a moving average of the weights, which is then the result
    unfreeze_epochs: int | None = field(None, ge=1)  # epochs of the head alone, then of each stage more
    probe: bool | None = None  # fit a logistic regression to frozen features instead of training by gradient descent


@dataclass
class Runtime:
    """Where and how fast a run executes; never changes its result."""

    store: str = field("outputs/runs", path=True, min_length=1)
    cache: str = field("~/.cache/crackdet", path=True, min_length=1)  # decoded images and file digests
    cache_gib: float = field(16.0, ge=0)  # larger sets of decoded images are streamed from the image files
    device: str = "auto"  # auto, cpu, cuda, cuda:1, mps
    num_workers: int | None = field(None, ge=0)  # that decode images; null: one per core, at most 8
    num_threads: int | None = field(None, ge=1)  # of torch on the CPU; null: torch's default, shared by parallel runs
    cuda_graphs: bool | None = None  # replay recorded batches on a GPU; null: except for a user's network
    parallel_runs: int = field(1, ge=1)  # runs of a sweep that train at the same time, one per GPU
    checkpoint_minutes: float = field(5.0, ge=0)  # between two saves of the resume state
    keep_resume_mib: float = field(512.0, ge=0)  # largest resume state that a finished run keeps
    keep_weights: str = field("all", pattern="all|none|best:[1-9][0-9]*")  # of finished runs
    wait_for_others: bool = False  # end a sweep only after its runs in other processes
    max_attempts: int = field(3, ge=0)  # failures in a row without progress, after which a run is not retried
    retrain: bool = False  # train finished runs again


@dataclass
class TensorBoard:
    folder: str = field("outputs/tensorboard", path=True, min_length=1)


@dataclass
class MLflow:
    uri: str = field("sqlite:///outputs/mlflow.db", min_length=1)  # of a database or a server
    experiment: str = field("crackdet", min_length=1)


@dataclass
class Tracker:
    """The experiment trackers; null: not used."""

    tensorboard: TensorBoard | None = None
    mlflow: MLflow | None = None


@dataclass
class Sweep:
    """The runs of a sweep and their order."""

    dry_run: bool = False  # print the table of runs and train nothing
    zip: list[Any] = field([])  # keys whose values are paired; or several lists of such keys
    exclude: str | None = None  # an expression over dotted keys; runs for which it is true are left out
    top: int | None = field(None, ge=1)  # the networks are the best candidates of a screen; null: as the command says
    screen: str | None = field(None, min_length=1)  # its folder; null: the probe runs of runtime.store on these images
    order: str = field("cheapest", choices=("cheapest", "given"))
    report: bool = True  # write report.html after a sweep that trained something


@dataclass
class Seeded:
    seed: int = field(0, ge=0, le=MAX_SEED)  # initial weights, order of the images, augmentation


@dataclass
class Config(Seeded):
    """The complete configuration of one run."""

    model: Model = MISSING
    data: Data = MISSING
    optimizer: Optimizer = MISSING
    scheduler: Scheduler = MISSING
    trainer: Trainer = MISSING
    runtime: Runtime = MISSING
    tracker: Tracker = MISSING
    sweep: Sweep = MISSING


def to_dict(config: Config) -> dict[str, Any]:
    """Return the configuration as it is stored: plain values; a user's network has its `_target_`."""
    tree = dataclasses.asdict(config)
    if isinstance(config.model, UserModel):
        arguments, target = tree["model"].pop("arguments"), tree["model"].pop("target")
        tree["model"] = {"_target_": target, **tree["model"], **arguments}
    return tree


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return `{"model": {"name": "custom"}}` as `{"model.name": "custom"}`; lists stay lists."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def setting_at(content: Mapping[str, Any], key: str) -> Any:
    """Return the value at a dotted key; None if it is absent, as a null is in an identity."""
    node: Any = content
    for part in key.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node
