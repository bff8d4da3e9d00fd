"""The page in a real browser: Debian's Chromium, led by Playwright. Screenshots go to $TRIPTYCH_SCREENSHOTS."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tests.serve.running import running
from tests.serve.test_see_routes import png
from tests.serve.test_text import tokens_run
from triptych.api.memories import ImageSize
from triptych.api.serving import Catalogue, ServedMemory, load_catalogue
from triptych.config.serve import ServeLimits
from triptych.memory.memory import Memory
from triptych.runs.run import Run
from triptych.serve.access import Access
from triptych.serve.app import build_app

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


@pytest.fixture(params=[(1100, 900), (768, 1024), (360, 740)], ids=["desk", "tablet", "phone"])
def page(browser: Browser, url: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page, open; no request goes elsewhere and nothing is reported in the console."""
    width, height = request.param
    opened = browser.new_page(viewport={"width": width, "height": height})
    asked: list[str] = []
    reports: list[str] = []
    opened.on("request", lambda one: asked.append(one.url))
    opened.on("console", lambda one: reports.append(one.text) if one.type in ("error", "warning") else None)
    opened.on("pageerror", lambda one: reports.append(str(one)))
    opened.goto(url)
    opened.wait_for_selector("#panel-spell:not([hidden])")
    yield opened
    assert all(one.startswith((url, "data:", "blob:")) for one in asked), asked
    assert [one for one in reports if "status of 4" not in one and "status of 5" not in one] == []
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
    expected = catalogue.spellers["first"].speller.predict("K AA SH IY T", n_best=5)[0]
    assert page.locator("#spell-table tbody tr td:nth-child(2)").all_inner_texts() == [
        candidate.text or "(empty)" for candidate in expected.candidates
    ]
    assert page.locator("#spell-attention tr").count() == len(expected.symbols) + 2
    shoot(page, "spell")
    page.select_option("#spell-method", "sample")
    page.fill("#spell-samples", "16")
    page.fill("#spell-p", "1")
    page.locator("#spell-examples button").nth(2).click()
    page.wait_for_selector("#spell-answer:not([hidden])")
    playwright.expect(page.locator("#status")).to_be_empty()
    texts = page.locator("#spell-table tbody tr td:nth-child(2)").all_inner_texts()
    times = [int(one) for one in page.locator("#spell-table tbody tr td:nth-child(3)").all_inner_texts()]
    shares = [float(one.split()[0]) for one in page.locator("#spell-table tbody td:nth-child(4)").all_inner_texts()]
    assert (len(set(texts)), sum(times)) == (len(texts), 16)
    assert shares == sorted(shares, reverse=True)
    page.select_option("#spell-method", "greedy")
    page.click("#spell-form button.go")
    playwright.expect(page.locator("#spell-table tbody tr")).to_have_count(1)


def test_numbers_out_of_range_are_not_sent(page: Page) -> None:
    sent: list[str] = []
    page.on("request", lambda one: sent.append(one.url))
    for number in ("", "0", "1.5", "17"):
        page.fill("#spell-n", number)
        page.click("#spell-form button.go")
        assert page.evaluate("document.querySelector('#spell-n').matches(':invalid')")
    assert sent == []
    page.select_option("#spell-method", "greedy")  # whose settings do not include the number
    page.click("#spell-form button.go")
    page.wait_for_selector("#spell-answer:not([hidden])")


def test_errors_appear_and_the_old_answer_goes(page: Page) -> None:
    page.fill("#spell-source", "K AA")
    page.click("#spell-form button.go")
    page.wait_for_selector("#spell-answer:not([hidden])")
    page.fill("#spell-source", "K " * 200)
    page.click("#spell-form button.go")
    page.wait_for_selector("#problem:not([hidden])")
    assert "the number of symbols of a source is 200; expected at most 128" in page.inner_text("#problem")
    assert page.is_hidden("#spell-answer")
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
    label = catalogue.classifiers["digits"].classifier.predict(png())[0].label
    assert page.locator("#see-table tbody td").first.inner_text() == label
    assert page.locator("#see-maps canvas").count() == 4
    assert page.locator("#see-evidence canvas").count() == 2
    bar = page.locator("#see-table .bar span").first.bounding_box()
    cell = page.locator("#see-table .bar").first.bounding_box()
    assert bar is not None
    assert cell is not None
    assert bar["width"] < 0.3 * cell["width"]  # of an untrained model's ten classes the best has some ten percent
    page.set_input_files("#see-file", {"name": "no.png", "mimeType": "image/png", "buffer": b"nothing"})
    page.click("#see-form button.go")
    page.wait_for_selector("#problem:not([hidden])")
    assert page.is_hidden("#see-answer")
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
    page.wait_for_selector("#see-answer:not([hidden])")
    playwright.expect(page.locator("#see-given")).to_have_js_property("naturalWidth", 280)
    assert ink_of(page) == pytest.approx((0.1, 0.9), abs=0.02)  # top and bottom of the drawing, cropped
    page.uncheck("#see-crop")
    page.click("#see-form button.go")
    page.wait_for_selector("#see-answer:not([hidden])")
    assert ink_of(page) == pytest.approx((0.1, 0.9), abs=0.1)
    assert ink_of(page) != pytest.approx((0.1, 0.9), abs=0.002)
    shoot(page, "see")


def ink_of(page: Page) -> tuple[float, float]:
    """The first and last row with ink in the image that was sent, as shares of its height."""
    rows: list[int] = page.evaluate("""async () => {
        const image = document.querySelector("#see-given");
        await image.decode();
        const canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [280, 280];
        const context = canvas.getContext("2d", { willReadFrequently: true });
        context.drawImage(image, 0, 0);
        const pixels = context.getImageData(0, 0, 280, 280).data;
        const side = [...Array(280).keys()];
        return side.filter((y) => side.some((x) => pixels[4 * (280 * y + x)] > 127));
    }""")
    return rows[0] / 280, (rows[-1] + 1) / 280


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
    assert "Retrieved p4 (pattern 4), the pattern of the cue" in words
    before, after = words.split("energy from ")[1].rstrip(".").split(" to ")
    assert float(after) <= float(before)
    playwright.expect(page.locator("#recall-play")).to_have_text("Play", timeout=15_000)
    assert page.input_value("#recall-step") == page.get_attribute("#recall-step", "max")
    shoot(page, "recall")


def colours(page: Page, canvas: str) -> list[list[list[int]]]:
    """Red, green and blue of a canvas, by row and column."""
    width, data = page.evaluate(f"""() => {{
        const canvas = document.querySelector("{canvas}");
        const context = canvas.getContext("2d");
        return [canvas.width, [...context.getImageData(0, 0, canvas.width, canvas.height).data]];
    }}""")
    pixels = [data[i : i + 3] for i in range(0, len(data), 4)]
    return [pixels[i : i + width] for i in range(0, len(pixels), width)]


@pytest.fixture
def photos(tmp_path: Path) -> Catalogue:
    """A memory of 250 images of 2 x 3 pixels in colour, and one of those alone is red, green, blue, black and white."""
    patterns = torch.rand(250, 18, generator=torch.Generator().manual_seed(0))
    patterns[0] = torch.tensor([1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 1, 1, 0, 1.0])
    Memory(patterns, beta=30.0).save(tmp_path / "photos")
    sized = Memory(patterns[:5], beta=30.0)
    sized.image_size = ImageSize(height=2, width=3, channels=3)
    sized.save(tmp_path / "sized")
    return Catalogue(memories={name: ServedMemory(tmp_path / name) for name in ("photos", "sized")})


def test_colour_images_and_long_lists(browser: Browser, photos: Catalogue) -> None:
    opened = browser.new_page(viewport={"width": 768, "height": 1024})
    with running(build_app(photos, ServeLimits(max_trace_numbers=100))) as url:
        opened.goto(url)
        opened.wait_for_selector("#panel-recall:not([hidden])")
        playwright.expect(opened.locator("#recall-pattern option")).to_have_count(200)
        assert "first 200 of 250 patterns" in opened.inner_text("#recall-listed")
        opened.select_option("#recall-colour", "rgb")
        opened.fill("#recall-columns", "3")
        red, green, blue = [255, 0, 0], [0, 255, 0], [0, 0, 255]
        expected = [[red, green, blue], [[0, 0, 0], [255, 255, 255], [255, 0, 255]]]
        assert colours(opened, "#recall-stored") == expected
        opened.select_option("#recall-colour", "grey")
        opened.select_option("#recall-memory", "sized")
        playwright.expect(opened.locator("#recall-pattern option")).to_have_count(5)
        playwright.expect(opened.locator("#status")).to_be_empty()
        assert (opened.input_value("#recall-columns"), opened.input_value("#recall-colour")) == ("3", "rgb")
        assert opened.inner_text("#recall-listed") == ""
        opened.fill("#recall-noise", "0")
        opened.click("#recall-form button.go")
        opened.wait_for_selector("#recall-answer:not([hidden])")
        words = opened.inner_text("#recall-words")
        assert "Retrieved pattern 0, the pattern of the cue" in words
        assert "too wide to show the states" in words
        assert colours(opened, "#recall-state") == expected
        assert opened.is_hidden("#recall-chart")
        shoot(opened, "photos")
    opened.close()


def test_running_text_and_languages(browser: Browser, languages_run: Run, tmp_path: Path) -> None:
    served = load_catalogue([str(tokens_run(languages_run, tmp_path / "tokens"))], [], limits=ServeLimits())
    opened = browser.new_page()
    with running(build_app(served)) as url:
        opened.goto(url)
        opened.wait_for_selector("#text-form:not([hidden])")
        for language, expected in (("ady", "gabis, 3 mutas!"), ("dut", "gabium, 3 mutaum!")):
            opened.select_option("#spell-language", language)
            opened.fill("#text-source", "gabi, 3 muta!")
            opened.click("#text-form button.go")
            playwright.expect(opened.locator("#text-prediction")).to_have_text(expected)
        opened.fill("#spell-source", "gabi")
        opened.click("#spell-form button.go")
        opened.wait_for_selector("#spell-answer:not([hidden])")
        assert opened.locator("#spell-table tbody tr td:nth-child(2)").first.inner_text() == "gabium"
        shoot(opened, "text")
    opened.close()


def test_everything_by_keyboard(page: Page) -> None:
    page.focus("#tab-spell")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.id") == "tab-see"
    page.focus("#see-canvas")
    assert page.is_visible("#see-pen")
    before = page.locator("#see-pen").bounding_box()
    page.keyboard.press(" ")
    for _ in range(5):
        page.keyboard.press("ArrowDown")
    after = page.locator("#see-pen").bounding_box()
    assert before is not None
    assert after is not None
    assert after["y"] > before["y"] + 10
    page.keyboard.press("Tab")
    assert page.is_hidden("#see-pen")
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


def test_the_key_is_required_and_a_stopped_server_is_reported(browser: Browser, catalogue: Catalogue) -> None:
    opened = browser.new_page()
    with running(build_app(catalogue, access=Access("correct-horse"))) as url:
        opened.goto(url)
        opened.wait_for_selector("#key-form:not([hidden])")
        assert opened.inner_text("#problem") == "This server requires an API key."
        opened.fill("#key", "wrong-horse")
        opened.click("#key-form button")
        playwright.expect(opened.locator("#problem")).to_have_text("The API key is wrong.")
        opened.fill("#key", "correct-horse")
        opened.click("#key-form button")
        opened.wait_for_selector("#panel-spell:not([hidden])")
        assert opened.is_hidden("#key-form")
    opened.click("#spell-form button.go")
    opened.wait_for_selector("#problem:not([hidden])")
    assert opened.inner_text("#problem") == "The server cannot be reached. Is it still running?"
    opened.close()
