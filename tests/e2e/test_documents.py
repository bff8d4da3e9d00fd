"""What the documents say is so: every block runs, every command, option, setting and link exists, the site builds."""

from __future__ import annotations

import html.parser
import subprocess
import sys
from collections.abc import Mapping, Set as AbstractSet
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main
from pydantic import BaseModel

from tests.e2e.documents import (
    DOCS,
    ROOT,
    RUNNABLE,
    SHELLS,
    SHOWN,
    Block,
    Session,
    anchors,
    blocks,
    commands,
    inline_code,
    links,
    pages,
)
from triptych.cli.main import app
from triptych.config import RECALL_EXPERIMENTS, SeeRecipe, SpellRecipe

FILES = ("json", "onnx", "safetensors", "toml")  # model.json is no setting
COMMANDS_SHOWN = {
    "reproduction.md",
    "decisions.md",
    "speed.md",
    "published.md",
    "p2g-best-search.md",
}  # protocols of days gone by

every_page = pytest.mark.parametrize("page", pages(), ids=[str(page.relative_to(ROOT)) for page in pages()])


def runnable_pages() -> list[Path]:
    """Pages with blocks that run, without the README, whose blocks `test_readme.py` runs on data of its own."""
    return [page for page in pages() if page.name != "README.md" and any(block.runs for block in blocks(page))]


def first_words(text: str) -> list[str]:
    return [line.split()[0] for line in text.splitlines() if line.strip() and line.strip() != "…"]


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("page", runnable_pages(), ids=[str(page.relative_to(ROOT)) for page in runnable_pages()])
def test_every_block_runs(page: Path, tmp_path: Path) -> None:
    """In order and in one fresh folder; of output that a page shows, each line's first word must have come out."""
    session, output = Session(tmp_path), ""
    try:
        for block in blocks(page):
            if block.runs:
                outcome = session.run(block)
                output = outcome.output
                assert outcome.status == block.status, f"{block}\n{block.code}\n{output}"
            elif block.language == "text" and output:
                missing = [word for word in first_words(block.code) if word not in output]
                assert missing == [], f"{block} shows lines that did not come out:\n{output}"
                output = ""
            else:
                output = ""
    finally:
        session.close()


@every_page
def test_every_block_is_run_or_says_why_not(page: Path) -> None:
    if page.name in COMMANDS_SHOWN:
        return
    for block in blocks(page):
        assert block.language in (*RUNNABLE, *SHOWN, ""), f"{block}: the language is {block.language!r}"
        assert block.code.strip(), f"{block} is empty"
        assert block.not_run is None or len(block.not_run.split()) > 1, f"{block}: the reason is {block.not_run!r}"
        if block.language in ("text", ""):
            hidden = [line for line in block.code.splitlines() if line.startswith(("$ ", "triptych ", "pip ", ">>> "))]
            assert hidden == [], f"{block} has commands that are not run: {hidden}"


@cache
def command_line() -> Any:
    return typer.main.get_command(app)


def options_named(command: Any) -> list[str]:
    return [option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)]


def options_of(words: list[str]) -> tuple[str, Mapping[str, Any] | None, list[str]]:
    """The command that words name, its options, and the words behind it."""
    command: Any = command_line()
    named, rest = "triptych", list(words)
    while rest and hasattr(command, "commands"):
        word = rest.pop(0)
        if word.startswith("-"):
            return named, dict.fromkeys([*options_named(command), "--help"]), [word, *rest]
        if word.isupper():  # stands for any command
            return f"{named} {word}", dict.fromkeys(all_options()), rest
        if word not in command.commands:
            return f"{named} {word}", None, rest
        named, command = f"{named} {word}", command.commands[word]
    return named, dict.fromkeys([*options_named(command), "--help"]), rest


@cache
def all_options() -> set[str]:
    found, waiting = {"--help"}, [command_line()]
    while waiting:
        command: Any = waiting.pop()
        found |= set(options_named(command))
        waiting += getattr(command, "commands", {}).values()
    return found


def keys(schema: type[BaseModel], prefix: str = "") -> set[str]:
    found = set()
    for name, field in schema.model_fields.items():
        table = field.annotation
        found |= {prefix + name}
        if isinstance(table, type) and issubclass(table, BaseModel):
            found |= keys(table, f"{prefix}{name}.")
    return found


@cache
def all_keys() -> set[str]:
    schemas = [SpellRecipe, SeeRecipe, *RECALL_EXPERIMENTS.values()]
    return set().union(*(keys(schema) for schema in schemas))


def wrong_words(words: list[str], known_keys: set[str], known_options: AbstractSet[str] = frozenset()) -> list[str]:
    """What is wrong with a call of triptych."""
    named, options, rest = options_of(words)
    if options is None:
        return [f"{named} is no command"]
    wrong = []
    for place, word in enumerate(rest):
        if word.startswith("--") and word.split("=")[0] not in options.keys() | known_options:
            wrong.append(f"{named} has no option {word}")
        if place and rest[place - 1] in ("--set", "--search"):
            key = word.strip("'\"").split("=")[0]
            if key not in known_keys and not key[:1].isupper() and key != "table.key":
                wrong.append(f"there is no setting {key}")
    return wrong


# What a page adds itself, or what it says no longer exists.
OF_PAGES = {
    "add-a-setting.md": {"decoding.min_p", "--min-p"},
    "decisions.md": {"model.output", "training.channels_last", "training.mode"},
}


@every_page
def test_every_command_option_and_setting_exists(page: Path) -> None:
    own = OF_PAGES.get(page.name, set())
    known_keys, known_options = all_keys() | own, all_options() | own
    tables = {key.split(".")[0] for key in known_keys if "." in key}
    pieces = [block.code for block in blocks(page) if block.language in (*SHELLS, "")]
    pieces += [code for code in inline_code(page) if code.startswith("triptych ")]
    wrong = [text for piece in pieces for words in commands(piece) for text in wrong_words(words, known_keys, own)]
    for code in inline_code(page):
        table, _, key = code.partition(".")
        if code.startswith("--") and code.split("=")[0].split()[0] not in known_options:
            wrong.append(f"there is no option {code}")
        named = table in tables and key.replace("_", "").isalnum() and key not in FILES
        if named and code not in known_keys:
            wrong.append(f"there is no setting {code}")
    assert wrong == []


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in links(page):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        known = target.exists() and (not anchor or target.suffix != ".md" or anchor in anchors(target))
        if not known:
            broken.append(link)
    assert broken == []


def test_a_wrong_command_option_setting_or_block_is_seen(tmp_path: Path) -> None:
    known = all_keys()
    assert wrong_words(["trian", "x"], known) == ["triptych trian is no command"]
    assert wrong_words(["train", "x", "--nmae", "y"], known) == ["triptych train has no option --nmae"]
    assert wrong_words(["memory", "build", "x", "--set", "a"], known)[0] == "triptych memory build has no option --set"
    assert wrong_words(["train", "x", "--set", "model.hiden=3"], known) == ["there is no setting model.hiden"]
    assert wrong_words(["train", "x", "--set", "model.hidden=3", "--name", "y"], known) == []
    code = "echo a | triptych predict b --n-best 3\nX=1 triptych runs # all\ntriptych train \\\n  p --resume"
    assert list(commands(code)) == [["predict", "b", "--n-best", "3"], ["runs"], ["train", "p", "--resume"]]
    page = tmp_path / "page.md"
    marks = ("not run: needs a second machine", "exits: 2", "needs: nonesuch", "needs: json")
    page.write_text("".join(f"<!-- {mark} -->\n  ```sh\n  {number}\n  ```\n\n" for number, mark in enumerate(marks)))
    found = blocks(page)
    assert found == [
        Block(page, 2, "sh", "0", "needs a second machine"),
        Block(page, 7, "sh", "1", status=2),
        Block(page, 12, "sh", "2", needs="nonesuch"),
        Block(page, 17, "sh", "3", needs="json"),
    ]
    assert [block.runs for block in found] == [False, True, False, True]
    session = Session(tmp_path)
    try:
        assert session.run(Block(page, 1, "sh", "false\necho on")).status == 1
        assert session.run(Block(page, 1, "python", "x = 1")).status == 0
        assert session.run(Block(page, 1, "python", "print(x + y)")).output.endswith("'y' is not defined\n")
        assert session.run(Block(page, 1, "python", "print(x + 1)")).output == "2\n"
    finally:
        session.close()


class _Sources(html.parser.HTMLParser):
    """What a page makes a browser fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        fetched = values.get("src") if tag != "link" else values.get("href")
        if fetched is not None and (tag != "link" or values.get("rel") != "canonical"):
            self.found.append(fetched)


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_fetches_nothing_from_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    pytest.importorskip("mkdocstrings", reason="the extra docs is not installed")
    site = tmp_path / "site"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    built = sorted(site.rglob("*.html"))
    assert len(built) > len(list(DOCS.rglob("*.md")))  # and the page for wrong addresses
    elsewhere = set()
    for path in built:
        sources = _Sources()
        sources.feed(path.read_text(encoding="utf-8"))
        elsewhere |= {found for found in sources.found if found.startswith(("http:", "https:", "//"))}
    assert elsewhere == set()
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert "@import" not in text
        assert "url(http" not in text
        assert "url(//" not in text
