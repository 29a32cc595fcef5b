"""The shortest possible training step: its arithmetic, and the memory traffic that no implementation avoids."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from benchmarks.environment import Machine
from crackdet.config.composing import compose
from crackdet.models.factory import build_on_meta
from crackdet.training.resources import estimate_resources

# Bytes per weight in a step with Adam in fp32. Adam reads weight, gradient and two moments (16) and writes all but the
# gradient (12). In fp32 the weight is read forward and backward (4 + 4) and its gradient written (4). In bf16 the
# weight is read and written as bf16 (4 + 2) and read forward and backward (2 + 2); its gradient is written as fp32 (4),
# block by block, as `crackdet.models.linear` does for the widest layer: a copy in bf16 can be avoided.
TRAFFIC_PER_WEIGHT = {"fp32": 40, "bf16": 42}
CONVOLUTION_BACKWARD = torch.ops.aten.convolution_backward


@dataclass(frozen=True)
class LowerBound:
    """Seconds of a step."""

    arithmetic: float
    traffic: float

    @property
    def seconds(self) -> float:
        return self.arithmetic + self.traffic

    def max_speedup(self, images_per_second: float, batch: int) -> float:
        """Return the largest possible speedup over this throughput."""
        return batch / self.arithmetic / images_per_second

    def __str__(self) -> str:
        return f"{self.seconds:.3g} s ({self.arithmetic:.3g} of arithmetic, {self.traffic:.3g} of traffic)"


def lower_bound(overrides: Sequence[str], machine: Machine, precision: str) -> LowerBound:
    """Return the bound of a step: its FLOPs at the rate of a matrix product, its activations moved twice."""
    config = compose(list(overrides))
    size, batch = config.data.image_size, config.trainer.batch_size
    model = build_on_meta(config)
    with count_flops() as counter:
        model(torch.empty(batch, 3, size, size, device="meta")).sum().backward()
    moved = TRAFFIC_PER_WEIGHT[precision] * model.num_parameters + 2 * estimate_resources(config, precision).activations
    rate = machine.bf16 if precision == "bf16" else machine.fp32
    return LowerBound(counter.get_total_flops() / rate, moved / machine.traffic)


def count_flops() -> FlopCounterMode:
    """Return torch's counter, corrected: it counts the weight gradient of a grouped convolution as if ungrouped."""
    return FlopCounterMode(display=False, custom_mapping={CONVOLUTION_BACKWARD: _convolution_backward})


def _convolution_backward(*args: Any, out_shape: Any, **_: Any) -> int:
    """`args` are the operation's, with shapes for tensors; the last two are groups and output_mask."""
    *others, groups, (of_input, of_weight, _of_bias) = args
    count = flop_registry[CONVOLUTION_BACKWARD]
    input_flops = count(*others, groups, [of_input, False, False], out_val=out_shape)
    weight_flops = count(*others, groups, [False, of_weight, False], out_val=out_shape)
    return int(input_flops + weight_flops // groups)
