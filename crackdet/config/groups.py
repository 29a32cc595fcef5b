"""The options of each group of `conf/` and their schemas, which `register` makes known to Hydra."""

from dataclasses import dataclass, fields
from typing import Any

from crackdet.config import file_data, optimization, schema
from crackdet.config.fields import MISSING, field

GROUPS: dict[str, dict[str, type]] = {
    "model": {
        "custom": schema.CustomModel,
        "resnext50": schema.ResNeXt50Model,
        "torchvision": schema.TorchvisionModel,
        "timm": schema.TimmModel,
    },
    "data": {
        "synthetic": schema.SyntheticData,
        "folder": file_data.FolderData,
        "filename_labels": file_data.FilenameLabelsData,
        "table": file_data.TableData,
        "masks": file_data.MasksData,
        "boxes": file_data.BoxesData,
    },
    "optimizer": {
        "adam": optimization.Adam,
        "adamw": optimization.AdamW,
        "sgd": optimization.SGD,
        "timm": optimization.TimmOptimizer,
    },
    "scheduler": {
        "constant": optimization.Constant,
        "cosine": optimization.Cosine,
        "step": optimization.Step,
        "plateau": optimization.Plateau,
    },
    "trainer": {"default": schema.Trainer},
    "runtime": {"default": schema.Runtime},
    "tracker": {"none": schema.Tracker},
    "sweep": {"default": schema.Sweep},
}
# Options of `model` that are model=torchvision with a name. They have no schema of their own: a run has one identity.
PRESETS = ("resnet18", "resnet50", "mobilenet_v2", "efficientnet_b0", "convnext_tiny")
NAMED_NETWORKS = ("custom", "resnext50", *PRESETS)  # options of `model` whose name cannot be changed
TIMM = "timm/"  # `model=timm/NAME` is model=timm with a name
TRACKERS: dict[str, type] = {"tensorboard": schema.TensorBoard, "mlflow": schema.MLflow}
AUGMENTATIONS = {  # options of data/augmentation
    "none": schema.Augmentation(),
    "flips": schema.Augmentation(horizontal_flip=True, vertical_flip=True, rotate90=True),
    "full": schema.Augmentation(
        True, True, True, rotation=15.0, brightness=0.2, contrast=0.2, saturation=0.2, hue=0.02
    ),
}
PATHS = {  # dotted keys of the settings that name a location on this machine
    f"{group}.{item.name}"
    for group, options in GROUPS.items()
    for option in options.values()
    for item in fields(option)
    if item.metadata.get("path")
}


@dataclass
class Schema(schema.Seeded):
    """The root of a composed configuration; the model is untyped, because a user's network has its own settings."""

    model: Any = MISSING
    data: schema.Data = MISSING
    optimizer: optimization.Optimizer = MISSING
    scheduler: optimization.Scheduler = MISSING
    trainer: schema.Trainer = MISSING
    runtime: schema.Runtime = MISSING
    tracker: dict[str, Any] = field(dict)  # each tracker has its own schema
    sweep: schema.Sweep = MISSING


def names_network(option: str | None) -> bool:
    """Return whether an option of `model` is one network, whose name cannot be changed."""
    return option in NAMED_NETWORKS or (option or "").startswith(TIMM)


def register() -> None:
    """Register the schemas with Hydra, outside the groups: Hydra would list them among the options."""
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    store.store(name="crackdet_schema", node=Schema, replace=True)
    for group, options in {**GROUPS, "tracker": GROUPS["tracker"] | TRACKERS}.items():
        for option, node in options.items():
            store.store(name=f"schema_{group}_{option}", node=node, replace=True)
