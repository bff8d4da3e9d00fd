"""Running text cut into words and what is between them, which is kept as it is."""

from __future__ import annotations

import unicodedata
from typing import NamedTuple

JOINERS = "'\N{RIGHT SINGLE QUOTATION MARK}-\N{MIDDLE DOT}"  # belong to a word between two of its characters


class Piece(NamedTuple):
    """A part of a text: a word, or white space, punctuation and numbers between words."""

    text: str
    is_word: bool


def pieces(text: str) -> list[Piece]:
    """Parts of a text that joined give it back.

    A word is a run of letters, marks and digits with at least one letter; an apostrophe or hyphen within belongs to it.
    """
    found: list[Piece] = []
    begin = 0
    while begin < len(text):
        end = begin
        is_part = _is_part(text, begin)
        while end < len(text) and _is_part(text, end) == is_part:
            end += 1
        part = text[begin:end]
        found.append(Piece(part, is_part and any(letter.isalpha() for letter in part)))
        begin = end
    return found


def _is_part(text: str, place: int) -> bool:
    """Whether the character at a place is of a word."""
    if text[place] in JOINERS:
        around = text[place - 1 : place] + text[place + 1 : place + 2]
        return place > 0 and len(around) == 2 and all(_is_letter(letter) for letter in around)
    return _is_letter(text[place])


def _is_letter(character: str) -> bool:
    return unicodedata.category(character)[0] in "LMN"
