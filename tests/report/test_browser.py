"""The page in a real browser: Debian's `chromium`; skipped where there is none."""

import itertools
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.report.conftest import Sweep

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
SOFTWARE = ("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(SOFTWARE))
        yield chromium
        chromium.close()


def opened(browser: Any, sweep: Sweep, **options: Any) -> tuple[Any, list[str]]:
    """The page, drawn, and what the console said."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
    page, said = context.new_page(), []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url) if not request.url.startswith(SELF) else None)
    page.goto(sweep.report.as_uri())
    page.wait_for_selector("html[data-drawn=yes]", state="attached")
    return page, said


SELF = ("file:", "data:", "blob:")


@pytest.fixture(scope="module")
def shown(browser: Any, sweep: Sweep) -> Any:
    page, said = opened(browser, sweep)
    assert not [line for line in said if "GPU stall" not in line], "nothing is asked for, and nothing goes wrong"
    return page


def column(page: Any, name: str) -> list[str]:
    script = f"rows => rows.filter(r => !r.hidden).map(r => r.querySelector('[data-name={name}]').dataset.value)"
    return page.eval_on_selector_all("table.runs tbody tr", script)  # type: ignore[no-any-return]


def test_every_figure_is_drawn(shown: Any) -> None:
    plots = shown.locator(".plot")
    assert plots.count() == 7
    for index in range(plots.count()):
        assert plots.nth(index).locator(".main-svg").count() > 0
    assert shown.locator("#part1-parameters .scatterlayer path.point").count() == 8
    assert shown.locator("#part1-curves-loss .scatterlayer .trace").count() == 16
    assert shown.evaluate("document.querySelector('#part1-parallel canvas').width") > 300
    assert shown.title() != "taken"


def test_the_table_sorts_by_keyboard_and_filters(shown: Any) -> None:
    head = shown.get_by_role("columnheader", name="parameters").get_by_role("button")
    head.focus()
    shown.keyboard.press("Enter")
    rising = [int(value) for value in column(shown, "parameters")]
    assert rising == sorted(rising) and len(rising) == 8
    shown.keyboard.press("Enter")
    assert [int(value) for value in column(shown, "parameters")] == rising[::-1]
    assert shown.locator("th[aria-sort=descending]").count() == 1
    shown.get_by_role("searchbox").fill("seed=2")
    assert column(shown, "seed") == ["2", "2"]
    assert "2 of 8" in shown.get_by_role("status").inner_text()
    shown.get_by_role("searchbox").fill("")
    assert len(column(shown, "seed")) == 8


def test_the_theme_follows_the_system_and_the_button(browser: Any, sweep: Sweep) -> None:
    page, _said = opened(browser, sweep, color_scheme="dark")

    def brightness() -> int:
        return page.evaluate("getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number)[0]")  # type: ignore[no-any-return]

    def ink() -> str:
        return page.evaluate("document.querySelector('.plot text').style.fill")  # type: ignore[no-any-return]

    assert brightness() < 60
    dark = ink()
    page.get_by_role("button", name="Switch between light and dark").click()
    assert brightness() > 200 and ink() != dark
    page.context.close()


def test_a_phone_shows_it_without_scrolling_sideways(browser: Any, sweep: Sweep) -> None:
    page, _ = opened(browser, sweep, viewport={"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.context.close()


def test_everything_has_a_name_for_those_who_cannot_see_it(shown: Any) -> None:
    levels = shown.eval_on_selector_all("h1, h2, h3", "heads => heads.map(h => Number(h.tagName[1]))")
    assert levels.count(1) == 1 and all(b - a <= 1 for a, b in itertools.pairwise(levels))
    assert shown.locator("img:not([alt])").count() == 0
    assert shown.locator("[role=img]:not([aria-labelledby])").count() == 0
    assert shown.locator("input").count() == shown.locator("label input").count()
    assert shown.evaluate(
        "(ids => ids.length == new Set(ids).size)([...document.querySelectorAll('[id]')].map(e => e.id))"
    )
