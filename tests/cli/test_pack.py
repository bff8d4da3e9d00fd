"""`triptych pack`, packed runs in place of runs, and `triptych models`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Triptych, json_of, one_error
from tests.cli.test_predict import LINES, piped
from triptych import api
from triptych.api.serving import ServeLimits, load_catalogue
from triptych.errors import TriptychError
from triptych.runs import packed as packed_module
from triptych.runs.packed import ready_made
from triptych.spell import word_lists


@pytest.fixture
def data(workspace: Path) -> Path:
    """The toy runs' data, where they were trained on it."""
    return Path(api.Run.open("first").facts()["data_location"])


def test_a_packed_run_predicts_explains_and_tests_as_the_run(triptych: Triptych, workspace: Path, data: Path) -> None:
    made = triptych("pack", "first")
    assert made.out.startswith("packed      first.triptych, ")
    expected = triptych("predict", "first", stdin=piped(*LINES)).out
    whole = triptych("test", "first", "--json", "--split", "valid").out
    aligned = triptych("align", "first", stdin=b"B IY T\tbeet\n").out
    (workspace / "elsewhere").mkdir()
    (workspace / "first.triptych").rename(workspace / "elsewhere" / "mine.triptych")
    shutil.rmtree(workspace / "runs")
    place = "elsewhere/mine.triptych"
    assert triptych("predict", place, stdin=piped(*LINES)).out == expected
    assert triptych("align", place, stdin=b"B IY T\tbeet\n").out == aligned
    tested = triptych("test", place, "--json", "--split", "valid", "--data", str(data))
    assert tested.out == whole
    assert "warning: first is a packed run, which is only read: the evaluation is not recorded." in tested.err
    assert triptych("explain", place, "B IY T").status == 0
    assert list((workspace / "first-figures").glob("*.png"))
    assert [path.name for path in (workspace / "elsewhere").iterdir()] == ["mine.triptych"]
    card = triptych("models", place).out
    assert "## Evaluation" in card
    assert "Weights are kept in 32 bits" in card
    assert "model = triptych.load('first.triptych')  # or the path of this file\n" in card
    assert "`triptych predict first.triptych SOURCES.txt --n-best 3`" in card
    assert "folder" not in card
    assert "metrics.csv" not in card, "only the recipe is in the file"
    assert str(workspace) not in card


@pytest.mark.parametrize("weights", ["float16", "int8"])
def test_smaller_weights_are_measured_and_the_card_says_so(triptych: Triptych, workspace: Path, weights: str) -> None:
    plain = json_of(triptych, "pack", "first", "--out", "plain.triptych")
    document = json_of(triptych, "pack", "first", "--out", "small.triptych", "--weights", weights)
    assert document["bytes"] < 0.7 * plain["bytes"]
    own = api.evaluate(api.Run.open("first"), split="valid").scores.to_dict()
    data = api.recorded_data(api.Run.open("first"))
    tested = api.run_test(api.Run.open("small.triptych"), split="valid", data=data)
    small = tested.evaluation.scores.to_dict()
    for name, key in (("CER", "cer"), ("WER", "wer")):
        assert document["valid"][name]["before"]["value"] == own[key]["value"]
        assert document["valid"][name]["after"]["value"] == small[key]["value"]
    card = triptych("models", "small.triptych").out
    assert f"| float32 | {weights} |" in card
    assert f"{own['cer']['value']:.4f}" in card.partition("## Storage")[2]


def test_a_training_can_start_from_a_packed_run(triptych: Triptych, workspace: Path, data: Path) -> None:
    triptych("pack", "first", "--out", "mine.triptych")
    quick = ("--set", "training.epochs=1", "--set", "data.max_train_pairs=40", "--set", "data.max_eval_pairs=10")
    result = triptych("train", "--start-from", "mine.triptych", "--data", str(data), "--name", "tuned", *quick)
    assert result.status == 0, result.err
    assert api.Run.open("tuned").facts()["started_from"]["initialised"] == []


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("pack", "first", "--weights", "int4"), "--weights is 'int4'; expected one of float32, float16, int8."),
        (("pack", "first", "--dictionary"), "--dictionary needs a run of a named data set"),
        (("pack", "nonesuch"), "run is 'nonesuch'; expected the name or path of a run."),
        (("predict", "nonesuch.triptych"), "nonesuch.triptych: no such file."),
        (("pack", "first", "--out", "there.triptych"), "there.triptych: there is a file of this name already."),
        (("predict", "there.triptych"), "there.triptych: this is not a packed run, or is truncated"),
        (("export", "there.triptych", "--out", "x"), "there.triptych: this is not a packed run, or is truncated"),
    ],
)
def test_mistakes_are_one_line(triptych: Triptych, workspace: Path, arguments: tuple[str, ...], part: str) -> None:
    (workspace / "there.triptych").write_text("hello\n", encoding="utf-8")
    assert one_error(triptych(*arguments)).startswith(part)
    assert not (workspace / "first.triptych").exists()


def test_where_the_measure_fails_no_file_is_left(triptych: Triptych, workspace: Path) -> None:
    run = api.Run.open("first")
    run.update_facts(data_location=str(workspace / "gone"))
    assert "was not found" in one_error(triptych("pack", "first", "--weights", "int8"))
    assert not (workspace / "first.triptych").exists()


def test_ready_made_models_are_listed_and_answer_with_their_dictionary_first(
    triptych: Triptych, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tiny model of this test's own in the package's folder, whose dictionary is a set of two words."""
    monkeypatch.setattr(packed_module, "MODELS", workspace / "models")
    api.pack(api.Run.open("first"), workspace / "models" / "toy-p2g.triptych")
    (listed,) = json_of(triptych, "models")["models"]
    assert (listed["name"], listed["test"]["CER"]["value"]) == (
        "toy-p2g",
        api.Run.open("first").facts()["evaluations"]["test/greedy"]["cer"]["value"],
    )
    assert "toy-p2g" in triptych("models").out
    assert (
        triptych("predict", "toy-p2g", stdin=piped(*LINES)).out == triptych("predict", "first", stdin=piped(*LINES)).out
    )
    assert "Did you mean 'toy-p2g'?" in one_error(triptych("predict", "toy-g2p", stdin=b"B IY\n"))

    asked: list[str] = []

    def with_named_set(speller: object, _recipe: object, name: str) -> object:
        asked.append(name)
        return speller.with_dictionary([("B IY", "bea")])  # type: ignore[attr-defined]

    monkeypatch.setattr(word_lists, "with_named_set", with_named_set)
    monkeypatch.setattr(packed_module.Packed, "dictionary", "cmudict")
    assert api.load("toy-p2g").predict("B IY")[0].best.origin == "dictionary"
    assert triptych("predict", "toy-p2g", stdin=b"B IY\n").out == "B IY\tbea\t0.0000\n"
    assert asked == ["cmudict", "cmudict"]
    data = api.Run.open("first").facts()["data_location"]
    tested = json_of(triptych, "test", "toy-p2g", "--data", data)
    assert asked == ["cmudict", "cmudict"], "a test is of the model alone"
    assert tested["n_items"] == 60


def test_a_packed_run_is_packed_again_with_a_card_of_its_own(triptych: Triptych, workspace: Path) -> None:
    assert triptych("pack", "first", "--weights", "float16").status == 0
    shutil.rmtree(workspace / "runs" / "first" / "evaluations")
    again = triptych("pack", "first.triptych", "--out", "again.triptych")
    assert again.out.startswith("packed      again.triptych, ")
    card = triptych("models", "again.triptych").out
    assert card.count("## Storage") == 1
    assert "triptych.load('again.triptych')" in card
    evaluated = list(api.Run.open("first").facts()["evaluations"])
    assert all(f"| {name} |" in card for name in evaluated)


def test_a_ready_made_model_is_found_with_its_suffix_too() -> None:
    name = next(iter(ready_made()))
    assert api.Run.open(f"{name}.triptych").path == api.Run.open(name).path


def test_the_packages_own_models_are_small_and_whole() -> None:
    for name, path in ready_made().items():
        assert path.stat().st_size <= 3_000_000
        run = api.Run.open(name)
        assert "## Storage" in run.card()
        assert f"triptych.load('{path.name}')  # or the path of this file" in run.card()
        assert any(key.startswith("test/") for key in run.facts()["evaluations"])
        assert len(run.tensors()) > 0


def test_a_packed_run_is_served_under_its_own_name(triptych: Triptych, workspace: Path) -> None:
    triptych("pack", "first", "--out", "mine.triptych")
    served = load_catalogue(["mine.triptych"], [], limits=ServeLimits())
    assert list(served.spellers) == ["first"]
    assert served.spellers["first"].speller.predict("B IY T")[0].text == api.load("first").predict("B IY T")[0].text
    with pytest.raises(TriptychError, match="two folders are named 'first'"):
        load_catalogue(["mine.triptych", "first"], [], limits=ServeLimits())


def test_the_model_of_english_answers_from_its_dictionary_and_otherwise_by_itself() -> None:
    assert "en-us-g2p" in ready_made()
    known, new = api.load("en-us-g2p").predict(["Cat", "flembost"])
    assert (known.text, known.best.origin) == ("K AE T", "dictionary")
    assert (new.symbols[:4], new.best.origin) == (("F", "L", "EH", "M"), "model")
