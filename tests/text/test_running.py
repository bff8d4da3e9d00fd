"""Running text: pieces that give it back, and words as a reader sees them."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from triptych.text.running import pieces


@given(st.text())
def test_pieces_give_the_text_back(text: str) -> None:
    assert "".join(piece.text for piece in pieces(text)) == text
    assert all(piece.text for piece in pieces(text))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Vnd er ſprach: \u201eja!\u201c", ["Vnd", "er", "ſprach", "ja"]),
        ("don't -- the well-known 12 a1 'x' y-", ["don't", "the", "well-known", "a1", "x", "y"]),
        ("mu\u0366t\u0303 e\u0301t\u00e9", ["mu\u0366t\u0303", "e\u0301t\u00e9"]),
        ("अंकित है।", ["अंकित", "है"]),
        ("1,5 % \t\n", []),
        ("", []),
    ],
)
def test_words_are_runs_with_a_letter(text: str, words: list[str]) -> None:
    assert [piece.text for piece in pieces(text) if piece.is_word] == words
