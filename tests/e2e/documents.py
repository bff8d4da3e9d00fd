"""The pages a reader reads: their blocks of code, their links, and a session that runs blocks as a reader does."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
SHELLS = ("sh", "bash")
RUNNABLE = (*SHELLS, "python")
SHOWN = ("text", "toml", "html", "json")  # what is looked at, not run

_FENCE = re.compile(r"( *)(`{3,})(\w*)\s*$")
_COMMENT = re.compile(r"<!-- *(not run|exits|needs): *(.*?) *-->")
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")

# One interpreter for all Python blocks of a page: code arrives as JSON lines, status and output go back the same way.
_INTERPRETER = """
import contextlib, io, json, sys, traceback
channel, names = sys.stdout, {"__name__": "__main__"}
for line in sys.stdin:
    output, status = io.StringIO(), 0
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            exec(compile(json.loads(line), "<block>", "exec"), names)
        except BaseException:
            traceback.print_exc()
            status = 1
    channel.write(json.dumps([status, output.getvalue()]) + "\\n")
    channel.flush()
"""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        page: path of the page.
        line: where the block begins, from 1.
        language: what stands behind the fence; may be empty.
        code: what is between the fences, without the fence's indentation.
        not_run: the reason in `<!-- not run: reason -->` above the block; None where there is no such comment.
        status: the exit status it must have, 0 or what `<!-- exits: 2 -->` above the block says.
        needs: the module in `<!-- needs: module -->` above the block; it is passed over where that is not installed.
    """

    page: Path
    line: int
    language: str
    code: str
    not_run: str | None = None
    status: int = 0
    needs: str = ""

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def runs(self) -> bool:
        """Whether a reader is to run it."""
        here = not self.needs or importlib.util.find_spec(self.needs) is not None
        return self.language in RUNNABLE and self.not_run is None and here


@dataclass(frozen=True)
class Outcome:
    """How a block ended."""

    status: int
    output: str


def pages() -> list[Path]:
    """The README and every page of the documents."""
    return [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found: list[Block] = []
    before, lines = "", iter(enumerate(page.read_text(encoding="utf-8").splitlines(), start=1))
    for number, line in lines:
        fence = _FENCE.match(line)
        if fence is None:
            before = line if line.strip() else before
            continue
        indent, ticks, language = fence.groups()
        code = []
        for _, inside in lines:
            if inside.strip() == ticks:
                break
            code.append(inside.removeprefix(indent))
        mark = _COMMENT.match(before.strip())
        reason = mark[2] if mark and mark[1] == "not run" else None
        status = int(mark[2]) if mark and mark[1] == "exits" else 0
        needs = mark[2] if mark and mark[1] == "needs" else ""
        found.append(Block(page, number, language, "\n".join(code), reason, status, needs))
        before = ""
    return found


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    lines, closing = [], ""
    for line in page.read_text(encoding="utf-8").splitlines():
        fence = _FENCE.match(line)
        if closing:
            closing = "" if line.strip() == closing else closing
        elif fence is not None:
            closing = fence[2]
        else:
            lines.append(line)
    return "\n".join(lines)


def inline_code(page: Path) -> list[str]:
    """What stands between single backticks."""
    return _INLINE.findall(prose(page))


def links(page: Path) -> list[str]:
    """Targets of links and pictures."""
    return _LINK.findall(_INLINE.sub("", prose(page)))


def anchors(page: Path) -> set[str]:
    """What a page's headings are called in links."""
    titles = re.findall(r"^#+ +(.+?) *$", prose(page), re.MULTILINE)
    kept = [re.sub(r"[^\w\s-]", "", title.lower()).strip() for title in titles]
    return {re.sub(r"[\s-]+", "-", title) for title in kept}


def commands(code: str) -> Iterator[list[str]]:
    """The words of every call of triptych in a piece of shell, from the subcommand on."""
    whole = re.sub(r"\\\n\s*", " ", code)
    for call in re.findall(r"(?:^|[|;&(]|\w=\S+) *triptych\b([^\n|;&<>#)]*)", whole, re.MULTILINE):
        yield re.findall(r"'[^']*'|\"[^\"]*\"|\S+", call)


class Session:
    """Runs blocks of one page in one folder; Python blocks share one interpreter, as a reader's session does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
        for name in ("TRIPTYCH_RUNS", "TRIPTYCH_RUN_OF_MAIN_PROCESS"):  # another test may have left its own
            self.environment.pop(name, None)
        self.interpreter: subprocess.Popen[str] | None = None

    def run(self, block: Block) -> Outcome:
        """Run a block to its end."""
        return self._python(block.code) if block.language == "python" else self._shell(block.code)

    def close(self) -> None:
        """End the interpreter."""
        if self.interpreter is not None:
            self.interpreter.kill()
            self.interpreter.communicate()

    def _shell(self, code: str) -> Outcome:
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", code],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return Outcome(done.returncode, done.stdout)

    def _python(self, code: str) -> Outcome:
        if self.interpreter is None:
            self.interpreter = subprocess.Popen(
                [sys.executable, "-c", _INTERPRETER],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self.interpreter.stdin is not None
        assert self.interpreter.stdout is not None
        self.interpreter.stdin.write(json.dumps(code) + "\n")
        self.interpreter.stdin.flush()
        answer = self.interpreter.stdout.readline()
        if not answer:
            return Outcome(1, "the interpreter ended")
        status, output = json.loads(answer)
        return Outcome(status, output)
