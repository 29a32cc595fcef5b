"""What the report of a large store costs: `python -m benchmarks.report [--runs 1000,10000]`.

Time and size of `crackdet report` on a store of simulated results and, if Chromium is installed, the time until it has
drawn every figure of the page.
"""

import shutil
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.measurement import HEADER, Measurement, run_python
from benchmarks.stores import fill

LIMITS = {1000: (20.0, 15.0)}  # runs: seconds and MB; larger stores only have to open
SOFTWARE_RENDERING = ("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
TIMEOUT = 120.0  # seconds


def measure(runs: int, folder: Path) -> list[Measurement]:
    store, page = folder / f"store-{runs}", folder / f"report-{runs}.html"
    fill(store, runs)
    run_python("-m", "crackdet", "runs", "--store", str(store), folder=folder)  # reads the files into the page cache
    seconds, _ = run_python("-m", "crackdet", "report", str(store), "--to", str(page), folder=folder)
    max_seconds, max_size = LIMITS.get(runs, (TIMEOUT, 15.0))
    size = page.stat().st_size / 1e6
    what = f"the report of {runs} runs"
    rows = [
        Measurement(f"{what}: written in", "goal", max_seconds, seconds, "`crackdet report`, a process", True, "s"),
        Measurement(f"{what}: size", "goal", max_size, size, "one file", True, "MB"),
    ]
    if (drawing := drawing_time(page)) is not None:
        rows.append(Measurement(f"{what}: drawn in", "goal", TIMEOUT, drawing, "headless Chromium, no GPU", True, "s"))
    return rows


def drawing_time(page: Path) -> float | None:
    """Return the seconds until a browser has drawn all figures; None without a browser."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        return None
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(SOFTWARE_RENDERING))
        tab = browser.new_page()
        began = time.perf_counter()
        tab.goto(page.as_uri(), timeout=1000 * TIMEOUT)
        tab.wait_for_selector("html[data-drawn=yes]", state="attached", timeout=1000 * TIMEOUT)
        seconds = time.perf_counter() - began
        browser.close()
    return seconds


def main(
    runs: Annotated[str, typer.Option(help="Sizes of stores, separated by commas.")] = "1000,10000",
    keep: Annotated[Path | None, typer.Option(help="Folder in which to keep stores and pages.")] = None,
) -> None:
    print(HEADER)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) if keep is None else keep
        folder.mkdir(parents=True, exist_ok=True)
        for number in map(int, runs.split(",")):
            for figure in measure(number, folder):
                print(figure.row(), flush=True)


if __name__ == "__main__":
    typer.run(main)
