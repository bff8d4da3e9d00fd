"""One model of two languages that give the same stems other endings: its data, predictions and scores."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.messages import check_message
from tests.prepared import prepare
from tests.recipes import spell_recipe
from tests.toy import ENDINGS, write_inflections, write_languages
from triptych import api
from triptych.config import SpellRecipe
from triptych.decoding import Speller
from triptych.errors import DataError, RecipeError
from triptych.runs.run import Run
from triptych.spell.corpus import load_corpus
from triptych.statistics import Estimate
from triptych.text.features import split_features
from triptych.text.languages import language_of, token

STEMS = ["gabi", "muta", "dabu"]


def recipe(*settings: str) -> SpellRecipe:
    base = ["data.source_unit=characters", "data.languages=['ady', 'dut']"]
    return spell_recipe("p2g-best-tiny", [*base, *settings])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_languages(tmp_path_factory.mktemp("words"), train=30, valid=5, test=5)


@pytest.fixture(scope="module")
def speller(languages_run: Run) -> Speller:
    loaded: Speller = api.load(languages_run.path)
    return loaded


def rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream, delimiter="\t"))


def test_every_row_has_its_language(data: dict[str, Path]) -> None:
    corpus = load_corpus(recipe().data, data)
    for split in ("train", "valid", "test"):
        expected = [(*row, (token(name),)) for name, place in data.items() for row in rows(place / f"{split}.tsv")]
        found = [("".join(p.source), "".join(p.target), p.features) for p in corpus.splits[split]]
        assert found == expected
    assert [(entry["language"], Path(entry["path"]).parent) for entry in corpus.fingerprints] == [
        (name, place) for name, place in data.items() for _ in range(3)
    ]
    assert corpus.content == "pairs of 8 source and 9 target symbols, in NFC, of the languages ady, dut"
    turned = load_corpus(recipe("data.reverse=true").data, data)
    assert [p.input.features for p in turned.splits["train"]] == [p.features for p in corpus.splits["train"]]


def test_languages_come_in_the_order_of_the_recipe(data: dict[str, Path]) -> None:
    swapped = dict(reversed(data.items()))
    assert load_corpus(recipe().data, swapped).fingerprints == load_corpus(recipe().data, data).fingerprints


def test_equal_pairs_of_two_languages_are_two_items(tmp_path: Path) -> None:
    for name in ("ady", "dut"):
        (tmp_path / f"{name}.tsv").write_text("".join(f"a{i % 10}\tb\n" for i in range(20)), encoding="utf-8")
    places = {name: tmp_path / f"{name}.tsv" for name in ("ady", "dut")}
    corpus = load_corpus(recipe("data.group_by=source").data, places)
    items = [item for split in corpus.splits for item in corpus.items(split)]
    assert len(items) == 20
    assert len(set(corpus.keys("train"))) == 2 * 8


def test_a_file_with_features_has_both(tmp_path: Path) -> None:
    places = {name: write_inflections(tmp_path / name, train=20, valid=4, test=4) for name in ("ady", "dut")}
    settings = recipe("data.features_column=2", "data.target_column=3")
    corpus = load_corpus(settings.data, places)
    assert {language_of(pair.features) for pair in corpus.splits["valid"]} == {"ady", "dut"}
    assert ("N", "PL", "language=ady") in {pair.features for pair in corpus.splits["train"]}
    description = prepare(settings, places).description
    assert description["languages"] == ["ady", "dut"]
    assert {"language=ady", "language=dut", "PL"} < set(description["features"])


def test_a_row_of_another_language_is_a_bad_row(tmp_path: Path) -> None:
    (tmp_path / "ady.tsv").write_text("a\tN\tb\nc\tN;language=dut\td\n", encoding="utf-8")
    settings = recipe("data.features_column=2", "data.target_column=3").data
    with pytest.raises(DataError) as caught:
        load_corpus(settings, {"ady": tmp_path / "ady.tsv"}, whole="test")
    assert (caught.value.path, caught.value.line) == (tmp_path / "ady.tsv", 2)
    check_message("language.bad-row", caught.value, tmp_path)


def test_a_split_that_a_language_lacks(tmp_path: Path) -> None:
    places = write_languages(tmp_path, train=10, valid=3, test=3)
    (places["dut"] / "test.tsv").unlink()
    corpus = load_corpus(recipe().data, places)
    assert {pair.features for pair in corpus.splits["test"]} == {("language=ady",)}
    assert "there is no test data of dut." in corpus.warnings


@pytest.mark.parametrize(
    ("languages", "chosen", "name"),
    [
        ("['ady', 'dut']", ("ady",), "no-data"),
        ("['ady']", ("ady", "dut"), "unknown-data"),
        ("['ady', 'dut']", "ady", "path-alone"),
        ("['ady', 'dut']", None, "nothing"),
        ("[]", ("ady", "dut"), "not-several"),
    ],
)
def test_data_without_its_language_is_one_line(
    languages: str, chosen: tuple[str, ...] | str | None, name: str, data: dict[str, Path]
) -> None:
    settings = recipe(f"data.languages={languages}").data
    location = {key: data[key] for key in chosen} if isinstance(chosen, tuple) else chosen and data[chosen]
    with pytest.raises(DataError) as caught:
        load_corpus(settings, location or None)
    assert caught.value.field == "--data"
    check_message(f"languages.{name}", caught.value, data["ady"].parent)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (["data.languages=['a b']"], "name"),
        (["data.languages=['a', 'a']"], "twice"),
        (["data.languages=['ady']", "data.features_separator='='"], "separator"),
    ],
)
def test_names_that_cannot_be_features(settings: list[str], name: str) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe(*settings)
    check_message(f"languages.recipe-{name}", caught.value)


def test_the_language_decides_the_ending(speller: Speller) -> None:
    for language, ending in ENDINGS.items():
        found = speller.predict(STEMS, language=language)
        assert [p.text for p in found] == [stem + ending for stem in STEMS]
        assert [p.language for p in found] == [language] * 3
        same = speller.in_language(language).predict(STEMS)
        assert [p.log_probability for p in same] == [p.log_probability for p in found]
        assert speller.predict(STEMS, features=f"language={language}")[0].text == found[0].text
    mixed = speller.predict(["gabi", "gabi"], language=["ady", "dut"])
    assert [p.text for p in mixed] == ["gabis", "gabium"]
    (stream,) = speller.in_language("dut").stream([("g", "a", "b", "i")])
    assert stream.text == "gabium"


def test_a_score_and_an_order_are_of_the_language(speller: Speller) -> None:
    good, bad = (speller.score("gabi", "gabium", language=name)[0] for name in ("dut", "ady"))
    (found,) = speller.predict("gabi", language="dut", n_best=5)
    assert good.log_probability == pytest.approx(found.log_probability, abs=1e-4)
    assert good.log_probability > bad.log_probability + 1
    assert speller.align("gabi", "gabis", language="ady")[0].pairs.startswith("0-0 1-1 2-2 3-3")
    (again,) = speller.rescore([found], weight=1.0)
    assert again.symbols == found.symbols


def test_a_language_that_is_missing_or_unknown(speller: Speller, inflection_run: Run) -> None:
    for ask in (
        lambda: speller.predict(STEMS),
        lambda: speller.predict(STEMS, language="eng"),
        lambda: speller.predict(STEMS, language=["ady"]),
        lambda: speller.score("gabi", "gabis"),
        lambda: speller.in_language("eng"),
        lambda: list(speller.stream([("g", "a")])),
        lambda: speller.with_dictionary([("gabi", "gabim")]),
        lambda: speller.in_language("ady").predict("gabi", features="language=dut"),
        lambda: api.load(inflection_run.path).predict("gabi", features="N;PL", language="ady"),
    ):
        with pytest.raises(DataError) as caught:
            ask()
        assert "language" in caught.value.field


def test_a_dictionary_is_of_a_language(speller: Speller) -> None:
    own = speller.in_language("ady").with_dictionary([("gabi", "gabim")])
    assert own.predict("gabi")[0].text == "gabim"
    named = speller.with_dictionary([("gabi", "gabim", "language=ady")])
    assert [p.text for p in named.predict(["gabi", "gabi"], language=["ady", "dut"])] == ["gabim", "gabium"]


def test_scores_by_language_add_up(languages_run: Run) -> None:
    (evaluation,) = languages_run.evaluations().values()
    scores = evaluation["scores"]
    assert list(scores["languages"]) == ["ady", "dut"]
    (path,) = [p for p in (languages_run.path / "predictions").glob("test.*.tsv") if "errors" not in p.name]
    with path.open(encoding="utf-8", newline="") as stream:
        table = list(csv.DictReader(stream, delimiter="\t"))
    for language, own in scores["languages"].items():
        mine = [row for row in table if language_of(split_features(row["features"])) == language]
        wrong = sum(row["prediction"] not in row["references"].split(" / ") for row in mine)
        assert (own["n_items"], own["wer"]["value"]) == (len(mine), wrong / len(mine))
        edits, length = (sum(int(row[key]) for row in mine) for key in ("edits", "reference_length"))
        assert Estimate.from_dict(own["cer"]).value == pytest.approx(edits / length)
    assert scores["n_items"] == sum(own["n_items"] for own in scores["languages"].values())
    report = api.write_report(languages_run).read_text(encoding="utf-8")
    assert "Scores by language" in report
    card = (languages_run.path / "card.md").read_text(encoding="utf-8")
    assert "in 2 languages: ady, dut." in card
    assert "| ady: " in card
    assert "language=LANGUAGE" in card
