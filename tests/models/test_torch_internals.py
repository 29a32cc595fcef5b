"""The private parts of torch: each test names what another version of torch may have changed."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from crackdet.models.torch_internals import OperatorMode, is_batchnorm, is_compiled, storage_id, without_compiler

TORCH = f"torch {torch.__version__}"
WITHOUT_COMPILER = """
import sys
import torch
from torch import nn
from crackdet.models.flops import MetaFlopCounter
from crackdet.models.torch_internals import without_compiler

network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(36, 1))
for kind in (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD):
    optimizer = without_compiler(kind)(network.parameters(), lr=0.1)
    network(torch.rand(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    optimizer.load_state_dict(optimizer.state_dict())
with MetaFlopCounter():
    network.to("meta")(torch.empty(2, 3, 8, 8, device="meta"))
print(*sorted({"torch._dynamo", "sympy"} & set(sys.modules)))
"""


def test_a_training_step_and_a_forward_pass_on_the_meta_device_do_not_import_the_compiler() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_COMPILER], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert not done.stdout.split(), (
        f"{TORCH} imports its compiler, which slows the start of every run: look at `_should_skip_dynamo` of "
        "TorchDispatchMode, and at which methods of Optimizer are wrapped (WRAPPED_METHODS)"
    )


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD])
def test_an_optimizer_without_wrappers_makes_the_same_steps(kind: type[torch.optim.Adam]) -> None:
    trained = []
    for create in (kind, without_compiler(kind)):  # type: ignore[arg-type]  # mypy: a class is not Hashable
        torch.manual_seed(0)
        layer = nn.Linear(3, 2)
        optimizer = create(layer.parameters(), lr=0.1, weight_decay=0.01)
        for _ in range(3):
            layer(torch.rand(4, 3)).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        trained.append((layer.weight, optimizer.state_dict()["param_groups"]))
    assert torch.equal(trained[0][0], trained[1][0]), f"{TORCH} wraps Optimizer.step by what computes"
    assert trained[0][1] == trained[1][1]


def test_an_operator_mode_sees_each_operator() -> None:
    class Recorder(OperatorMode):
        def __init__(self) -> None:
            super().__init__()
            self.names: list[str] = []

        def call(self, operator, args, kwargs):  # type: ignore[no-untyped-def]
            self.names.append(operator.name())
            return super().call(operator, args, kwargs)

    recorder = Recorder()
    with recorder, torch.no_grad():
        nn.functional.linear(torch.empty(1, 2, device="meta"), torch.empty(3, 2, device="meta"))
    assert "aten::mm" in recorder.names, f"{TORCH} has changed `__torch_dispatch__` or OpOverload.decompose"


def test_a_compiled_module_is_known_as_compiled() -> None:
    module = nn.Linear(1, 1)
    assert not is_compiled(module)
    module.compile(backend="eager")
    assert is_compiled(module), f"{TORCH} keeps what nn.Module.compile() made elsewhere than in `_compiled_call_impl`"


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_tensors_have_the_same_storage_id_if_and_only_if_they_share_memory(device: str) -> None:
    tensor, other = torch.empty(4, device=device), torch.empty(4, device=device)
    assert storage_id(tensor) == storage_id(tensor[1:]), f"{TORCH} has another `UntypedStorage._cdata`"
    assert storage_id(tensor) != storage_id(other)


def test_batch_normalisation_is_recognised_in_all_its_forms() -> None:
    for module in (nn.BatchNorm1d(2), nn.BatchNorm2d(2), nn.BatchNorm3d(2), nn.SyncBatchNorm(2), nn.LazyBatchNorm2d()):
        assert is_batchnorm(module), f"{TORCH} has another base class than `_BatchNorm`"
    for other in (nn.LayerNorm(2), nn.GroupNorm(1, 2), nn.InstanceNorm2d(2), nn.Conv2d(1, 1, 1)):
        assert not is_batchnorm(other)
