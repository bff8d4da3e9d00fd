"""The language of an item, which is one of its features: `language=ady`."""

from __future__ import annotations

from collections.abc import Sequence

from triptych.errors import DataError, nearest

PREFIX = "language="


def token(language: str) -> str:
    """The feature that stands for a language."""
    return PREFIX + language


def language_of(features: Sequence[str]) -> str:
    """The language among some features; the first of several, empty where there is none."""
    return next((name.removeprefix(PREFIX) for name in features if name.startswith(PREFIX)), "")


def without_language(features: Sequence[str]) -> tuple[str, ...]:
    """The features that are not languages."""
    return tuple(name for name in features if not name.startswith(PREFIX))


def with_language(features: tuple[str, ...], language: str | None, known: Sequence[str]) -> tuple[str, ...]:
    """Features with exactly one language among them, sorted; as they are for a model of one language.

    Args:
        features: of an item.
        language: of the item where its features have none.
        known: the languages of the model; none for a model of one language, which has no name for it.
    Raises:
        DataError: no language, an unknown one, two different ones, or any where the model knows none.
    """
    if not known:
        if language is not None:
            raise DataError(field="language", value=language, expected="none: this model was trained without languages")
        return features
    own = {name.removeprefix(PREFIX) for name in features if name.startswith(PREFIX)}
    own |= set() if language is None else {language}
    choices = f"one of {', '.join(known)}"
    if not own:
        hint = f"Name it (--language, or language= in Python), or put {token(known[0])} among the features."
        raise DataError(field="language", expected=f"{choices}: this model was trained on several", hint=hint)
    if len(own) > 1:
        raise DataError(field="language", value=" and ".join(sorted(own)), expected="one for each source")
    (name,) = own
    if name not in known:
        close = nearest(name[:100], known)
        raise DataError(
            field="language", value=name, expected=choices, hint=f"Did you mean {close!r}?" if close else ""
        )
    return tuple(sorted({*features, token(name)}))
