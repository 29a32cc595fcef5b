"""Whether networks of timm train, export and load in another process: `python -m tests.backbone.timm_networks`.

By default a hundred networks: the smallest of each family (a module of timm), then the second smallest of as many.
"""

import argparse
import json
import logging
import re
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from crackdet.backbone.export import export
from crackdet.config.schema import Config
from crackdet.core.errors import UserError
from crackdet.models.classifier import Classifier
from crackdet.models.factory import build
from tests.backbone.published import publish_run
from tests.composing import compose

IMAGE = (197, 331)  # height and width in pixels that no stride divides


@dataclass(frozen=True)
class Outcome:
    """What works; a message is empty if it works."""

    name: str
    family: str
    image_size: int  # pixels, that the network was published for
    parameters: int  # of the feature extractor
    training: str  # why one step of training fails
    export: str  # why the backbone cannot be exported or loaded
    strides: list[int]
    seconds: float


class Loader:
    """Another process, which loads exported folders and knows nothing of the networks."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __spec__.name, "--loader"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def shapes(self, folder: Path) -> dict[str, list[int]]:
        """Return the shapes of the maps of a backbone with a pyramid."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{folder}\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise UserError(answer["error"])
        return dict(answer)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@contextmanager
def loader() -> Iterator[Loader]:
    process = Loader()
    try:
        yield process
    finally:
        process.close()


def serve() -> None:
    """Answer each folder on standard input with the shapes of its maps."""
    import crackdet

    for line in sys.stdin:
        try:
            backbone = crackdet.load_backbone(line.strip(), pyramid=True).eval()
            with torch.no_grad():
                maps = backbone(torch.rand(1, 3, *IMAGE))
            answer: dict[str, Any] = {name: list(each.shape) for name, each in maps.items()}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


def configuration(name: str, size: int, store: Path) -> Config:
    return compose(
        [
            f"model=timm/{name}", "model.weights=null", "model.linear_features=64", f"data.image_size={size}",
            "data.num_images=16", f"runtime.store={store}", f"runtime.cache={store}/cache", "runtime.device=cpu",
        ]
    )  # fmt: skip


def train_step(model: Classifier, images: Tensor) -> None:
    """Train one step on two images; raise AssertionError if the loss is not finite or a parameter has no gradient."""
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    loss = binary_cross_entropy_with_logits(model(images), torch.tensor([0.0, 1.0]))
    loss.backward()
    assert torch.isfinite(loss), f"the loss is {loss.item()}"
    gradients = [each.grad for each in model.feature_extractor.parameters() if each.grad is not None]
    assert any(each.any() for each in gradients), "no parameter of the feature extractor has a gradient"
    optimizer.step()


def examine(name: str, family: str, size: int, folder: Path, process: Loader) -> Outcome:
    """Train one step at the network's own size, export it, and load it in the other process."""
    start, training, exporting, strides, parameters = time.monotonic(), "", "", list[int](), 0
    try:
        size = min(size, 1024)  # synthetic images are not larger
        config = configuration(name, size, folder / "runs")
        model = build(config)
        parameters = sum(each.numel() for each in model.feature_extractor.parameters())
        train_step(model, torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0)))
    except Exception as error:
        training = f"{type(error).__name__}: {error}" if not isinstance(error, UserError) else str(error)
    else:
        try:
            description = export(publish_run(config, model), folder / "backbone")
            shapes = process.shapes(folder / "backbone")
            assert all(shape[2] > 0 and shape[3] > 0 for shape in shapes.values())
            strides = [stage.stride for stage in description.stages]
        except Exception as error:
            exporting = f"{type(error).__name__}: {error}" if not isinstance(error, UserError) else str(error)
    shutil.rmtree(folder, ignore_errors=True)
    return Outcome(name, family, size, parameters, training, exporting, strides, round(time.monotonic() - start, 1))


def draw(count: int) -> list[tuple[str, str, int]]:
    """Return name, family and image size of networks: the smallest of each family, the second smallest, ..."""
    import timm
    from timm.models import get_pretrained_cfg, list_modules

    ranked: list[tuple[int, int, str, str, int]] = []
    for family in list_modules():
        sizes = []
        for name in timm.list_models(module=family):
            with torch.device("meta"):
                network = timm.create_model(name, num_classes=0)
            published = get_pretrained_cfg(name)
            side = published.input_size[-1] if published else 224
            sizes.append((sum(each.numel() for each in network.parameters()), name, side))
        ranked += [(rank, size, name, family, side) for rank, (size, name, side) in enumerate(sorted(sizes)[:count])]
    return [(name, family, side) for _, _, name, family, side in sorted(ranked)[:count]]


def page(outcomes: list[Outcome]) -> str:
    """Return the Markdown page of the outcomes."""
    fails = [each for each in outcomes if each.training]
    refused = [each for each in outcomes if each.export and not each.training]
    works = [each for each in outcomes if not each.export and not each.training]
    why = {each.name: (each.training or each.export).removeprefix(f"{each.name}: ") for each in fails + refused}
    lines = [
        "# Networks of timm that were examined",
        "",
        f"`make test-timm` made this page with timm {version('timm')}; [timm.md](timm.md) says what is examined.",
    ]
    for title, found, last in (
        ("Train, and serve a detector of any image size", works, "strides of the stages"),
        ("Train, but are refused as the backbone of a detector", refused, "why"),
        ("Do not train", fails, "why"),
    ):
        if found:
            lines += ["", f"## {title} ({len(found)})", ""]
            lines += [f"| network | family | image size | {last} |", "| --- | --- | --- | --- |"]
        for each in sorted(found, key=lambda one: one.family):
            reason = why.get(each.name, " ".join(map(str, each.strides))).partition(", but")[0]
            reason = re.sub(r"^model\.weights=\S+: ", "", " ".join(reason.split()))  # the file is temporary
            lines.append(f"| {each.name} | {each.family} | {each.image_size} | {reason} |")
    return "\n".join(lines) + "\n"


def _named(text: str) -> tuple[str, str, int]:
    from timm.models import get_pretrained_cfg

    family, _, name = text.rpartition("/")
    published = get_pretrained_cfg(name)
    return name, family, published.input_size[-1] if published else 224


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="networks to examine instead, as FAMILY/NAME")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--to", type=Path, help="a file of JSON lines, whose networks are not examined again")
    parser.add_argument("--page", type=Path, help="a Markdown page to write")
    parser.add_argument("--loader", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    if arguments.loader:
        serve()
        return
    outcomes = list[Outcome]()
    if arguments.to and arguments.to.exists():
        outcomes = [Outcome(**json.loads(line)) for line in arguments.to.read_text().splitlines()]
    done = {each.name for each in outcomes}
    with loader() as process, tempfile.TemporaryDirectory() as folder:
        networks = [_named(each) for each in arguments.names] or draw(arguments.count)
        for number, (name, family, size) in enumerate(networks):
            if name in done:
                continue
            outcome = examine(name, family, size, Path(folder) / str(number), process)
            outcomes.append(outcome)
            problem = outcome.training and f"does not train: {outcome.training}"
            problem = problem or (outcome.export and f"not exported: {outcome.export}")
            print(f"{name} ({family}, {size}): {problem or f'strides {outcome.strides}'}", flush=True)
            if arguments.to:
                with arguments.to.open("a") as file:
                    file.write(json.dumps(asdict(outcome)) + "\n")
    if arguments.page:
        arguments.page.write_text(page(outcomes))
    raise SystemExit(int(any(each.training for each in outcomes)))


if __name__ == "__main__":
    main()
