"""A small sweep with everything that a report shows: real runs on image files, and runs that did not finish."""

from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from crackdet.data import synthetic
from crackdet.report.build import write_report
from crackdet.store.failures import Failure, record_failure
from crackdet.store.run import Run
from crackdet.store.run_store import RunStore
from crackdet.store.sweep_record import SweepRecord
from tests.composing import compose
from tests.jobs import train

MARKUP = "<img src=x onerror=document.title='taken'>"  # in file names and messages
SETTINGS = ("trainer.batch_size=8", "trainer.max_epochs=2", "model.linear_features=16", "optimizer.learning_rate=1e-3")


@dataclass(frozen=True)
class Sweep:
    """A sweep with its report."""

    folder: Path
    store: RunStore
    finished: list[Run]
    images: Path
    report: Path


@pytest.fixture(scope="session")
def sweep(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Sweep:
    folder = tmp_path_factory.mktemp("report")
    images = _write_images(folder / "images")
    store = RunStore(folder / "runs")
    record = SweepRecord(folder / "sweep")
    base = ["data=folder", f"data.root={images}", "data.image_size=32", "data.valid_fraction=0.5", *SETTINGS]
    base_overrides = [f"runtime.store={store.root}", f"runtime.cache={cache}", "runtime.device=cpu"]
    finished = []
    for seed in range(4):
        for channels in ("[2,4]", "[4,8]"):
            overrides = [*base, *base_overrides, f"model.conv_out={channels}", f"seed={seed}"]
            run = train(compose(overrides), *overrides)
            record.add(run, overrides)
            finished.append(run)
    reasons = ((Failure.ERROR, f"no space for {MARKUP}"), (Failure.PRUNED, "worse than the median"))
    for seed, (kind, reason) in enumerate((*reasons, (Failure.DIED, "killed")), 10):
        run = store.run(f"custom-{seed:012x}")
        run.directory.mkdir()
        record_failure(run, kind, reason)
        record.add(run, [f"seed={seed}"])
    return Sweep(folder / "sweep", store, finished, images, write_report(folder / "sweep"))


def _write_images(root: Path) -> Path:
    """Write forty-eight images, half of them hard to classify, with markup in their names."""
    for index in range(48):
        crack = synthetic.label(index, seed=1, crack_fraction=0.5)
        folder = root / ("crack" if crack else "noncrack")
        folder.mkdir(parents=True, exist_ok=True)
        sample = synthetic.render(index, seed=1, image_size=40, crack_fraction=0.5, hard_negatives=1, difficulty=0.9)
        Image.fromarray(sample.image).save(folder / f"{MARKUP}{index}.png")
    return root


class Reader(HTMLParser):
    """The elements of a page in order, with their attributes and text."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str], list[str]]] = []
        self._open: list[list[str]] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        text: list[str] = []
        self.elements.append((tag, {name: value or "" for name, value in attrs}, text))
        if tag not in ("meta", "img", "input", "rect"):
            self._open.append(text)

    def handle_endtag(self, tag: str) -> None:
        if self._open:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        for text in self._open:
            text.append(data)

    def find(self, tag: str, **attributes: str) -> Iterator[tuple[dict[str, str], str]]:
        """Return attributes and text of the matching elements; `data_name` stands for `data-name`."""
        wanted = {name.replace("_", "-").strip("-"): value for name, value in attributes.items()}
        for name, attrs, text in self.elements:
            if name == tag and all(attrs.get(key) == value for key, value in wanted.items()):
                yield attrs, "".join(text)


@pytest.fixture(scope="session")
def page(sweep: Sweep) -> Reader:
    return Reader(sweep.report)
