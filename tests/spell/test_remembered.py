"""Training pairs that a run keeps and answers with: in the run, its exports and its ensembles, on and off."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Triptych, json_of, one_error, triptych as triptych
from tests.messages import check_message
from tests.prepared import prepare
from tests.recipes import spell_recipe
from tests.toy import toy_pairs
from triptych import api, runtime
from triptych.api.serving import ServeLimits, load_catalogue
from triptych.config import SpellDecoding
from triptych.decoding import Speller
from triptych.decoding.dictionary import Dictionary
from triptych.decoding.voting import Voting
from triptych.errors import RunError
from triptych.runs.run import Run
from triptych.serve.schemas import SpellRequest
from triptych.spell.corpus import load_corpus
from triptych.text.pairs import Pair
from triptych.text.remembered import FILE, by_frequency

OFF = SpellDecoding(remembered=False)


def make_run(folder: Path, name: str, data: Path, *settings: str) -> Run:
    """A run with its first, untrained weights, which nobody would take for an answer."""
    recipe = spell_recipe("p2g-additive-tiny", settings)
    prepared = prepare(recipe, data)
    run = Run.create(str(folder / name))
    run.write_recipe(recipe)
    for file, content in prepared.files.items():
        run.write_file(file, content)
    run.write_model("spell", prepared.description)
    run.write_tensors(prepared.objective.network.state_dict())
    facts = {"status": "finished", "data_location": str(data), "panel": "spell"}
    run.update_facts(**facts, data=[dict(entry) for entry in load_corpus(recipe.data, data).fingerprints])
    return run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twelve training words, one with two spellings; half of the test words are among them."""
    folder = tmp_path / "data"
    folder.mkdir()
    pairs = [(" ".join(sounds), word) for sounds, word in toy_pairs(24)]
    train = [*pairs[:12], ("UW B", "bee"), ("UW B", "be"), ("UW B", "be")]
    for name, rows in (("train", train), ("valid", pairs[12:18]), ("test", [*pairs[:6], *pairs[18:]])):
        (folder / f"{name}.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in rows), encoding="utf-8")
    return folder


@pytest.fixture
def run(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRIPTYCH_RUNS", raising=False)
    return make_run(tmp_path / "runs", "kept", data, "data.remember=true")


def answers(speller: Any, source: str = "UW B", **options: Any) -> list[tuple[str, str]]:
    return [(each.text, each.origin) for each in speller.predict(source, **options)[0].candidates]


def test_the_most_frequent_target_is_the_answer(run: Run) -> None:
    speller = api.load(run.path)
    assert answers(speller) == [("be", "dictionary")]
    assert answers(speller, n_best=3) == [("be", "dictionary"), ("bee", "dictionary")]
    assert speller.predict("UW B")[0].log_probability == 0.0
    assert answers(speller, decoding=OFF)[0][1] == "model"
    assert answers(speller, "B UW B")[0][1] == "model"


def test_targets_are_ordered_by_how_often_they_come() -> None:
    rows = ["ab", "ba", "ab", "cb", "ca", "cb", "ca", "ca", "bb"]
    pairs = [Pair(tuple(row[0]), tuple(row[1]), line) for line, row in enumerate(rows)]
    found = [source[0] + target[0] for source, target, _ in by_frequency(pairs)]
    counts = Counter(rows)
    expected = sorted(counts, key=lambda row: ([r[0] for r in rows].index(row[0]), -counts[row], rows.index(row)))
    assert found == expected == ["ab", "ba", "bb", "ca", "cb"]


def test_a_run_that_keeps_nothing_says_that_the_option_has_no_effect(
    tmp_path: Path, data: Path, run: Run, triptych: Triptych
) -> None:
    plain = make_run(tmp_path / "runs", "plain", data)
    assert not (plain.path / FILE).exists()
    assert api.load(plain.path).remembered is None
    for option in ("--remembered", "--no-remembered"):
        message = one_error(triptych("predict", "plain", option, stdin=b"UW B\n"))
        assert option in message
        assert "data.remember=true" in message
    first, second = (
        triptych("predict", "kept", *options, stdin=b"UW B\n").out for options in ((), ("--no-remembered",))
    )
    assert first == "UW B\tbe\t0.0000\n"
    assert second != first
    assert triptych("predict", "plain", stdin=b"UW B\n").out == second, "the same weights without what is kept"


def test_features_are_part_of_what_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data"
    data.mkdir()
    for name in ("train", "valid"):
        (data / f"{name}.tsv").write_text("go\tV;PST\twent\ngo\tV\tgo\ngo\tV;PST\twent\n", encoding="utf-8")
    columns = ("data.source_unit=characters", "data.target_column=3", "data.features_column=2", "data.remember=true")
    speller = api.load(make_run(tmp_path / "runs", "inflects", data, *columns).path)
    assert answers(speller, "go", features="PST;V") == [("went", "dictionary")]
    assert answers(speller, "go", features="V") == [("go", "dictionary")]
    assert answers(speller, "go", features="N")[0][1] == "model"


def test_a_test_says_what_share_was_remembered(run: Run, triptych: Triptych) -> None:
    tested = json_of(triptych, "test", "kept", "--json")
    assert tested["from_dictionary"]["value"] == 0.5
    assert tested["wer"]["value"] == 0.5, "half is remembered and right, and the model knows nothing"
    assert "answered by a dictionary" in triptych("test", "kept").out
    off = json_of(triptych, "test", "kept", "--no-remembered", "--json")
    assert "from_dictionary" not in off
    assert (tested["decoding"], off["decoding"]) == ("greedy", "greedy-not-remembered")


def test_a_dictionary_that_is_given_comes_first(run: Run, triptych: Triptych, tmp_path: Path) -> None:
    (tmp_path / "own.tsv").write_text("UW B\tbea\nZ IY\tzee\n", encoding="utf-8")
    result = triptych("predict", "kept", "--dictionary", "own.tsv", stdin=b"UW B\n")
    assert result.out == "UW B\tbea\t0.0000\n"
    assert "of which 1 have another target; the first: 'UW B', 'bea' and not 'be'." in result.err


def test_a_word_list_holds_what_is_remembered_too(run: Run) -> None:
    speller = api.load(run.path)
    assert answers(speller.with_lexicon(["bee", "b"])) == [("bee", "dictionary")]
    (other,) = answers(speller.with_lexicon(["b"]))
    assert other == ("b", "model")
    assert answers(speller.with_lexicon(["b"], weight=1.0)) == [("be", "dictionary")], "others are allowed"
    voting = Voting([speller, speller], OFF).with_remembered(speller.remembered.entries())
    assert answers(voting.with_lexicon(["bee", "b"]), decoding=SpellDecoding()) == [("bee", "dictionary")]
    assert answers(voting.with_dictionary([("Z", "z")]), decoding=SpellDecoding()) == [("be", "dictionary")]


def test_an_ensemble_keeps_what_its_first_member_keeps(run: Run, tmp_path: Path, data: Path) -> None:
    second = make_run(tmp_path / "runs", "second", data, "data.remember=true", "training.seed=1")
    both = api.make_ensemble([run, second], name=str(tmp_path / "runs" / "both"))
    assert answers(api.load(both.path)) == [("be", "dictionary")]
    assert (both.path / FILE).read_bytes() == (run.path / FILE).read_bytes()


def test_exports_answer_as_the_run_does(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    out = tmp_path / "exported"
    api.export(run, out=out)
    exported = runtime.load(out)
    assert answers(exported) == [("be", "dictionary")]
    assert answers(exported, decoding=OFF) == answers(api.load(run.path), decoding=OFF)
    assert FILE in json.loads((out / "export.json").read_text(encoding="utf-8"))["files"]
    (out / FILE).write_bytes(b"")
    with pytest.raises(RunError):
        runtime.load(out)


def test_a_packed_run_answers_as_the_run_does(run: Run, tmp_path: Path) -> None:
    place = api.pack(run, out=tmp_path / "kept.triptych").path
    assert answers(api.load(place)) == [("be", "dictionary")]


@pytest.mark.parametrize("damage", ["cut", "other", "missing"])
def test_a_damaged_file_is_refused(run: Run, damage: str, tmp_path: Path) -> None:
    path = run.path / FILE
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(content[:-4] if damage == "cut" else gzip.compress(b'["UW B", "x"]\n', mtime=0))
    with pytest.raises(RunError) as caught:
        api.load(run.path)
    assert caught.value.path == path
    if damage == "missing":
        check_message("remembered.missing", caught.value, tmp_path)


def test_requests_switch_it_off_and_say_where_an_answer_is_from(run: Run) -> None:
    served = load_catalogue([str(run.path)], [], limits=ServeLimits()).spellers["kept"]
    asked = SpellRequest(sources=["UW B"], remembered=False)
    settings = served.settings(asked.model_dump(include={"remembered"}, exclude_none=True))
    (off,) = served.speller.predict("UW B", decoding=settings)
    (on,) = served.speller.predict("UW B", decoding=served.settings({}))
    assert (on.best.origin, off.best.origin) == ("dictionary", "model")


def test_an_explanation_is_of_the_model(run: Run, tmp_path: Path) -> None:
    found: Any = api.explain(run, ["UW B"], {}, out=tmp_path / "figures")[0]
    assert found.prediction.best.origin == "model"
    assert found.picture is not None


def test_entries_are_those_a_dictionary_was_made_from() -> None:
    entries = [(("B",), ("b",), ()), (("B",), ("bb",), ()), (("A",), ("a",), ("V",)), (("A",), ("b",), ())]
    assert list(Dictionary(entries).entries()) == entries
    assert Speller.remembered is None
