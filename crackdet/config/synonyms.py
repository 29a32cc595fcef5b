"""Names that other training programs have for crackdet's settings, for the answer to an unknown setting."""

import difflib
import re
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, get_args, get_type_hints

from crackdet.config.groups import GROUPS
from crackdet.config.schema import Config, Model

# A setting or an override -> the names that it has elsewhere. Case, "_" and "-" are ignored.
_NAMES = {
    "optimizer.learning_rate": "lr base_lr init_lr initial_lr lr0 max_lr eta alpha",
    "optimizer.weight_decay": "wd decay l2 l2_reg regularization",
    "optimizer.momentum": "mom",
    "optimizer.layer_decay": "llrd layerwise_decay layer_wise_decay layer_lr_decay lr_layer_decay",
    "optimizer.backbone_learning_rate": "backbone_lr lr_backbone encoder_lr encoder_learning_rate",
    "optimizer.decay_norm_and_bias": "norm_weight_decay bias_weight_decay filter_bias_and_bn no_weight_decay",
    "optimizer.arguments": "opt_args opt_kwargs optimizer_kwargs optimizer_args",
    "scheduler.warmup_epochs": "warmup warmup_steps lr_warmup_epochs warm_up",
    "scheduler.warmup_start_fraction": "warmup_lr warmup_start_lr warmup_factor lr_warmup_decay warmup_lr_init",
    "optimizer": "optim opt",
    "scheduler": "sched lr_scheduler lr_schedule schedule",
    "trainer.max_epochs": "epochs epoch num_epochs n_epochs nb_epochs training_epochs train_epochs",
    "trainer.batch_size": "bs batch batches minibatch train_batch_size mini_batch_size batch_size_per_gpu",
    "trainer.patience": "early_stopping early_stop early_stopping_patience es_patience",
    "trainer.accumulate_grad_batches": (
        "accumulate accumulation accumulation_steps grad_accum grad_accumulation gradient_accumulation "
        "gradient_accumulation_steps accumulate_gradients"
    ),
    "trainer.gradient_clip_norm": "clip grad_clip clip_grad clip_grad_norm gradient_clip_val max_grad_norm",
    "trainer.precision": "amp fp16 bf16 use_amp mixed_precision half autocast dtype",
    "trainer.pos_weight": "class_weight class_weights weight_positive",
    "trainer.monitor": "metric best_metric",
    "trainer.label_smoothing": "smoothing label_smooth",
    "trainer.mixup": "mixup_alpha",
    "trainer.cutmix": "cutmix_alpha",
    "trainer.ema_decay": "ema model_ema use_ema model_ema_decay",
    "trainer.unfreeze_epochs": "unfreeze gradual_unfreezing unfreeze_after unfreeze_epoch",
    "trainer/recipe=cnn or trainer/recipe=transformer": "recipe preset training_recipe",
    "model.weights": "checkpoint ckpt ckpt_path init_weights pretrained_weights pretrained_path weights_path",
    "model.freeze_features": "freeze frozen freeze_backbone freeze_encoder freeze_layers",
    "model.linear_features": "hidden hidden_size hidden_dim hidden_units fc fc_dim linear dense",
    "model.conv_out": "channels out_channels filters kernels conv conv_channels features",
    "model.input_mean": "mean normalize_mean",
    "model.input_std": "std normalize_std",
    "model": "net network arch architecture backbone",
    "data.image_size": "img_size imgsz size resize resolution input_size crop_size im_size img_sz",
    "data.root": "path dir data_dir data_path data_root dataset dataset_path folder root_dir image_dir images",
    "data.table": "csv csv_file csv_path labels labels_file label_file annotations_csv dataframe",
    "data.valid_fraction": "val_split valid_split validation_split val_size val_fraction val_ratio val_percent",
    "data.test_fraction": "test_split test_size test_ratio",
    "data.max_images": (
        "limit limit_train_batches subset max_samples num_samples n_samples max_train_samples sample fraction"
    ),
    "data.augmentation.rand_augment": "randaug ra aa auto_augment autoaugment",
    "data/augmentation=flips": "augment augmentations aug transform transforms flip hflip",
    "seed": "random_seed manual_seed random_state rng_seed seed_everything",
    "runtime.device": "gpu gpus cuda cpu devices accelerator use_gpu use_cuda device_id gpu_ids no_cuda",
    "runtime.num_workers": "workers n_workers nworkers num_worker dataloader_workers loader_workers data_workers j",
    "runtime.num_threads": "threads n_threads torch_threads",
    "runtime.parallel_runs": "runtime.workers n_jobs num_jobs jobs parallel runtime.parallel processes num_processes",
    "runtime.store": "out output outputs output_dir out_dir save_dir save_path run_dir log_dir logdir exp_dir project",
    "runtime.cache": "cache_dir",
    "runtime.retrain": "overwrite force",
    "tracker=tensorboard or tracker=mlflow": "logger tensorboard mlflow wandb use_wandb",
    "hydra.sweeper.n_trials": "n_trials trials num_trials",
}
_REMARKS = {  # an answer -> the names of settings that crackdet does not have
    "networks such as model=torchvision start from pretrained weights unless model.weights=null": (
        "pretrained use_pretrained imagenet"
    ),
    "the networks have no dropout; for regularization, use optimizer.weight_decay or data/augmentation=flips": (
        "dropout drop drop_rate dropout_rate p_dropout"
    ),
    "repeat the same command to resume a stopped run": "resume resume_from resume_from_checkpoint resume_training",
}


def normalize(name: str) -> str:
    """Return a name without case and punctuation, but with its dots."""
    return re.sub(r"[^a-z0-9.]", "", name.lower())


SYNONYMS = {normalize(name): setting for setting, names in _NAMES.items() for name in names.split()}
REMARKS = {normalize(name): remark for remark, names in _REMARKS.items() for name in names.split()}


@cache
def all_settings() -> frozenset[str]:
    """Return the dotted keys of all settings of all options."""
    schemas = [(group, schema) for group, options in GROUPS.items() for schema in options.values()]
    found = {"seed"}.union(*(_keys(schema, f"{group}.") for group, schema in schemas))
    return frozenset(key for key in found if not key.endswith(".name") or key == "model.name")


def _keys(schema: type, prefix: str) -> set[str]:
    found: set[str] = set()
    for name, hint in get_type_hints(schema).items():
        kind: Any = next((part for part in get_args(hint) if is_dataclass(part)), hint)
        nested = isinstance(kind, type) and is_dataclass(kind)
        found |= _keys(kind, f"{prefix}{name}.") if nested else {f"{prefix}{name}"}
    return found


def suggest_setting(key: str) -> str:
    """Return the end of a message about a key that a configuration does not have: what to give instead.

    That is the option that has the key, the setting that is meant, or the settings of the group.
    """
    group, _, rest = key.partition(".")
    if group == "model" and rest in {item.name for item in fields(Model)}:
        return f"; use +{key}=VALUE, because the file of this network does not have it"
    if key.startswith("optimizer.arguments."):
        return f"; use +{key}=VALUE, because the file of this option does not have it"
    if group == "tracker" and key in all_settings():
        return f"; it belongs to tracker={rest.partition('.')[0]}"
    if owners := _owners(key):
        return f"; it belongs to {owners}"
    name = normalize(key.rpartition(".")[2])
    if remark := REMARKS.get(name):
        return f"; {remark}"
    if synonym := SYNONYMS.get(normalize(key)) or SYNONYMS.get(name):
        return _did_you_mean(synonym)
    if same := [setting for setting in sorted(all_settings()) if _last(setting) == name]:
        return _did_you_mean(*same)
    of_group = {setting for setting in all_settings() if rest and setting.startswith(f"{group}.")}
    groups = {item.name for item in fields(Config)}
    for candidates, cutoff in ((of_group, 0.6), (all_settings(), 0.75)):
        settings = {_last(setting): setting for setting in sorted(candidates)}
        if similar := difflib.get_close_matches(name, settings, n=1, cutoff=cutoff):
            return _did_you_mean(settings[similar[0]])
    if similar := [] if group in groups else difflib.get_close_matches(group, groups, n=1):
        return _did_you_mean(".".join(filter(None, (similar[0], rest))))
    parent = key.rpartition(".")[0] + "."
    names = {setting.removeprefix(parent).partition(".")[0] for setting in of_group if setting.startswith(parent)}
    return f"; choose from {', '.join(sorted(names or groups))}"


def _last(setting: str) -> str:
    return normalize(setting.rpartition(".")[2])


def _did_you_mean(*settings: str) -> str:
    owners = {setting: _owners(setting) for setting in settings}
    return f"; did you mean {' or '.join(key + (f' (of {own})' if own else '') for key, own in owners.items())}?"


def _owners(setting: str) -> str:
    """Return which options of a group have a setting; empty if all have it."""
    group, _, name = setting.partition(".")
    options = GROUPS.get(group, {})
    owners = [option for option, schema in options.items() if name in {item.name for item in fields(schema)}]
    if not owners or len(owners) == len(options):
        return ""
    names = [f"{group}={option}" for option in owners]
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
