"""Work of a GPU recorded once, as a CUDA graph, and replayed.

Python takes longer to launch the hundreds of small kernels of a step than many a GPU to compute them. A graph is one
launch. It gives the same numbers, to the last bit, since it is the same kernels over the same places in memory.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, optim

from crackdet.config.schema import Config, UserModel
from crackdet.core.errors import RunFailed
from crackdet.training.resources import ResourceEstimate

ROOM = 2  # times a run's needs: beside the graph, a last batch that is smaller has memory of its own


def use_cuda_graphs(config: Config, device: torch.device, needs: ResourceEstimate) -> bool:
    """Whether a run's batches are recorded.

    On a GPU with room for it, where each batch is a step, and where the network is known to do nothing but compute on
    tensors: one of the user's own may wait for the GPU, or count its calls in Python, unless `runtime.cuda_graphs`
    says that it does not.
    """
    if device.type != "cuda" or config.trainer.accumulate_grad_batches > 1:
        return False
    wished = config.runtime.cuda_graphs
    if wished is None:
        wished = not isinstance(config.model, UserModel)
    free, _ = torch.cuda.mem_get_info(device)
    return wished and ROOM * needs.memory <= free


@cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


@contextmanager
def capture_stream(device: torch.device) -> Iterator[None]:
    """A stream for all work of a block, recorded or not: the usual one cannot be recorded.

    It is the same for all runs of the process, since cuBLAS takes 64 MiB for each that it works in, for good.
    """
    usual, own = torch.cuda.current_stream(device), _stream(device)
    own.wait_stream(usual)
    try:
        with torch.cuda.stream(own):
            yield
    finally:
        usual.wait_stream(own)


class GraphedStep:
    """A function of batches, called as it is for the first and recorded at the second of the usual size.

    It may read and write tensors that stay where they are, such as weights. Its first input has a row for each image;
    those that are no tensors are always the same. Batches of another size go through the function itself. Where it
    makes steps of an optimizer, the graph holds the learning rate as it was then, and is recorded anew when that has
    changed. All calls are within one block of `capture_stream`.
    """

    def __init__(
        self, function: Callable[..., Sequence[Tensor]], batch_size: int, optimizer: optim.Optimizer | None = None
    ) -> None:
        self._function, self._batch_size = function, batch_size
        self._groups = optimizer.param_groups if optimizer else []
        self._warm = False  # kernels are loaded and chosen
        self._graph: torch.cuda.CUDAGraph | None = None
        self._rates: list[float] = []  # of the graph
        self._inputs: Sequence[Any] = ()
        self._outputs: Sequence[Tensor] = ()

    def __call__(self, *inputs: Any) -> Sequence[Tensor]:
        """What the function gives.

        Raises:
            RunFailed: where it cannot be recorded.
        """
        if len(inputs[0]) != self._batch_size or not self._warm:
            self._warm = self._warm or len(inputs[0]) == self._batch_size
            return self._function(*inputs)
        if not self._inputs:
            self._inputs = [value.clone() if isinstance(value, Tensor) else value for value in inputs]
        else:
            for place, value in zip(self._inputs, inputs, strict=True):
                if isinstance(place, Tensor):
                    place.copy_(value)
        rates = [group["lr"] for group in self._groups]
        if self._graph is None or self._rates != rates:
            self._graph, self._rates = self._record(), rates
        self._graph.replay()
        return [output.clone() for output in self._outputs]  # the next replay writes over them

    def _record(self) -> torch.cuda.CUDAGraph:
        """A graph of the function over the places of its inputs; recording computes nothing."""
        graph, generator = torch.cuda.CUDAGraph(), torch.cuda.default_generators[torch.cuda.current_device()]
        torch.cuda.empty_cache()  # while it is recorded nothing can be given back
        pool = None if self._graph is None else self._graph.pool()
        before = generator.get_state()
        torch.clear_autocast_cache()  # of converted weights, of which somebody else lets go
        self._say_recordable(True)
        try:
            graph.capture_begin(pool, capture_error_mode="thread_local")  # other threads go on
            try:
                self._outputs = self._function(*self._inputs)
            finally:
                graph.capture_end()
        except RuntimeError as error:
            # the generator would believe for ever that it is being recorded
            generator.graphsafe_set_state(torch.Generator(generator.device).set_state(before))
            for cause in (error, error.__context__):
                if isinstance(cause, torch.OutOfMemoryError):
                    raise cause from None
            reason = str(error).partition("\n")[0]
            raise RunFailed(
                f"the network cannot be recorded as a CUDA graph ({reason}); "
                "runtime.cuda_graphs=false trains it without"
            ) from error
        finally:
            self._say_recordable(False)
            torch.clear_autocast_cache()
        return graph

    def _say_recordable(self, yes: bool) -> None:
        """To Adam, whose step asks for it."""
        for group in self._groups:
            if "capturable" in group:
                group["capturable"] = yes
