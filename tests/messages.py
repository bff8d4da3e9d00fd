"""The sentences of errors, in one file that a person can read: `tests/messages.toml`.

Tests of single errors assert their parts (field, value, expected, path, line); this file alone holds the wording.
Write it again after a change of wording with: TRIPTYCH_WRITE_MESSAGES=1 make test
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import tomli_w
from filelock import FileLock

FILE = Path(__file__).with_name("messages.toml")


def check_message(name: str, error: BaseException, *folders: Path) -> None:
    """The error's text is the sentence of that name; the test's own folders read as FOLDER in it.

    Args:
        name: what the file calls the sentence, such as `pairs.empty-target`.
        error: what was raised.
        folders: paths of the test that the text may hold.
    """
    text = str(error)
    for folder in folders:
        text = text.replace(str(folder), "FOLDER")
    if os.environ.get("TRIPTYCH_WRITE_MESSAGES"):
        with FileLock(f"{FILE}.lock"):
            known = {**_read(), name: text}
            FILE.write_text(tomli_w.dumps(dict(sorted(known.items()))), encoding="utf-8")
    assert text == _read().get(name), f"messages.toml has another sentence for {name}"


def _read() -> dict[str, str]:
    return tomllib.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
