"""The report: one inert, self-contained, well-formed page."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from triptych.errors import TriptychError
from triptych.report import html
from triptych.report.canvas import figure_bytes, house_style, new_figure, save
from triptych.report.figures import attention_map, confusion_bars, curves
from triptych.report.html import Picture, Report, Section, render, write_report
from triptych.report.tables import Table

HOSTILE = '</title></pre><script>alert(1)</script><img src=x onerror=alert(1)>" onload="x {{ 7 * 7 }}'
VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """The elements of a page; complains where one is closed that is not open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, str] = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.text[self.open[-1]] = self.text.get(self.open[-1], "") + data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of each element of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]


def hostile_report() -> Report:
    picture = Picture.from_figure(confusion_bars([(HOSTILE, "$x$", 3)]), alt=HOSTILE, caption=HOSTILE)
    small = Picture.from_figure(confusion_bars([(HOSTILE[:20], "a", 1)]), alt="errors of one run")
    table = Table(HOSTILE, [HOSTILE, "n"], [[HOSTILE, 1], ["ʃ", 2]], HOSTILE)
    return Report(
        HOSTILE,
        HOSTILE,
        [
            Section(HOSTILE, f"{HOSTILE}\n\n  second  \n \n", [table], [picture, small], f"{HOSTILE}\n  indented"),
            Section("Results"),
            Section("results!"),
            Section("ʃ"),
            Section("..."),
        ],
    )


def test_hostile_data_is_inert() -> None:
    page = Page(render(hostile_report()))
    assert page.all("script") == []
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert len(page.all("img")) == 2
    assert page.text["title"] == page.text["h1"] == HOSTILE
    assert page.text["code"] == f"{HOSTILE}\n  indented"
    assert page.all("img")[0]["alt"] == HOSTILE
    assert "49" not in page.text["p"]


def test_nothing_is_fetched() -> None:
    text = render(hostile_report())
    page = Page(text)
    addresses = [
        attributes[name]
        for _, attributes in page.elements
        for name in ("src", "href", "srcset", "action", "data", "poster")
        if name in attributes
    ]
    assert addresses
    assert all(address is not None and address.startswith(("data:", "#")) for address in addresses)
    assert not re.search(r"@import|url\(", page.text["style"])
    (policy,) = (meta for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    rules = dict((policy["content"] or "").split(" ", 1) for policy["content"] in (policy["content"] or "").split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert set(rules) == {"default-src", "img-src", "style-src", "base-uri", "form-action"}


def test_contents_lead_to_every_section() -> None:
    page = Page(render(hostile_report()))
    targets = [(link["href"] or "").removeprefix("#") for link in page.all("a")]
    headings = [attributes["id"] for attributes in page.all("h2") if attributes.get("id") != "contents"]
    assert targets == headings
    assert targets[1:] == ["s-results", "s-results-2", "s-ʃ", "s-section"]
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    labels = {attributes["aria-labelledby"] for _, attributes in page.elements if "aria-labelledby" in attributes}
    assert labels <= set(identifiers)


def test_a_report_of_one_section_has_no_contents() -> None:
    page = Page(render(Report("t", sections=[Section("only", "text")])))
    assert page.all("nav") == []
    assert page.text["p"] == "text"
    assert Page(render(Report("bare"))).text["h1"] == "bare"


def test_it_is_accessible_and_fits_a_phone_paper_and_the_dark() -> None:
    text = render(hostile_report())
    page = Page(text)
    assert page.all("html") == [{"lang": "en"}]
    assert all(heading["scope"] == "col" for heading in page.all("th"))
    assert page.text["caption"] == HOSTILE
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all("meta")
    assert all(image["alt"] for image in page.all("img"))
    (table_region,) = (region for region in page.all("div") if region.get("role") == "region")
    assert table_region["tabindex"] == "0"
    assert table_region["aria-label"] == HOSTILE
    style = page.text["style"]
    assert all(rule in style for rule in ("prefers-color-scheme: dark", "@media print", "max-width: 40rem"))


def test_paragraphs_are_parted_by_empty_lines() -> None:
    assert Section("t", "one\nstill one\n\n two\n   \n\nthree ").paragraphs == ["one\nstill one", "two", "three"]
    assert Section("t").paragraphs == []


def test_a_figure_is_svg_until_it_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    figure = attention_map([[0.5, 0.5]], ["a", "b"], ["c"])
    svg = Picture.from_figure(figure, alt="bars", caption="c")
    assert (svg.media_type, svg.caption, svg.width) == ("image/svg+xml", "c", round(96 * figure.get_figwidth()))
    assert svg.content == figure_bytes(figure, "svg")
    assert base64.b64decode(svg.address.removeprefix("data:image/svg+xml;base64,")) == svg.content
    with house_style():
        crowded = new_figure(4, 3)
        crowded.subplots().plot([n * n % 4099 for n in range(1200)], "o")
    assert Picture.from_figure(crowded, alt="dots").media_type == "image/svg+xml"
    monkeypatch.setattr(html, "LARGEST_SVG", 20_000)
    png = Picture.from_figure(crowded, alt="dots")
    assert (png.media_type, png.width) == ("image/png", 384)
    assert png.content == figure_bytes(crowded, "png")
    rows = [{"epoch": epoch, "cer": 1 / epoch, "loss": 2 / epoch} for epoch in range(1, 20)]
    smaller = Picture.from_figure(curves(rows, metric="cer", loss="loss"), alt="curves whose PNG is the larger")
    assert (smaller.media_type, len(smaller.content) > 20_000) == ("image/svg+xml", True)


@pytest.mark.parametrize("largest", [100, html.LARGEST_SVG])
def test_a_saved_figure_is_shown_as_its_files_are_without_drawing_it_again(
    largest: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = attention_map([[0.5, 0.5]], ["a", "b"], ["c"])
    saved = save(figure, tmp_path, "map")
    monkeypatch.setattr(html, "LARGEST_SVG", largest)
    drawn = Picture.from_figure(figure, alt="a map")
    monkeypatch.setattr(html, "figure_bytes", None)
    assert Picture.from_figure(figure, alt="a map", saved=saved) == drawn


def test_wide_figures_scroll_on_a_phone_and_small_ones_keep_their_width() -> None:
    png = figure_bytes(confusion_bars([]), "png")
    pictures = [Picture.from_png(png, alt="a", width=width) for width in (601, 600, None)]
    page = Page(render(Report("t", sections=[Section("s", figures=pictures)])))
    assert [(image.get("class"), image.get("width")) for image in page.all("img")] == [
        ("wide", "601"),
        (None, "600"),
        (None, None),
    ]


def test_figures_refuse_what_they_cannot_show() -> None:
    png = figure_bytes(confusion_bars([]), "png")
    wrong: list[tuple[str, Callable[[], Picture]]] = [
        ("the beginning of content", lambda: Picture.from_png(b"<svg></svg>", alt="a")),
        ("alt", lambda: Picture.from_png(png, alt=" ")),
        ("width", lambda: Picture.from_png(png, alt="a", width=0)),
    ]
    for field, make in wrong:
        with pytest.raises(TriptychError) as caught:
            make()
        assert caught.value.field == field


def test_the_file_is_the_page(tmp_path: Path) -> None:
    write_report(tmp_path / "run" / "report.html", hostile_report())
    assert (tmp_path / "run" / "report.html").read_text(encoding="utf-8") == render(hostile_report())
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["report.html"]
