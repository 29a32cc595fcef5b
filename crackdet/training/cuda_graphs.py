"""Training and evaluation steps captured as CUDA graphs and replayed.

Python takes longer to launch the hundreds of small kernels of a step than many GPUs take to compute them; a graph is
one launch. The results are bit-identical: the same kernels run on the same memory.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, optim

from crackdet.config.optimization import TimmOptimizer
from crackdet.config.schema import Config, UserModel
from crackdet.core.errors import RunFailed
from crackdet.training.resources import ResourceEstimate

MEMORY_FACTOR = 2  # of a run's estimate must be free: a smaller last batch needs memory outside the graph


def use_cuda_graphs(config: Config, device: torch.device, needs: ResourceEstimate) -> bool:
    """Return whether to capture the steps of a run: on a GPU with enough memory, if each batch is an optimizer step.

    By default a user's own network is not captured: it may synchronise with the GPU, or count its calls in Python.
    Neither are timm's optimizers, which do the latter, nor gradual unfreezing, which changes what a step computes.
    """
    if device.type != "cuda" or config.trainer.accumulate_grad_batches > 1:
        return False
    if isinstance(config.optimizer, TimmOptimizer) or config.trainer.unfreeze_epochs is not None:
        return False
    enabled = config.runtime.cuda_graphs
    if enabled is None:
        enabled = not isinstance(config.model, UserModel)
    free, _ = torch.cuda.mem_get_info(device)
    return enabled and MEMORY_FACTOR * needs.memory <= free


@cache  # for all runs of the process: cuBLAS keeps 64 MiB for each stream that it works in
def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


@contextmanager
def capture_stream(device: torch.device) -> Iterator[None]:
    """Run all work of a block in a stream that can be captured; the default stream cannot."""
    default, stream = torch.cuda.current_stream(device), _stream(device)
    stream.wait_stream(default)
    try:
        with torch.cuda.stream(stream):
            yield
    finally:
        default.wait_stream(stream)


class GraphedStep:
    """A step function that runs the first full batch directly, is captured at the second, and replayed after that.

    The function may read and write tensors that keep their memory, such as weights. Its first input has a row for each
    image; inputs other than tensors must not change. Batches of another size call the function directly. A graph
    contains the learning rates of `optimizer`; after a change it is captured again at the second call with the same
    rates, so that a warm-up calls the function directly. All calls must be within one block of `capture_stream`.
    """

    def __init__(
        self, function: Callable[..., Sequence[Tensor]], batch_size: int, optimizer: optim.Optimizer | None = None
    ) -> None:
        self._function, self._batch_size = function, batch_size
        self._param_groups = optimizer.param_groups if optimizer else []
        self._is_warm = False  # kernels are loaded and chosen
        self._graph: torch.cuda.CUDAGraph | None = None
        self._rates: list[float] = []  # of the last call
        self._captured_rates: list[float] = []
        self._inputs: Sequence[Any] = ()
        self._outputs: Sequence[Tensor] = ()

    def __call__(self, *inputs: Any) -> Sequence[Tensor]:
        """Return the function's outputs.

        Raises:
            RunFailed: If the function cannot be captured.
        """
        before, self._rates = self._rates, [group["lr"] for group in self._param_groups]
        is_captured = self._graph is not None and self._captured_rates == self._rates
        if len(inputs[0]) != self._batch_size or not self._is_warm or not (is_captured or self._rates == before):
            self._is_warm = self._is_warm or len(inputs[0]) == self._batch_size
            return self._function(*inputs)
        if not self._inputs:
            self._inputs = [value.clone() if isinstance(value, Tensor) else value for value in inputs]
        else:
            for static, value in zip(self._inputs, inputs, strict=True):
                if isinstance(static, Tensor):
                    static.copy_(value)
        if self._graph is None or self._captured_rates != self._rates:
            self._graph, self._captured_rates = self._capture(), self._rates
        self._graph.replay()
        return [output.clone() for output in self._outputs]  # the next replay overwrites them

    def _capture(self) -> torch.cuda.CUDAGraph:
        """Return a graph of the function on the static inputs; capturing computes nothing."""
        graph, generator = torch.cuda.CUDAGraph(), torch.cuda.default_generators[torch.cuda.current_device()]
        torch.cuda.empty_cache()  # during the capture no memory can be freed
        pool = None if self._graph is None else self._graph.pool()
        generator_state = generator.get_state()
        torch.clear_autocast_cache()  # its converted weights are not the graph's
        self._set_capturable(True)
        try:
            graph.capture_begin(pool, capture_error_mode="thread_local")  # other threads may use the GPU
            try:
                self._outputs = self._function(*self._inputs)
            finally:
                graph.capture_end()
        except RuntimeError as error:
            # a failed capture leaves the generator in capture mode
            generator.graphsafe_set_state(torch.Generator(generator.device).set_state(generator_state))
            for cause in (error, error.__context__):
                if isinstance(cause, torch.OutOfMemoryError):
                    raise cause from None
            reason = str(error).partition("\n")[0]
            message = f"the network cannot be captured in a CUDA graph ({reason}); set runtime.cuda_graphs=false"
            raise RunFailed(message) from error
        finally:
            self._set_capturable(False)
            torch.clear_autocast_cache()
        return graph

    def _set_capturable(self, capturable: bool) -> None:
        for group in self._param_groups:
            if "capturable" in group:  # Adam checks it
                group["capturable"] = capturable
