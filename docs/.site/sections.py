"""Docstrings as this house writes them, for a parser that wants an empty line before each section."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

_SECTION = re.compile(r"(?<=[^\n])\n(?=(?:Args|Attributes|Returns|Raises|Source): ?)")

_RETURNED = re.compile(r"(?<=^Returns:\n).+", re.MULTILINE)


class Sections(Extension):
    """Puts the empty lines in, and dashes for colons in `Returns:`, which would be read as `type: description`."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Called for every module, class, function and attribute that is read."""
        if obj.docstring is not None:
            spaced = _SECTION.sub("\n\n", obj.docstring.value)
            obj.docstring.value = _RETURNED.sub(lambda found: found[0].replace(": ", " – "), spaced)
