"""Where a user says that data is."""

from __future__ import annotations

import os
from pathlib import Path

from triptych.errors import DataError, nearest


def check_location(location: Path) -> None:
    """Something is there.

    Raises:
        DataError: nothing is; a neighbour of a similar name is suggested.
    """
    if location.exists():
        return
    folder = location.absolute().parent
    close = nearest(location.name, [entry.name for entry in folder.iterdir()]) if folder.is_dir() else None
    advice = f"Did you mean {str(location.with_name(close))!r}?" if close else "Check the path given with --data"
    path = os.fsencode(location).decode("utf-8", "backslashreplace")
    raise DataError(f"no such file or folder. {advice}", path=path)
