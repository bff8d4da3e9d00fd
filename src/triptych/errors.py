"""The errors Triptych raises, with their parts, and the names it suggests when one is misspelt.

An error about one value reads `<field> is <value>; expected <rule>. <Next step>.` and is given as parts; any other is a
sentence and a next step. Errors about a file begin with `path:` or `path:line:`. The command line prints the message on
one line and exits with status 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

NOT_GIVEN: Any = object()
LONGEST_VALUE = 200  # characters of a value that a message shows


class TriptychError(Exception):
    """Base of everything a user can cause and fix; its text is one complete message.

    Args:
        message: what is wrong, as a sentence, where it is not about one value. Without a full stop it is what was
            found, and "; expected ..." follows.
        field: name of the setting, argument or entry that has the wrong value.
        value: that value; texts are shown in quotes.
        expected: the rule that the value breaks, to be read after "expected".
        hint: what to do next, as a sentence.
        path: the file or folder it is about.
        line: line of that file, from 1.
    """

    def __init__(
        self,
        message: str = "",
        *,
        field: str = "",
        value: Any = NOT_GIVEN,
        expected: str = "",
        hint: str = "",
        path: Path | str | None = None,
        line: int | None = None,
    ) -> None:
        self.field = field
        self.value = None if value is NOT_GIVEN else value
        self.expected = expected
        self.hint = hint
        self.path = None if path is None else Path(path)
        self.line = line
        place = "" if path is None else f"{path}: " if line is None else f"{path}:{line}: "
        if not message:
            verb = "is missing" if value is NOT_GIVEN else f"is {_shown(value)}"
            message = f"{field} {verb}; expected {expected}."
        elif expected and not message.endswith((".", "?", "!")):
            message += f"; expected {expected}."
        super().__init__(place + " ".join(part for part in (message, hint) if part))


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


class RecipeError(TriptychError):
    """A recipe, or a `--set` override, that names an unknown key or breaks a rule."""


class DataError(TriptychError):
    """Data that cannot be read or used; the message begins with `path:line` where there is one."""


class ConflictError(DataError):
    """Data on disk that another process has changed since it was read."""


class DownloadError(DataError):
    """A named data set that could not be fetched, or whose bytes are not the expected ones."""


class RunError(TriptychError):
    """A run directory that exists already, is incomplete, damaged, or of another panel or format."""


class TrainingError(TriptychError):
    """A training that cannot continue, such as one whose loss is not finite."""


class ShapeError(TriptychError, ValueError):
    """Tensors whose shapes do not fit together."""


class MissingExtraError(TriptychError, ImportError):
    """An optional dependency that is not installed."""

    path: Any

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed. Install it with: pip install 'triptych[{extra}]'")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name closest to a misspelt one, or None when nothing is close.

    Args:
        name: what was written.
        known: the names that would have been right.
    """
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence that names the nearest known name, or else lists all of them."""
    known = sorted(known)
    close = nearest(name, known)
    return f"Did you mean {close!r}?" if close else f"Known: {', '.join(known)}."


def check_choice(value: object, known: Sequence[str], *, field: str) -> None:
    """A setting has one of the known values.

    Raises:
        TriptychError: it has another; the nearest known one is suggested.
    """
    if value not in known:
        expected = " or ".join(known) if len(known) == 2 else f"one of {', '.join(known)}"
        raise TriptychError(field=field, value=value, expected=expected, hint=did_you_mean(str(value), known))
