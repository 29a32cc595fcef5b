"""Recipes in the training loop, and their presets."""

import pytest
import torch
from safetensors.torch import load_file

from crackdet.config.composing import compose
from crackdet.core.errors import UserError
from crackdet.models.factory import build
from crackdet.store.run import Run
from tests.jobs import Configure, history, job_of, train


def changed_layers(run: Run, initial: dict[str, torch.Tensor]) -> set[str]:
    """Return the layers whose weights after the last epoch differ from the initial ones."""
    weights = torch.load(run.state_file, weights_only=True)["model"]
    return {name.rpartition(".")[0] for name in weights if not torch.equal(weights[name], initial[name])}


def test_unfreezing_goes_from_the_head_downwards(tiny: Configure) -> None:
    head = {"classifier.0", "classifier.2", "classifier.4"}
    expected = [head, head | {"feature_extractor.3"}, head | {"feature_extractor.3", "feature_extractor.0"}]
    for epochs, layers in enumerate(expected, 1):
        config = tiny("trainer.unfreeze_epochs=1", f"trainer.max_epochs={epochs}")
        run = train(config)
        assert changed_layers(run, build(config).state_dict()) == layers


def test_the_averaged_weights_are_validated_and_published(tiny: Configure) -> None:
    slow, plain = (train(tiny(override)) for override in ("trainer.ema_decay=0.999999", "seed=0"))
    initial = build(tiny()).state_dict()
    for name, tensor in load_file(slow.weights_file).items():
        torch.testing.assert_close(tensor, initial[name], atol=1e-5, rtol=0)
    assert [row["train_loss"] for row in history(slow)] == [row["train_loss"] for row in history(plain)]
    losses = [float(row["valid_loss"]) for row in history(slow)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_settings_of_recipes_that_are_not_set_change_no_run(tiny: Configure) -> None:
    content = job_of(tiny("optimizer.decay_norm_and_bias=true")).identity.content
    assert content == job_of(tiny()).identity.content
    assert not {"mixup", "ema_decay", "unfreeze_epochs"} & set(content["trainer"])
    frozen = ("model.freeze_features=true", "optimizer.layer_decay=0.5")
    assert job_of(tiny(*frozen)).run.id == job_of(tiny(frozen[0])).run.id


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["trainer.mixup=0.2", "model.freeze_features=true"], "trainer.mixup=0.2: mixes images, and"),
        (["trainer.cutmix=1", "trainer.batch_size=1"], "trainer.cutmix=1.0: mixes the images of a batch"),
        (["trainer.unfreeze_epochs=2", "model.freeze_features=true"], "trainer.unfreeze_epochs=2: unfreezes stages"),
        (["scheduler.warmup_start_fraction=0.1"], "there is no warm-up; set scheduler.warmup_epochs"),
        (["scheduler.warmup_epochs=9", "trainer.max_epochs=5"], "must be at most trainer.max_epochs=5"),
        (["optimizer=timm", "optimizer.arguments.eps=1"], r"use \+optimizer.arguments.eps=VALUE"),
        (["trainer.recipe=cnn"], "did you mean trainer/recipe=cnn"),
        (["trainer/recipe=resnet"], "no such option; choose from cnn, probe, transformer"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        compose(overrides)


@pytest.mark.parametrize("optimizer", ["adam", "timm"])
@pytest.mark.parametrize("recipe", ["cnn", "transformer", "probe"])
def test_settings_on_the_command_line_win_over_a_recipe(recipe: str, optimizer: str) -> None:
    config = compose([f"trainer/recipe={recipe}", f"optimizer={optimizer}", "optimizer.learning_rate=0.5"])
    assert (config.optimizer.learning_rate, config.scheduler.name) == (0.5, "cosine")
    assert config.optimizer.name == ("lion" if optimizer == "timm" else optimizer)
    assert config.model.freeze_features is (recipe == "probe")


def test_the_name_of_a_recipe_is_not_in_the_identity(tiny: Configure) -> None:
    settings = (
        "optimizer=sgd", "optimizer.weight_decay=1e-4", "optimizer.decay_norm_and_bias=false", "scheduler=cosine",
        "scheduler.warmup_epochs=1", "trainer.label_smoothing=0.1",
    )  # fmt: skip
    assert job_of(tiny("trainer/recipe=cnn")).run.id == job_of(tiny(*settings)).run.id
