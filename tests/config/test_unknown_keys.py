"""What a newcomer types is answered with the setting that is meant."""

import pytest

from crackdet.config.composing import compose
from crackdet.config.synonyms import SYNONYMS, all_settings, suggest_setting
from crackdet.core.errors import UserError


@pytest.mark.parametrize(
    ("key", "setting"),
    [
        ("batch_size", "trainer.batch_size"),
        ("data.batch_size", "trainer.batch_size"),
        ("training.batch_size", "trainer.batch_size"),
        ("bs", "trainer.batch_size"),
        ("lr", "optimizer.learning_rate"),
        ("optimizer.lr", "optimizer.learning_rate"),
        ("trainer.lr", "optimizer.learning_rate"),
        ("learning_rate", "optimizer.learning_rate"),
        ("epochs", "trainer.max_epochs"),
        ("max_epochs", "trainer.max_epochs"),
        ("trainer.epochs", "trainer.max_epochs"),
        ("trainer.max_epoch", "trainer.max_epochs"),
        ("data.num_workers", "runtime.num_workers"),
        ("runtime.workers", "runtime.parallel_runs"),
        ("trainer.accelerator", "runtime.device"),
        ("device", "runtime.device"),
        ("gpus", "runtime.device"),
        ("data.path", "data.root (of data=folder, data=filename_labels, data=table, data=masks or data=boxes)"),
        ("data.dir", "data.root"),
        ("image_size", "data.image_size"),
        ("img_size", "data.image_size"),
        ("weights", "model.weights"),
        ("patience", "trainer.patience"),
        ("wd", "optimizer.weight_decay"),
        ("momentum", "optimizer.momentum (of optimizer=sgd)"),
        ("early_stopping", "trainer.patience"),
        ("val_split", "data.valid_fraction"),
        ("random_seed", "seed"),
        ("network", "model"),
        ("Trainer.Batch-Size", "trainer.batch_size"),
        ("trainer.batchsize", "trainer.batch_size"),
        ("optimzer.learning_rate", "optimizer.learning_rate"),
        ("sede", "seed"),
        ("modle", "model"),
    ],
)
def test_a_familiar_name_is_answered_with_the_setting(key: str, setting: str) -> None:
    assert setting in suggest_setting(key) and "did you mean" in suggest_setting(key)


def test_every_answer_names_a_setting_or_a_choice() -> None:
    for answer in set(SYNONYMS.values()):
        assert (
            answer in all_settings()
            or "=" in answer
            or answer in ("model", "optimizer", "scheduler")
            or (answer.startswith("hydra."))
        )


def test_no_setting_is_taken_for_another() -> None:
    for key in all_settings():
        assert SYNONYMS.get(key, key) == key


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("lr=0.1", ["lr: unknown key", "optimizer.learning_rate"]),
        ("+trainer.lr=0.1", ["trainer.lr: unknown key", "optimizer.learning_rate"]),
        ("model.pretrained=true", ["model.pretrained: unknown key", "model=torchvision", "model.weights=null"]),
        ("dropout=0.5", ["no dropout", "optimizer.weight_decay"]),
        (
            "data.root=photos",
            [
                "data.root: unknown key; it belongs to data=folder, data=filename_labels, data=table, "
                "data=masks or data=boxes"
            ],
        ),
        ("optimizer=Adam", ["optimizer=Adam: no such option", "did you mean optimizer=adam?"]),
        ("scheduler=CosineAnnealingLR", ["did you mean scheduler=cosine?"]),
        ("scheduler=ReduceLROnPlateau", ["did you mean scheduler=plateau?"]),
        ("data=ImageFolder", ["did you mean data=folder?"]),
        ("model=vgg16", ["model=vgg16: no such option", "give model=torchvision model.name=vgg16"]),
        ("model=ViT-B-16", ["give model=torchvision model.name=vit_b_16"]),
        ("model=yolo", ["model=torchvision model.name=NAME"]),
        ("model.name=vgg16", ["model.name=vgg16", "model=torchvision model.name=vgg16"]),
        ("model.name=resnet18", ["model.name=resnet18", "model=resnet18"]),
        ("seed=1,2", ["seed=1,2: has several values", "-m"]),
        ("seed", ["seed: is not an override; give KEY=VALUE"]),
        ("trainer.max_epochs:5", ["give KEY=VALUE, as in trainer.max_epochs=5"]),
        ("data.root=/photos (2020)/a", ["data.root='/photos (2020)/a'"]),
        ("model.weights=Brücke.pth", ["model.weights='Brücke.pth'"]),
    ],
)
def test_an_override_of_a_newcomer_is_answered(override: str, parts: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        compose([override])
    assert all(part in str(caught.value) for part in parts), caught.value


@pytest.mark.parametrize("value", ["~/photos", "'~/photos'"])
def test_a_home_folder_needs_no_quotes(value: str) -> None:
    assert compose(["data=folder", f"data.root={value}"]).data.root == "~/photos"  # type: ignore[attr-defined]


@pytest.mark.parametrize("value", ["choice(null,1.0)", "rnge(8,64)", "int(abc)", "choice()"])
def test_what_hydra_says_of_a_function_is_passed_on_without_a_hint_at_quotes(value: str) -> None:
    with pytest.raises(UserError) as caught:
        compose([f"trainer.max_epochs={value}"])
    message = str(caught.value)
    assert message.startswith(f"trainer.max_epochs={value}: ") and "quotes" not in message
    assert "while evaluating" in message
