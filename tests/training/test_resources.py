import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from crackdet.config.schema import Config
from crackdet.core.errors import RunFailed, WriteFailed
from crackdet.models import factory
from crackdet.store.run import Run
from crackdet.training import resources
from crackdet.training.optimizers import build_optimizer, build_scheduler
from crackdet.training.resources import (
    ResourceEstimate,
    check_resources,
    estimate_resources,
    resume_state_bytes,
    weight_sizes,
)
from crackdet.training.resume_state import BestEpoch, Progress, TrainingState

Configure = Callable[..., Config]
CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_the_estimate_matches_the_real_run(tiny: Configure, tmp_path: Path, name: str) -> None:
    config = tiny(f"optimizer={name}", "model.linear_features=256")
    needs = estimate_resources(config, "fp32")
    model = factory.build(config)
    optimizer = build_optimizer(config.optimizer, model)
    model(torch.rand(8, 3, 32, 32)).sum().backward()
    optimizer.step()
    state = TrainingState(model, optimizer, build_scheduler(config, optimizer), Progress())
    state.progress.best = BestEpoch(1, 0.5, {name: tensor.clone() for name, tensor in model.state_dict().items()})
    assert needs.weights == sum(tensor.nbytes for tensor in model.state_dict().values())
    assert needs.gradients == sum(
        parameter.grad.nbytes for parameter in model.parameters() if parameter.grad is not None
    )
    state.save(tmp_path / "resume.pt", "run")
    on_disk = (tmp_path / "resume.pt").stat().st_size
    assert 2 * on_disk + needs.weights == pytest.approx(needs.disk, rel=0.05)
    weights, trained = weight_sizes(factory.build_on_meta(config))
    assert weights == needs.weights and resume_state_bytes(config, weights, trained) == pytest.approx(on_disk, rel=0.05)


def test_a_resume_state_that_no_longer_training_could_use_is_not_kept(tiny: Configure) -> None:
    for override in ("scheduler=cosine", "runtime.keep_resume_mib=0"):
        config = tiny(override)
        weights, trained = weight_sizes(factory.build_on_meta(config))
        assert weights > 0 and resume_state_bytes(config, weights, trained) == 0


def test_activations_grow_with_the_batch_and_exclude_the_weights(tiny: Configure) -> None:
    wide = "model.linear_features=2048"  # weights of 5 MB, much smaller activations
    small, large = (estimate_resources(tiny(wide, f"trainer.batch_size={n}"), "fp32").activations for n in (4, 8))
    assert large == pytest.approx(2 * small, rel=0.01)
    # convolution inputs and outputs, pooling with its 8-byte indices, for 3, 4 and 8 channels of 32, 16 and 8 pixels
    maps = 3 * 32**2 * 4 + 4 * 32**2 * 4 + 4 * 16**2 * 12 + 8 * 16**2 * 4 + 8 * 8**2 * 12
    assert maps < small / 4 < 3 * maps


def test_the_error_for_too_little_memory_lists_its_parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(resources, "available_memory", lambda: 10 * 2**20)
    needs = ResourceEstimate(4 * 2**20, 4 * 2**20, 8 * 2**20, 2**20, 4 * 2**20)
    with pytest.raises(
        RunFailed, match=r"about 21 MiB \(weights 4, gradients 4, optimizer 8, activations 1, .* 10 MiB"
    ):
        check_resources(needs, CPU, Run(tmp_path, "run"))
    check_resources(ResourceEstimate(1, 1, 1, 1, 1), CPU, Run(tmp_path, "run"))


def test_too_little_disk_space_for_checkpoints_is_an_error(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    with pytest.raises(WriteFailed, match=r"need [\d.]+ MiB, and [\d.]+ MiB are free"):
        check_resources(
            ResourceEstimate(free // 2, 0, 0, 0, 0), torch.device("cuda"), Run(tmp_path / "not yet", "there")
        )


def test_the_space_of_a_saved_state_counts_as_free(tmp_path: Path) -> None:
    run, gpu = Run(tmp_path, "run"), torch.device("cuda")
    needs = ResourceEstimate(
        shutil.disk_usage(tmp_path).free // 3 + 2**28, 0, 0, 0, 0
    )  # three times this is slightly too much
    with pytest.raises(WriteFailed):
        check_resources(needs, gpu, run)
    run.directory.mkdir()
    with run.state_file.open("wb") as file:
        file.truncate(needs.weights)
    check_resources(needs, gpu, run)


V2 = {"limit": "memory.max", "used": "memory.current", "files": ""}
V1 = {"limit": "memory.limit_in_bytes", "used": "memory.usage_in_bytes", "files": "total_"}


@pytest.mark.parametrize(
    ("line", "top", "names"),
    [("0::/jobs/7", "sys/fs/cgroup", V2), ("4:cpu,memory:/jobs/7", "sys/fs/cgroup/memory", V1)],
    ids=["2", "1"],
)
def test_the_tightest_control_group_limits_memory_and_its_page_cache_does_not_count(
    tmp_path: Path, line: str, top: str, names: dict[str, str]
) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9000 kB\nMemAvailable: 8000 kB\n")
    (tmp_path / "proc/self/cgroup").write_text(f"1:name=systemd:/user\n{line}\n")
    for group, limit in (("", "max"), ("jobs", "5000000"), ("jobs/7", "6000000")):
        folder = tmp_path / top / group
        folder.mkdir(parents=True, exist_ok=True)
        (folder / names["limit"]).write_text(f"{limit}\n")
        (folder / names["used"]).write_text("4000000\n")
        (folder / "memory.stat").write_text(
            f"anon 1\n{names['files']}inactive_file 900000\n{names['files']}active_file 100000\n"
        )
    assert resources.available_memory(tmp_path) == 2_000_000
    shutil.rmtree(tmp_path / top)
    assert resources.available_memory(tmp_path) == 8000 * 1024


def test_on_linux_the_available_memory_is_known() -> None:
    available = resources.available_memory()
    if Path("/proc/meminfo").exists():
        assert available is not None and 0 < available < 2**50
