"""Where data is: a folder or file, or one for each of several languages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from triptych.config.common import is_language
from triptych.data.files import check_location
from triptych.errors import RecipeError

Location = Path | Mapping[str, Path]
"""A folder or file, or one by language, in the order of the languages."""


def parse_location(texts: Sequence[str] | None) -> Location | None:
    """The location that `--data` names: one path, or `LANG=PATH` once for each language.

    A text is a path where that path exists, also where it has an equals sign.

    Raises:
        RecipeError: several paths without languages, a language twice, or one without a path.
    """
    if not texts:
        return None
    split = {text: _language_in(text) for text in texts}
    if len(texts) == 1 and not split[texts[0]]:
        return Path(texts[0])
    found: dict[str, Path] = {}
    for text in texts:
        language = split[text]
        path = text[len(language) + 1 :]
        if not language or not path:
            raise RecipeError(
                field="--data",
                value=text,
                expected="LANG=PATH, since --data is given more than once" if not language else "a path after LANG=",
                hint="For example: --data ady=FOLDER --data dut=FOLDER",
            )
        if language in found:
            raise RecipeError(
                field="--data",
                value=text,
                expected=f"one path for {language}, which has {str(found[language])!r}",
                hint="Put its data into one folder.",
            )
        found[language] = Path(path)
    return found


def _language_in(text: str) -> str:
    """The language that a location begins with; empty where it has none."""
    language, equals, _ = text.partition("=")
    return language if equals and is_language(language) and not Path(text).exists() else ""


def check_locations(location: Location) -> None:
    """Check that data is where a user said that it is.

    Raises:
        DataError: nothing is there; a neighbour of a similar name is suggested.
    """
    for path in [location] if isinstance(location, Path) else location.values():
        check_location(path)


def absolute(location: Location) -> Location:
    """The location with absolute paths."""
    if isinstance(location, Path):
        return location.absolute()
    return {language: path.absolute() for language, path in location.items()}


def to_plain(location: Location | None) -> Any:
    """Absolute paths for JSON: a text, or one by language."""
    if location is None or isinstance(location, Path):
        return None if location is None else str(location.absolute())
    return {language: str(path.absolute()) for language, path in location.items()}


def from_plain(value: Any) -> Location | None:
    """What `to_plain` wrote."""
    if isinstance(value, Mapping):
        return {str(language): Path(path) for language, path in value.items()}
    return None if value is None else Path(value)


def describe_location(location: Location) -> str:
    """The location in one text: `FOLDER`, or `ady=FOLDER dut=FOLDER`."""
    if isinstance(location, Path):
        return str(location)
    return " ".join(_each(location))


def location_arguments(location: Location | None) -> list[str]:
    """Arguments of a command that name the location."""
    if location is None:
        return []
    paths = [str(location)] if isinstance(location, Path) else _each(location)
    return [part for path in paths for part in ("--data", path)]


def _each(location: Mapping[str, Path]) -> list[str]:
    return [f"{language}={path}" for language, path in location.items()]


def name_of(location: Location) -> str:
    """A short name for it: of the folder, of the file without its extension, or of the languages."""
    if not isinstance(location, Path):
        return "-".join(location)
    place = location.resolve()
    return place.name if place.is_dir() else place.stem
