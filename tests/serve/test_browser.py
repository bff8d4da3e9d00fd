"""The page in a real browser: Debian's Chromium, led by Playwright. Screenshots go to $TRIPTYCH_SCREENSHOTS."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.serve.running import running
from tests.serve.test_see_routes import png
from triptych.serve.app import build_app
from triptych.serve.catalogue import Catalogue
from triptych.serve.gate import Access

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

playwright: Any = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed")]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(params=[(1100, 900), (360, 740)], ids=["desk", "phone"])
def page(browser: Browser, url: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page, open; no request goes elsewhere and nothing is complained of in the console."""
    width, height = request.param
    opened = browser.new_page(viewport={"width": width, "height": height})
    asked: list[str] = []
    complaints: list[str] = []
    opened.on("request", lambda one: asked.append(one.url))
    opened.on("console", lambda one: complaints.append(one.text) if one.type in ("error", "warning") else None)
    opened.on("pageerror", lambda one: complaints.append(str(one)))
    opened.goto(url)
    opened.wait_for_selector("#panel-spell:not([hidden])")
    yield opened
    assert all(one.startswith((url, "data:", "blob:")) for one in asked), asked
    assert [one for one in complaints if "status of 4" not in one and "status of 5" not in one] == []
    assert not opened.evaluate("document.documentElement.scrollWidth > innerWidth"), "wider than the screen"
    opened.close()


def shoot(page: Page, name: str) -> None:
    folder = os.environ.get("TRIPTYCH_SCREENSHOTS")
    if folder:
        width = (page.viewport_size or {"width": 0})["width"]
        page.screenshot(path=str(Path(folder) / f"{name}-{width}.png"), full_page=True)


def test_spell(page: Page, catalogue: Catalogue) -> None:
    page.fill("#spell-source", "K AA SH IY T")
    page.click("#spell-form button.go")
    page.wait_for_selector("#spell-answer:not([hidden])")
    expected = catalogue.speller("first").predict("K AA SH IY T", n_best=5)[0]
    assert page.locator("#spell-table tbody tr td:nth-child(2)").all_inner_texts() == [
        candidate.text or "(nothing)" for candidate in expected.candidates
    ]
    assert page.locator("#spell-attention tr").count() == len(expected.symbols) + 2
    shoot(page, "spell")
    page.select_option("#spell-method", "sample")
    page.fill("#spell-samples", "3")
    page.locator("#spell-examples button").nth(2).click()
    playwright.expect(page.locator("#spell-table tbody tr")).to_have_count(3)
    page.select_option("#spell-method", "greedy")
    page.click("#spell-form button.go")
    playwright.expect(page.locator("#spell-table tbody tr")).to_have_count(1)


def test_errors_appear_as_words(page: Page) -> None:
    page.fill("#spell-source", "K " * 200)
    page.click("#spell-form button.go")
    page.wait_for_selector("#problem:not([hidden])")
    assert "the number of symbols of a source is 200; expected at most 128" in page.inner_text("#problem")
    assert page.is_enabled("#spell-form button.go")
    shoot(page, "error")
    page.fill("#spell-source", "K AA")
    page.click("#spell-form button.go")
    page.wait_for_selector("#spell-answer:not([hidden])")
    assert page.is_hidden("#problem")


def test_see_by_file_and_by_drawing(page: Page, catalogue: Catalogue) -> None:
    page.click("#tab-see")
    page.click("#see-form button.go")
    page.wait_for_selector("#problem:not([hidden])")
    assert page.inner_text("#problem") == "No image is chosen. Choose a file, or draw one."
    page.set_input_files("#see-file", {"name": "../../evil.png", "mimeType": "image/png", "buffer": png()})
    page.click("#see-form button.go")
    page.wait_for_selector("#see-answer:not([hidden])")
    label = catalogue.classifier("digits").predict(png())[0].label
    assert page.locator("#see-table tbody td").first.inner_text() == label
    assert page.locator("#see-maps canvas").count() == 4
    bar = page.locator("#see-table .bar span").first.bounding_box()
    cell = page.locator("#see-table .bar").first.bounding_box()
    assert bar is not None
    assert cell is not None
    assert bar["width"] < 0.3 * cell["width"]  # of an untrained model's ten classes the best has some ten percent
    page.set_input_files("#see-file", {"name": "no.png", "mimeType": "image/png", "buffer": b"nothing"})
    page.click("#see-form button.go")
    page.wait_for_selector("#problem:not([hidden])")
    assert "no picture of a known format" in page.inner_text("#problem")
    page.locator("#see-canvas").scroll_into_view_if_needed()
    box = page.locator("#see-canvas").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 140, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 140, box["y"] + 240, steps=8)
    page.mouse.up()
    page.click("#see-form button.go")
    page.wait_for_selector("#problem", state="hidden")
    playwright.expect(page.locator("#status")).to_be_empty()
    playwright.expect(page.locator("#see-given")).to_have_js_property("naturalWidth", 280)
    shoot(page, "see")


def test_recall_comes_back_with_the_energy_falling(page: Page) -> None:
    page.click("#tab-recall")
    playwright.expect(page.locator("#recall-pattern option")).to_have_count(12)
    page.select_option("#recall-pattern", "4")
    playwright.expect(page.locator("#status")).to_be_empty()
    page.select_option("#recall-hide", "lower")
    page.fill("#recall-noise", "0.1")
    page.click("#recall-form button.go")
    page.wait_for_selector("#recall-answer:not([hidden])")
    words = page.inner_text("#recall-words")
    assert "p4 (pattern 4), the one it was made from" in words
    before, after = words.split("energy from ")[1].rstrip(".").split(" to ")
    assert float(after) <= float(before)
    playwright.expect(page.locator("#recall-play")).to_have_text("Play", timeout=15_000)
    assert page.input_value("#recall-step") == page.get_attribute("#recall-step", "max")
    shoot(page, "recall")


def test_everything_by_keyboard(page: Page) -> None:
    page.focus("#tab-spell")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.id") == "tab-see"
    page.focus("#see-canvas")
    page.keyboard.press(" ")
    for _ in range(5):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    page.focus("#see-form button.go")
    page.keyboard.press("Enter")
    page.wait_for_selector("#see-answer:not([hidden])")
    page.focus("#tab-see")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "spell-source"
    page.keyboard.press("Enter")
    page.wait_for_selector("#spell-answer:not([hidden])")


def test_a_key_is_asked_for_and_a_server_that_has_gone_is_told_of(browser: Browser, catalogue: Catalogue) -> None:
    opened = browser.new_page()
    with running(build_app(catalogue, access=Access("correct-horse"))) as url:
        opened.goto(url)
        opened.wait_for_selector("#key-form:not([hidden])")
        assert "the key is missing or wrong" in opened.inner_text("#problem")
        opened.fill("#key", "correct-horse")
        opened.click("#key-form button")
        opened.wait_for_selector("#panel-spell:not([hidden])")
        assert opened.is_hidden("#key-form")
    opened.click("#spell-form button.go")
    opened.wait_for_selector("#problem:not([hidden])")
    assert opened.inner_text("#problem") == "The server cannot be reached. Is it still running?"
    opened.close()
