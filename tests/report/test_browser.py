"""The page in a real browser; skipped without Debian's `chromium`."""

import csv
import itertools
import math
import os
import re
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.report.conftest import Sweep

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
REQUIRED = "CRACKDET_REQUIRE_BROWSER" in os.environ  # then a missing browser fails the tests
pytestmark = pytest.mark.skipif(CHROMIUM is None and not REQUIRED, reason="needs a browser: apt-get install chromium")
SELF = ("file:", "data:", "blob:")
SOFTWARE_RENDERING = ("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(SOFTWARE_RENDERING))
        yield chromium
        chromium.close()


def open_page(browser: Any, sweep: Sweep, **options: Any) -> tuple[Any, list[str]]:
    """Return the page with its figures, and the messages and requests that it must not cause."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
    page, messages = context.new_page(), []
    page.on("console", lambda message: messages.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: messages.append(request.url) if not request.url.startswith(SELF) else None)
    page.goto(sweep.report.as_uri())
    page.wait_for_selector("html[data-drawn=yes]", state="attached")
    return page, messages


@pytest.fixture(scope="module")
def opened(browser: Any, sweep: Sweep) -> Any:
    page, messages = open_page(browser, sweep)
    assert not [line for line in messages if "GPU stall" not in line], "no request and no error"
    return page


def column(page: Any, name: str) -> list[str]:
    script = f"rows => rows.filter(r => !r.hidden).map(r => r.querySelector('[data-name={name}]').dataset.value)"
    return page.eval_on_selector_all("table.runs tbody tr", script)


def test_every_figure_is_drawn(opened: Any) -> None:
    plots = opened.locator(".plot")
    assert plots.count() == 8
    for index in range(plots.count()):
        assert plots.nth(index).locator(".main-svg").count() > 0
    assert opened.locator("#section1-parameters .scatterlayer path.point").count() == 8
    assert opened.locator("#section1-curves-loss .scatterlayer .trace").count() == 16
    assert opened.evaluate("document.querySelector('#section1-parallel canvas').width") > 300
    assert opened.title() != "taken"


def test_the_table_can_be_sorted_by_keyboard_and_filtered(opened: Any) -> None:
    head = opened.get_by_role("columnheader", name=re.compile("^parameters")).get_by_role("button")
    head.focus()
    opened.keyboard.press("Enter")
    rising = [int(value) for value in column(opened, "parameters")]
    assert rising == sorted(rising) and len(rising) == 8
    opened.keyboard.press("Enter")
    assert [int(value) for value in column(opened, "parameters")] == rising[::-1]
    assert opened.locator("th[aria-sort=descending]").count() == 1
    opened.get_by_role("searchbox").fill("seed=2")
    assert column(opened, "seed") == ["2", "2"]
    assert "2 of 8" in opened.get_by_role("status").inner_text()
    opened.get_by_role("searchbox").fill("")
    assert len(column(opened, "seed")) == 8


def test_the_theme_follows_the_system_and_the_button(browser: Any, sweep: Sweep) -> None:
    page, _ = open_page(browser, sweep, color_scheme="dark")

    def brightness() -> int:
        return page.evaluate("getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number)[0]")

    def ink() -> str:
        return page.evaluate("document.querySelector('.plot text').style.fill")

    assert brightness() < 60
    dark = ink()
    page.get_by_role("button", name="Switch between light and dark").click()
    assert brightness() > 200 and ink() != dark
    page.context.close()


def test_a_phone_shows_the_page_without_scrolling_sideways(browser: Any, sweep: Sweep) -> None:
    page, _ = open_page(browser, sweep, viewport={"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.context.close()


def test_screen_readers_find_headings_and_labels(opened: Any) -> None:
    levels = opened.eval_on_selector_all("h1, h2, h3", "heads => heads.map(h => Number(h.tagName[1]))")
    assert levels.count(1) == 1 and all(b - a <= 1 for a, b in itertools.pairwise(levels))
    assert opened.locator("img:not([alt])").count() == 0
    assert opened.locator("[role=img]:not([aria-labelledby])").count() == 0
    assert opened.locator("input").count() == opened.locator("label input").count()
    assert opened.evaluate(
        "(ids => ids.length == new Set(ids).size)([...document.querySelectorAll('[id]')].map(e => e.id))"
    )


def test_a_phone_shows_the_accuracy_of_each_run(browser: Any, sweep: Sweep) -> None:
    page, _ = open_page(browser, sweep, viewport={"width": 390, "height": 844})
    cells = page.locator("table.runs tbody td[data-name=accuracy]")
    for index in range(cells.count()):
        box = cells.nth(index).bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390
    page.context.close()


def test_mistakes_can_be_filtered_by_label_and_confidence(browser: Any, sweep: Sweep) -> None:
    page, _ = open_page(browser, sweep)
    items = page.locator("#section1-mistakes li")
    known = items.evaluate_all("items => items.map(i => [i.dataset.label, Number(i.dataset.confidence)])")
    assert len(known) > 2 and all(0.5 <= confidence <= 1 for _, confidence in known)
    slider = page.locator("[data-pictures] input[type=range]")
    visible = page.locator("#section1-mistakes li:not([hidden])")
    least = math.floor(100 * min(confidence for _, confidence in known))
    for percent in (100, least + 1, least, 50):
        slider.evaluate(
            "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')); }", percent
        )
        assert visible.count() == sum(confidence >= percent / 100 for _, confidence in known)
    page.locator("[data-pictures] select").select_option("crack")
    assert visible.count() == sum(label == "crack" for label, _ in known)
    page.context.close()


def test_images_are_shown_one_by_one_and_wrong_labels_are_collected(browser: Any, sweep: Sweep) -> None:
    page, messages = open_page(browser, sweep)
    items = page.locator("#section1-mistakes li")
    page.locator("#section1-mistakes img").first.click()
    viewer = page.locator("#viewer")
    assert viewer.is_visible() and page.locator("#section1-relabel").is_hidden()
    assert viewer.locator("img").first.get_attribute("src") == items.nth(0).locator("img").get_attribute("src")
    page.keyboard.press("ArrowRight")
    assert viewer.locator("img").first.get_attribute("src") == items.nth(1).locator("img").get_attribute("src")
    viewer.get_by_label("The label is wrong").check()
    page.keyboard.press("Escape")
    assert viewer.is_hidden()
    rows = list(csv.reader(page.locator("#section1-relabel textarea").input_value().splitlines()))
    label = items.nth(1).get_attribute("data-label")
    corrected = {"crack": "no crack", "no crack": "crack"}[label]
    assert rows == [["path", "label", "corrected_label"], [items.nth(1).get_attribute("data-path"), label, corrected]]
    with page.expect_download() as download:
        page.get_by_role("link", name="Download relabel.csv").click()
    assert list(csv.reader(download.value.path().read_text().splitlines())) == rows
    assert not [line for line in messages if "GPU stall" not in line]
    page.context.close()
