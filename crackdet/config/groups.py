"""The options of each group of `conf/` and their schemas, which Hydra gets to know by `register`."""

from dataclasses import dataclass, fields
from typing import Any

from crackdet.config.fields import MISSING, field
from crackdet.config.schema import (
    SGD,
    Adam,
    AdamW,
    Constant,
    Cosine,
    CustomModel,
    Data,
    FilenameLabelsData,
    FolderData,
    MLflow,
    Optimizer,
    Plateau,
    ResNeXt50Model,
    Runtime,
    Scheduler,
    Seeded,
    Step,
    Sweep,
    SyntheticData,
    TensorBoard,
    TorchvisionModel,
    Tracker,
    Trainer,
)

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
TRACKERS: dict[str, type] = {"tensorboard": TensorBoard, "mlflow": MLflow}
OPTIONAL_GROUPS = ("sweep",)  # groups that configurations stored by earlier versions lack
REMOVED_KEYS = {"tracker": ("name",)}  # settings of earlier versions, ignored in stored configurations
PATHS = {  # dotted keys of the settings that name a location on this machine
    f"{group}.{item.name}"
    for group, schemas in GROUPS.items()
    for schema in schemas.values()
    for item in fields(schema)
    if item.metadata.get("path")
}


@dataclass
class Schema(Seeded):
    """The root of a composed configuration; the model is untyped, because a user's network has its own settings."""

    model: Any = MISSING
    data: Data = MISSING
    optimizer: Optimizer = MISSING
    scheduler: Scheduler = MISSING
    trainer: Trainer = MISSING
    runtime: Runtime = MISSING
    tracker: dict[str, Any] = field(dict)  # each tracker has its own schema
    sweep: Sweep = MISSING


def register() -> None:
    """Register the schemas with Hydra, outside the groups: Hydra would list them among the options."""
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    store.store(name="crackdet_schema", node=Schema)
    for group, options in {**GROUPS, "tracker": GROUPS["tracker"] | TRACKERS}.items():
        for option, schema in options.items():
            store.store(name=f"schema_{group}_{option}", node=schema)
