"""Made-up Korean words and their romanisation, letter by letter; syllables are composed by Unicode's own formula."""

from __future__ import annotations

import random
from pathlib import Path

INITIALS = {0: "g", 2: "n", 3: "d", 5: "r", 6: "m", 7: "b", 9: "s", 12: "j", 15: "k", 18: "h"}
VOWELS = {0: "a", 4: "eo", 8: "o", 13: "u", 18: "eu", 20: "i"}
FINALS = {0: "", 4: "n", 8: "l", 16: "m", 21: "ng"}


def syllable(initial: int, vowel: int, final: int) -> str:
    """The composed syllable of three letters, by their numbers (The Unicode Standard, section 3.12)."""
    return chr(0xAC00 + (initial * 21 + vowel) * 28 + final)


def letters(initial: int, vowel: int, final: int) -> str:
    """The same as separate letters; final 0 is none."""
    return chr(0x1100 + initial) + chr(0x1161 + vowel) + (chr(0x11A7 + final) if final else "")


def words(count: int, *, seed: int = 0) -> list[tuple[str, str, str]]:
    """Different words, each as composed text, as letters, and romanised."""
    drawn = random.Random(seed)
    found: dict[str, tuple[str, str, str]] = {}
    while len(found) < count:
        parts = [
            (drawn.choice(list(INITIALS)), drawn.choice(list(VOWELS)), drawn.choice(list(FINALS)))
            for _ in range(drawn.randint(1, 3))
        ]
        romanised = "".join(INITIALS[i] + VOWELS[v] + FINALS[f] for i, v, f in parts)
        found[romanised] = (
            "".join(syllable(*part) for part in parts),
            "".join(letters(*part) for part in parts),
            romanised,
        )
    return list(found.values())


def write_hangul(path: Path, count: int, *, seed: int = 0, decomposed: bool = False) -> Path:
    """Write romanised words, a tab, and the words in Korean."""
    lines = [f"{roman}\t{apart if decomposed else whole}\n" for whole, apart, roman in words(count, seed=seed)]
    path.write_text("".join(lines), encoding="utf-8")
    return path
