"""The command line, called in this process."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import dataclass
from typing import Any, Protocol

import pytest

from triptych.cli.main import main


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    status: object
    out: str
    err: str


class Triptych(Protocol):
    """Calls the command line as a shell would."""

    def __call__(self, *arguments: str, stdin: bytes = b"") -> Result:
        """Run `triptych` with these arguments."""


@pytest.fixture
def triptych(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Triptych:
    """`triptych(*arguments, stdin=...)`: status, standard output and standard error."""
    for name in ("TRIPTYCH_DEBUG", "TRIPTYCH_RUN_OF_MAIN_PROCESS"):  # set here so that they are restored
        monkeypatch.setenv(name, "")

    def run(*arguments: str, stdin: bytes = b"") -> Result:
        monkeypatch.setattr(sys, "argv", ["triptych", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return Result(ended.value.code, out, err)

    return run


def one_error(result: Result) -> str:
    """The message of a command that failed as every mistake of a user's must: status 2, one line, nothing else."""
    assert result.status == 2, result
    assert result.out == ""
    lines = result.err.splitlines()
    assert len(lines) == 1, result.err
    assert lines[0].startswith("error: ")
    return lines[0].removeprefix("error: ")


def json_of(triptych: Triptych, *arguments: str) -> dict[str, Any]:
    """The one JSON object that a command prints, and nothing else on standard output."""
    result = triptych(*arguments, "--json")
    assert result.status == 0, result.err
    document = json.loads(result.out)  # fails where anything comes before or after
    assert isinstance(document, dict)
    assert "Traceback" not in result.err
    return document
