"""`triptych distil`: what a student is trained on, and what is kept out of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Triptych, json_of, one_error
from tests.toy import toy_pairs
from triptych import api

FRESH = [" ".join(sounds) for sounds, _ in toy_pairs(80, seed=77)]


def rows(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def words(workspace: Path) -> Path:
    """Words of the language, one of them twice, a test word, one with an unknown sound, and a blank line."""
    data = Path(api.Run.open("first").facts()["data_location"])
    test_word = rows(data / "test.tsv")[0][0]
    (workspace / "words.txt").write_text("\n".join([*FRESH, FRESH[0], test_word, "B QQ", ""]) + "\n", encoding="utf-8")
    return data


def test_sure_answers_join_the_training_and_held_out_words_do_not(
    triptych: Triptych, workspace: Path, words: Path
) -> None:
    document = json_of(triptych, "distil", "first", "--words", "words.txt", "--out", "student")
    held = {row[0] for split in ("train", "valid", "test") for row in rows(words / f"{split}.tsv")}
    asked = [word for word in FRESH if word not in held]
    expected = []
    for prediction in api.load("first").predict(asked, n_best=5):
        expected += [[" ".join(prediction.source), c.text] for c in prediction.candidates if c.probability >= 0.5]
    own = rows(words / "train.tsv")
    found = rows(workspace / "student" / "train.tsv")
    assert found[: len(own)] == own
    assert sorted(found[len(own) :]) == sorted(expected)
    assert len(expected) > len(asked) / 4
    for split in ("valid", "test"):
        assert rows(workspace / "student" / f"{split}.tsv") == rows(words / f"{split}.tsv")
    assert document["added"] == len(expected)
    assert document["answered"] == len({source for source, _ in expected})
    assert document["unreadable"] == 1
    assert document["known"] == len(set(FRESH) & held) + 1
    assert document["words"] == len(set(FRESH)) + 2
    about = json.loads((workspace / "student" / "distilled.json").read_text(encoding="utf-8"))
    assert about["weights"] == api.Run.open("first").weights_digest()


def test_a_low_probability_gives_a_word_several_answers(triptych: Triptych, workspace: Path, words: Path) -> None:
    arguments = ("distil", "second", "--words", "words.txt", "--out", "student", "--min-probability", "0.001")
    document = json_of(triptych, *arguments)
    added, answered, words_in_file = (document[key] for key in ("added", "answered", "words"))
    assert answered == words_in_file - document["known"] - document["unreadable"] - document["doubtful"]
    assert added > answered
    printed = triptych(*arguments[:-3], "again", *arguments[-2:])
    assert printed.out.splitlines()[0].endswith(f" own training pairs and {added} new ones")
    assert f"words      {answered} of {words_in_file} answered; " in printed.err
    quick = ("--set", "training.epochs=1", "--set", "data.max_train_pairs=40", "--set", "data.max_eval_pairs=10")
    result = triptych("train", "p2g-additive-tiny", "--data", "student", "--name", "student", *quick)
    assert result.status == 0, result.err


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (("--out", "student", "--min-probability", "0"), "--min-probability is 0.0; expected a number in (0, 1]."),
        (("--out", "runs"), "runs: this exists already."),
        (("--out", "student", "--min-probability", "1"), "words.txt: none of the "),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(
    triptych: Triptych, workspace: Path, words: Path, options: tuple[str, ...], part: str
) -> None:
    assert one_error(triptych("distil", "first", "--words", "words.txt", *options)).startswith(part)
    assert not (workspace / "student").exists()
