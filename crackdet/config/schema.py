"""Every setting of `conf/`: its type, unit, range and default.

Plain dataclasses, and nothing imported that takes time: `crackdet.config.parsing` fills and checks them.
"""

from collections.abc import Mapping
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal

MISSING: Any = "???"  # what OmegaConf takes for a value that has to be given

MONITORS: dict[str, Literal["min", "max"]] = {  # what an epoch can be chosen by, and which way is better
    "valid_loss": "min",
    "valid_accuracy": "max",
    "valid_f1": "max",
    "valid_roc_auc": "max",
}


def setting(default: Any = NO_DEFAULT, **allowed: Any) -> Any:
    """A dataclass field with what its value may be.

    `allowed`: `at_least`, `at_most`, `above`, `below` (numbers), `choices`, `pattern`, `length` (of a list),
    `path=True` (where something lies on this machine: never part of a run's identity).
    """
    if isinstance(default, (list, dict, type)):
        factory = default if isinstance(default, type) else lambda: type(default)(default)
        return field(default_factory=factory, metadata=allowed)
    return field(default=default, metadata=allowed)


MAX_SEED = 2**63 - 1  # that every generator takes

# --- model: the network -------------------------------------------------------------------------------


@dataclass
class Model:
    """What every network has; the settings of a network of one's own stand beside these."""

    name: str = MISSING  # part of the run id
    linear_features: int = setting(512, at_least=1)  # width of the classifier's two hidden layers
    weights: str | None = None  # torchvision weights name, local .pth / .safetensors, or null: random
    freeze_features: bool = False  # train the classifier only
    batchnorm: str = setting("train", choices=("train", "eval"))  # eval: keep the running statistics
    # per RGB channel of pixels in [0, 1]; null: the weights'
    input_mean: list[float] | None = setting(None, length=3, at_least=0, at_most=1)
    input_std: list[float] | None = setting(None, length=3, above=0)


@dataclass
class CustomModel(Model):
    name: str = setting("custom", choices=("custom",))
    conv_out: list[int] = setting([64, 128], at_least=1, length=(1, None))  # channels of each convolution


@dataclass
class ResNeXt50Model(Model):
    name: str = setting("resnext50", choices=("resnext50",))
    weights: str | None = "IMAGENET1K_V2"


@dataclass
class TorchvisionModel(Model):
    name: str = "mobilenet_v2"  # any classification network of torchvision
    weights: str | None = "DEFAULT"


@dataclass
class UserModel(Model):
    """A feature extractor of the user's: a class of their package and its arguments."""

    target: str = MISSING
    arguments: dict[str, Any] = field(default_factory=dict)


# --- data: photographs --------------------------------------------------------------------------------


@dataclass
class Augmentation:
    """Drawn for each image of the training split anew in every epoch; the article has none."""

    horizontal_flip: bool = False
    vertical_flip: bool = False
    rotate90: bool = False  # a turn by 0, 90, 180 or 270 degrees
    rotation: float = setting(0.0, at_least=0, at_most=180)  # degrees, drawn from [-rotation, rotation]
    brightness: float = setting(0.0, at_least=0, at_most=1)  # factor drawn from [1 - x, 1 + x]
    contrast: float = setting(0.0, at_least=0, at_most=1)  # likewise
    saturation: float = setting(0.0, at_least=0, at_most=1)  # likewise
    hue: float = setting(0.0, at_least=0, at_most=0.5)  # shift drawn from [-x, x] of the colour circle


@dataclass
class Data:
    name: str = MISSING
    image_size: int = setting(64, at_least=1)  # pixels a side: every image is resized to a square
    max_images: int | None = setting(None, at_least=4)  # a stratified subset of so many; null: all
    valid_fraction: float = setting(0.2, above=0, below=1)  # drawn where the data has no valid split itself
    test_fraction: float = setting(0.0, at_least=0, below=1)  # held out beside it; 0: none
    split_seed: int = setting(0, at_least=0, at_most=MAX_SEED)  # of the split and of the subset
    on_bad_image: str = setting("error", choices=("error", "skip"))  # unreadable or truncated files
    augmentation: Augmentation = field(default_factory=Augmentation)


@dataclass
class SyntheticData(Data):
    name: str = setting("synthetic", choices=("synthetic",))
    num_images: int = setting(600, at_least=4)
    crack_fraction: float = setting(0.5, above=0, below=1)
    hard_negatives: float = setting(0.5, at_least=0, at_most=1)  # share of negatives with something crack-like
    difficulty: float = setting(0.4, at_least=0, at_most=1)  # 0: wide dark cracks; 1: hairlines and clutter
    seed: int = setting(0, at_least=0, at_most=MAX_SEED)  # of the drawing; replicates (`seed`) see the same images


@dataclass
class FolderData(Data):
    name: str = setting("folder", choices=("folder",))
    root: str = setting(MISSING, path=True)  # holds [train|valid|test/]<class>/**/*.jpg
    image_size: int = setting(224, at_least=1)
    crack_names: list[str] = setting(["crack", "cracks", "cracked", "positive"], length=(1, None))
    no_crack_names: list[str] = setting(
        ["noncrack", "nocrack", "noncracked", "uncracked", "intact", "background", "negative"],
        length=(1, None),
    )  # folder names: case, spaces, "-" and "_" do not matter
    groups: str | None = None  # column of the manifest: images of one group stay in one split
    manifest: str = setting("manifest.csv", path=True)  # CSV with a column `path`, relative to root
    masks: str | None = setting(None, path=True)  # folder of masks, relative to root, named as the photographs


@dataclass
class FilenameLabelsData(Data):
    name: str = setting("filename_labels", choices=("filename_labels",))
    root: str = setting(MISSING, path=True)  # holds train/images and valid/images
    image_size: int = setting(224, at_least=1)
    negative_mark: str = setting("noncrack", length=(1, None))  # in a file name: there is no crack
    masks: str | None = setting("masks", path=True)  # folder of masks beside each folder of images


# --- optimizer and scheduler --------------------------------------------------------------------------


@dataclass
class Optimizer:
    name: str = MISSING
    learning_rate: float = setting(1e-4, above=0)
    weight_decay: float = setting(0.0, at_least=0)


@dataclass
class Adam(Optimizer):
    name: str = setting("adam", choices=("adam",))
    beta1: float = setting(0.9, at_least=0, below=1)
    beta2: float = setting(0.999, at_least=0, below=1)
    eps: float = setting(1e-8, above=0)


@dataclass
class AdamW(Adam):
    name: str = setting("adamw", choices=("adamw",))
    weight_decay: float = setting(0.01, at_least=0)


@dataclass
class SGD(Optimizer):
    name: str = setting("sgd", choices=("sgd",))
    learning_rate: float = setting(0.01, above=0)
    momentum: float = setting(0.9, at_least=0, below=1)
    nesterov: bool = False


@dataclass
class Scheduler:
    name: str = MISSING


@dataclass
class Constant(Scheduler):
    name: str = setting("constant", choices=("constant",))


@dataclass
class Cosine(Scheduler):
    name: str = setting("cosine", choices=("cosine",))
    final_fraction: float = setting(0.0, at_least=0, at_most=1)  # of the learning rate, after max_epochs


@dataclass
class Step(Scheduler):
    name: str = setting("step", choices=("step",))
    step_size: int = setting(10, at_least=1)
    gamma: float = setting(0.1, above=0, at_most=1)


@dataclass
class Plateau(Scheduler):
    name: str = setting("plateau", choices=("plateau",))
    factor: float = setting(0.1, above=0, below=1)
    patience: int = setting(3, at_least=0)  # epochs without a better trainer.monitor


# --- trainer, runtime, tracker, sweep -----------------------------------------------------------------


@dataclass
class Trainer:
    max_epochs: int = setting(25, at_least=1)
    batch_size: int = setting(32, at_least=1)  # images
    accumulate_grad_batches: int = setting(1, at_least=1)  # batches to one optimizer step
    patience: int = setting(7, at_least=1)  # epochs without a better monitor until training stops
    monitor: str = setting("valid_loss", choices=tuple(MONITORS))  # chooses the best epoch
    min_delta: float = setting(0.0, at_least=0)  # what counts as better
    precision: str = setting("auto", choices=("auto", "fp32", "bf16"))
    compile: bool = False  # by torch.compile: a minute at the start of a run
    gradient_clip_norm: float | None = setting(None, above=0)  # of the gradient; null: no clipping
    pos_weight: float | None = setting(None, above=0)  # weight of the crack class in the loss


@dataclass
class Runtime:
    """Where and how fast a run happens, never what it results in."""

    store: str = setting("outputs/runs", path=True, length=(1, None))
    cache: str = setting("~/.cache/crackdet", path=True, length=(1, None))  # decoded images, file digests
    cache_gib: float = setting(16.0, at_least=0)  # larger sets are streamed from their files
    device: str = "auto"  # auto, cpu, cuda, cuda:1, mps
    num_workers: int | None = setting(None, at_least=0)  # that decode images; null: one a core, up to 8
    num_threads: int | None = setting(None, at_least=1)  # of torch on the CPU; null: torch's choice, divided by workers
    cuda_graphs: bool | None = None  # a GPU's batches recorded and replayed; null: for all but networks of one's own
    parallel_runs: int = setting(1, at_least=1)  # processes that train the runs of a sweep side by side, one GPU each
    checkpoint_minutes: float = setting(5.0, at_least=0)  # between two saves of the resume state
    keep_resume_mib: float = setting(512.0, at_least=0)  # a finished run's state, kept to be trained longer
    keep_weights: str = setting("all", pattern="all|none|best:[1-9][0-9]*")  # of finished runs
    wait_for_others: bool = False  # let a sweep end only when runs in other processes have ended
    max_attempts: int = setting(3, at_least=0)  # attempts at a run that fails; those that came further do not count
    retrain: bool = False  # train finished runs again


@dataclass
class TensorBoard:
    folder: str = setting("outputs/tensorboard", path=True, length=(1, None))


@dataclass
class MLflow:
    uri: str = setting("sqlite:///outputs/mlflow.db", length=(1, None))  # of a database or a server
    experiment: str = setting("crackdet", length=(1, None))


@dataclass
class Tracker:
    """Who else is told of a run; null: not this one."""

    tensorboard: TensorBoard | None = None
    mlflow: MLflow | None = None


@dataclass
class Sweep:
    """Which runs a sweep consists of, and in what order."""

    dry_run: bool = False  # print the table of runs, train nothing
    zip: list[Any] = setting([])  # keys whose values go together; or several lists of keys
    exclude: str | None = None  # an expression over dotted keys: where it is true, there is no run
    order: str = setting("cheapest", choices=("cheapest", "given"))
    report: bool = True  # write report.html at the end, where something was trained


@dataclass
class Seeded:
    seed: int = setting(0, at_least=0, at_most=MAX_SEED)  # initial weights, order of the images, augmentation


@dataclass
class Config(Seeded):
    """All that one run needs to know."""

    model: Model = MISSING
    data: Data = MISSING
    optimizer: Optimizer = MISSING
    scheduler: Scheduler = MISSING
    trainer: Trainer = MISSING
    runtime: Runtime = MISSING
    tracker: Tracker = MISSING
    sweep: Sweep = MISSING


@dataclass
class Schema(Seeded):
    """The root of a composed configuration; the groups bring their own schema, the model may be anybody's."""

    model: Any = MISSING
    data: Data = MISSING
    optimizer: Optimizer = MISSING
    scheduler: Scheduler = MISSING
    trainer: Trainer = MISSING
    runtime: Runtime = MISSING
    tracker: dict[str, Any] = field(default_factory=dict)  # each tracker brings its own
    sweep: Sweep = MISSING


GROUPS: dict[str, dict[str, type]] = {
    "model": {"custom": CustomModel, "resnext50": ResNeXt50Model, "torchvision": TorchvisionModel},
    "data": {"synthetic": SyntheticData, "folder": FolderData, "filename_labels": FilenameLabelsData},
    "optimizer": {"adam": Adam, "adamw": AdamW, "sgd": SGD},
    "scheduler": {"constant": Constant, "cosine": Cosine, "step": Step, "plateau": Plateau},
    "trainer": {"default": Trainer},
    "runtime": {"default": Runtime},
    "tracker": {"none": Tracker},
    "sweep": {"default": Sweep},
}
PATHS = {  # settings that say where something lies, by their dotted keys
    f"{group}.{item.name}"
    for group, schemas in GROUPS.items()
    for schema in schemas.values()
    for item in fields(schema)
    if item.metadata.get("path")
}
TRACKERS: dict[str, type] = {"tensorboard": TensorBoard, "mlflow": MLflow}


def to_dict(config: Config) -> dict[str, Any]:
    """The configuration as it is stored: plain values, a network of one's own with its `_target_`."""
    tree: dict[str, Any] = {}
    for item in fields(config):
        value = getattr(config, item.name)
        tree[item.name] = _plain(value)
    return tree


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"model": {"name": "custom"}}` as `{"model.name": "custom"}`; lists stay whole."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _plain(value: Any) -> Any:
    if isinstance(value, UserModel):
        tree = {item.name: getattr(value, item.name) for item in fields(Model)}
        return {"_target_": value.target, **tree, **value.arguments}
    if is_dataclass(value):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    return value
