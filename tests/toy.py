"""A made-up language whose spelling follows rules, small enough to be learnt in seconds."""

from __future__ import annotations

import random
from pathlib import Path

LETTERS = {
    "B": "b", "K": "c", "S": "s", "T": "t", "M": "m", "SH": "sh", "F": "ph",
    "AA": "a", "IY": "ee", "UW": "oo", "EH": "e",
}  # fmt: skip
VOWELS = ("AA", "IY", "UW", "EH")
CONSONANTS = tuple(sound for sound in LETTERS if sound not in VOWELS)


def spell(sounds: tuple[str, ...]) -> str:
    """The spelling: sound by sound, except that K before a front vowel is written k."""
    following = (*sounds[1:], "")
    return "".join(
        "k" if sound == "K" and then in ("IY", "EH") else LETTERS[sound]
        for sound, then in zip(sounds, following, strict=True)
    )


def toy_pairs(count: int, *, seed: int = 0) -> list[tuple[tuple[str, ...], str]]:
    """That many different pairs of sounds and spelling; the same seed gives the same pairs."""
    drawn = random.Random(seed)
    pairs: dict[tuple[str, ...], str] = {}
    while len(pairs) < count:
        sounds: list[str] = []
        for _ in range(drawn.randint(1, 3)):
            sounds += [drawn.choice(CONSONANTS), drawn.choice(VOWELS)]
        sounds += [drawn.choice(CONSONANTS)] * drawn.randint(0, 1)
        pairs[tuple(sounds)] = spell(tuple(sounds))
    return list(pairs.items())


def write_toy(folder: Path, *, train: int = 300, valid: int = 60, test: int = 60, seed: int = 0) -> Path:
    """Write train.tsv, valid.tsv and test.tsv, no source in two of them, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    pairs = toy_pairs(train + valid + test, seed=seed)
    bounds = {"train": (0, train), "valid": (train, train + valid), "test": (train + valid, len(pairs))}
    for split, (first, last) in bounds.items():
        lines = [f"{' '.join(sounds)}\t{spelling}\n" for sounds, spelling in pairs[first:last]]
        (folder / f"{split}.tsv").write_text("".join(lines), encoding="utf-8")
    return folder


SUFFIXES = {"N;SG": "", "N;PL": "s", "V;PST": "ed", "V;NOM(3,SG)": "es"}


def inflect(stem: str, features: str) -> str:
    """The form of a stem in a made-up language whose features decide the ending."""
    return stem + SUFFIXES[features]


def write_inflections(folder: Path, *, train: int = 60, valid: int = 10, test: int = 10, seed: int = 0) -> Path:
    """Write train.tsv, valid.tsv and test.tsv of stem, features and form, that many stems each, none in two of them."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = random.Random(seed)
    stems: dict[str, None] = {}
    while len(stems) < train + valid + test:
        stems["".join(drawn.choice("bdgmt") + drawn.choice("aiu") for _ in range(drawn.randint(1, 2)))] = None
        if len(stems) < train + valid + test:
            stems["".join(drawn.choice("bdgmt") + drawn.choice("aiu") for _ in range(2)) + drawn.choice("bd")] = None
    listed = list(stems)
    bounds = {"train": (0, train), "valid": (train, train + valid), "test": (train + valid, len(listed))}
    for split, (first, last) in bounds.items():
        lines = [f"{stem}\t{name}\t{inflect(stem, name)}\n" for stem in listed[first:last] for name in SUFFIXES]
        (folder / f"{split}.tsv").write_text("".join(lines), encoding="utf-8")
    return folder


ENDINGS = {"ady": "s", "dut": "um"}


def write_languages(
    folder: Path, *, train: int = 100, valid: int = 20, test: int = 20, seed: int = 0
) -> dict[str, Path]:
    """A folder for each of two languages, which give the same stems other endings; no stem is in two splits of one."""
    drawn = random.Random(seed)
    places = {}
    for language, ending in ENDINGS.items():
        stems: dict[str, None] = {}
        while len(stems) < train + valid + test:
            stems["".join(drawn.choice("bdgmt") + drawn.choice("aiu") for _ in range(drawn.randint(2, 3)))] = None
        listed = list(stems)
        places[language] = folder / language
        places[language].mkdir(parents=True)
        bounds = {"train": (0, train), "valid": (train, train + valid), "test": (train + valid, len(listed))}
        for split, (first, last) in bounds.items():
            lines = [f"{stem}\t{stem}{ending}\n" for stem in listed[first:last]]
            (places[language] / f"{split}.tsv").write_text("".join(lines), encoding="utf-8")
    return places
