"""The recipes for the directions that people ask for, each trained once on a little data and used as they would."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import hangul
from tests.cli.conftest import Triptych, json_of
from tests.toy import toy_pairs
from triptych import api

PAIRS = toy_pairs(80)
LEXICON = ";;; words and phonemes\n<unk> SPN\n" + "".join(
    f"{word.upper()}  {' '.join(sounds)}\n{word.upper()}(2)  {' '.join(sounds)} S\n" for sounds, word in PAIRS
)
SOUNDS = {sound for sounds, _ in PAIRS for sound in sounds}
LONG_S = "".join(f"{word.replace('s', 'ſ')}\t{word}\n" for _, word in PAIRS)
FILES = {
    "g2p": LEXICON,
    "p2g": LEXICON,
    "translit": "".join(f"{roman}\t{whole}\n" for whole, _, roman in hangul.words(80)),
    "normalise": LONG_S.replace("\n", "\n\n", 5),
    "inflect": "".join(
        f"{word}\t{tag}\t{word}{end}\n" for _, word in PAIRS for tag, end in (("V;PST", "ed"), ("V", ""))
    ),
}


def trained(triptych: Triptych, name: str, folder: Path) -> str:
    data = folder / f"{name}.txt"
    data.write_text(FILES[name], encoding="utf-8")
    result = triptych("train", name, "--tiny", "--data", str(data), "--name", name)
    assert result.status == 0, result.err
    return result.err


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRIPTYCH_RUNS", raising=False)


def test_words_become_phonemes(triptych: Triptych, tmp_path: Path) -> None:
    said = trained(triptych, "g2p", tmp_path)
    assert "read as a dictionary with words as sources and phonemes as targets" in said
    assert "warning: " not in said.replace("warning: the training makes", "")
    out = triptych("predict", "g2p", "--n-best", "1", stdin=b"Bamoo\nbamoo\nBAMOO\n").out.splitlines()
    first, second, third = (line.split("\t")[1:] for line in out)
    assert first == second == third, "words are read alike in any case"
    assert set(first[0].split()) <= SOUNDS
    assert [line.split("\t")[0] for line in out] == ["Bamoo", "bamoo", "BAMOO"]
    tested = json_of(triptych, "test", "g2p", "--data", "g2p.txt", "--json")
    assert tested["n_items"] > 0
    answered = triptych("predict", "g2p", "--dictionary", "g2p.txt", stdin=PAIRS[0][1].encode()).out.split("\t")
    assert answered[1] == " ".join(PAIRS[0][0])


def test_phonemes_become_words(triptych: Triptych, tmp_path: Path) -> None:
    said = trained(triptych, "p2g", tmp_path)
    assert "read as a dictionary with words as targets and phonemes as sources" in said
    listed = triptych("predict", "p2g", "--lexicon", "p2g.txt", stdin=b"B AA M UW\n").out.split("\t")[1]
    assert listed.lower() in {word for _, word in PAIRS}


def test_letters_become_syllables_of_another_script(triptych: Triptych, tmp_path: Path) -> None:
    assert "targets in NFD (" in trained(triptych, "translit", tmp_path)
    (prediction,) = api.load("translit").predict("nabi")
    assert prediction.source == tuple("nabi")
    assert all(0x1100 <= ord(letter) < 0x1200 for letter in prediction.symbols)


def test_old_spellings_become_modern_ones(triptych: Triptych, tmp_path: Path) -> None:
    trained(triptych, "normalise", tmp_path)
    tested = json_of(triptych, "test", "normalise", "--json")
    assert tested["n_items"] == api.Run.open("normalise").facts()["counts"]["test"], "each token counts"
    known = api.load("normalise").predict([line.split("\t")[0] for line in LONG_S.splitlines()])
    old, new = next(("".join(f.source), f.text) for f in known if f.best.origin == "dictionary" and "ſ" in f.source)
    text = f"  {old}, 12 ({old}-) ... {old}!\n\n"
    out = triptych("predict", "normalise", "--text", stdin=text.encode()).out.split("\n")
    assert out[0] == f"  {old}, 12 ({old}-) ... {old}!\t  {new}, 12 ({new}-) ... {new}!\t0.0000"
    assert out[1] == "\t\t0.0000"
    assert triptych("predict", "normalise", "--text", "--line-buffered", stdin=text.encode()).out.split("\n") == out
    bad = triptych("predict", "normalise", "--text", stdin=f"{old}\n".encode() + b"\xff\n")
    assert (bad.status, bad.out.split("\t")[:2]) == (2, [old, new]), "what comes before a bad line is still predicted"
    assert "standard input:2: byte 0xff" in bad.err
    skipped = triptych("predict", "normalise", "--text", "--skip-bad", stdin=b"\xff\n" + f"{old}\n".encode())
    assert skipped.out.split("\t")[:2] == [old, new]
    assert "Skipped 1 unreadable lines" in skipped.err


def test_lemmas_are_inflected_by_features(triptych: Triptych, tmp_path: Path) -> None:
    trained(triptych, "inflect", tmp_path)
    out = triptych("predict", "inflect", stdin=f"{PAIRS[0][1]}\tV;PST\n".encode()).out.split("\t")
    assert out[:2] == [PAIRS[0][1], "V;PST"]


def test_a_named_set_is_read_in_either_direction(tmp_path: Path) -> None:
    for name, units in (("g2p", ("characters", "symbols")), ("p2g", ("symbols", "characters"))):
        recipe = api.load_recipe(api.tiny(name), ["data.set=cmudict"])
        assert (recipe.data.source_unit, recipe.data.target_unit) == units  # type: ignore[union-attr]
