"""One thread for small networks: next to other work, several threads wait for each other longer than they compute."""

from collections.abc import Iterator

import pytest
import torch
import torchvision.models
from torch import Tensor


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def mobilenet() -> dict[str, Tensor]:
    return dict(torchvision.models.mobilenet_v2().state_dict())
