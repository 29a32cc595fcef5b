"""Learning rates by depth and over time."""

import pytest
import torch
from safetensors.torch import load_file
from torch import nn, optim
from torch.optim.lr_scheduler import LinearLR

from crackdet.config.optimization import Constant, Cosine
from crackdet.models.factory import build
from crackdet.training.optimizers import build_optimizer, build_scheduler, warmup_factor
from crackdet.training.param_groups import scaled_rates
from tests.jobs import Configure, history, train


def test_warm_up_is_that_of_torch() -> None:
    optimizer = optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)
    reference = LinearLR(optimizer, start_factor=0.1, total_iters=15)
    settings = Cosine(warmup_epochs=1.5, warmup_start_fraction=0.1)
    for step in range(20):
        assert warmup_factor(settings, step, steps_per_epoch=10) == pytest.approx(reference.get_last_lr()[0])
        optimizer.step()
        reference.step()
    assert warmup_factor(Constant(), 0, 10) == 1


def test_rates_are_scaled_for_a_step_and_the_scheduler_sees_the_rate_of_the_head(tiny: Configure) -> None:
    config = tiny("scheduler=cosine", "scheduler.final_fraction=0.5", "optimizer.layer_decay=0.5")
    optimizer = build_optimizer(config.optimizer, build(config))
    scheduler = build_scheduler(config, optimizer)
    optimizer.step()
    scheduler.step()
    with scaled_rates(optimizer, 0.5):
        rates = [group["lr"] for group in optimizer.param_groups]
    assert sorted(rates, reverse=True) == pytest.approx(
        [0.5 * 0.75e-3 * 0.5**above for above in range(3)]
    )  # head and two convolutions
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.75e-3] * 3)


def test_the_history_has_the_rate_at_the_end_of_each_epoch(tiny: Configure) -> None:
    run = train(tiny("scheduler.warmup_epochs=1.5", "scheduler.warmup_start_fraction=0.1", "trainer.max_epochs=3"))
    rates = [float(row["learning_rate"]) for row in history(run)]
    assert rates == pytest.approx([1e-3 * (0.1 + 0.9 * 4 / 7.5), 1e-3, 1e-3])  # of five steps per epoch


def test_a_rate_of_almost_zero_leaves_the_feature_extractor_as_it_was(tiny: Configure) -> None:
    config = tiny("optimizer.backbone_learning_rate=1e-30")
    trained = train(config)
    weights, initial = load_file(trained.weights_file), build(config).state_dict()
    changed = {name.split(".")[0] for name in weights if not torch.allclose(weights[name], initial[name], rtol=1e-6)}
    assert changed == {"classifier"}
