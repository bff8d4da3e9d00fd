"""From data of two languages to predictions: every door that a model of several languages has."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import requests

from tests.cli import conftest as command_line
from tests.cli.conftest import Triptych, json_of, one_error
from tests.conftest import LANGUAGE_SETTINGS
from tests.serve.running import running
from tests.toy import write_languages
from triptych import api, runtime
from triptych.api.serving import load_catalogue
from triptych.config.serve import ServeLimits
from triptych.runs.run import Run
from triptych.serve.app import build_app

triptych = command_line.triptych
LINES = b"gabi\nmuta\n"
PREDICTED = ["gabi\tlanguage=dut\tgabium", "muta\tlanguage=dut\tmutaum"]


@pytest.fixture
def place(languages_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the test's own, with a copy of the run."""
    shutil.copytree(languages_run.path, tmp_path / "runs" / "two")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRIPTYCH_RUNS", raising=False)
    return tmp_path


def first_three(output: str) -> list[str]:
    return ["\t".join(line.split("\t")[:3]) for line in output.splitlines()]


def test_a_run_keeps_its_languages_and_their_paths(triptych: Triptych, place: Path) -> None:
    data = write_languages(place / "words", train=20, valid=4, test=4)
    settings = [part for setting in [*LANGUAGE_SETTINGS, "training.epochs=1"] for part in ("--set", setting)]
    given = [part for name in data for part in ("--data", f"{name}=words/{name}")]
    trained = triptych("train", "p2g-best", "--tiny", *given, "--name", "new", *settings)
    assert trained.status == 0, trained.err
    assert "of the languages ady, dut" in trained.err
    assert "chosen  data" not in trained.err
    run = Run.open("new")
    assert run.recipe().data.languages == ["ady", "dut"]  # type: ignore[union-attr]
    assert run.facts()["data_location"] == {name: str(path) for name, path in data.items()}
    assert api.recorded_data(run) == data
    assert json_of(triptych, "test", "new")["languages"].keys() == data.keys()
    begun = api.start_run(run.recipe(), recipe_name="p2g-best", name="begun", data=data)
    assert triptych("train", "--resume", "--name", "begun").status == 0
    assert begun.facts()["status"] == "finished"
    assert begun.weights_digest() == run.weights_digest(), "the same data in the same order"
    moved = triptych("train", "p2g-best", "--tiny", *given[:2], "--data", "dut=words/dot", "--name", "other")
    assert "words/dot: no such file or folder" in one_error(moved)


def test_a_training_starts_from_other_languages(triptych: Triptych, place: Path) -> None:
    data = write_languages(place / "words", train=20, valid=4, test=4, seed=1)
    started = triptych(
        "train", "--start-from", "two", "--data", f"dut={data['dut']}", "--data", f"eng={data['ady']}",
        "--name", "next", "--set", "training.epochs=1", "--json",
    )  # fmt: skip
    assert started.status == 0, started.err
    vocabularies = api.load("next").vocabularies
    assert vocabularies.languages == ("dut", "eng")
    old, new = (Run.open(name).model()["features"] for name in ("two", "next"))
    assert (old, new) == (["language=ady", "language=dut"], ["language=dut", "language=eng"])


def test_lines_are_predicted_in_a_language(triptych: Triptych, place: Path) -> None:
    result = triptych("predict", "two", "--language", "dut", stdin=LINES)
    assert (result.status, result.err) == (0, "")
    assert first_three(result.out) == PREDICTED
    named = triptych("predict", "two", stdin=b"gabi\tlanguage=dut\nmuta\tlanguage=ady\n")
    assert first_three(named.out) == [PREDICTED[0], "muta\tlanguage=ady\tmutas"]
    text = triptych("predict", "two", "--language", "ady", "--text", stdin=b"gabi, 3 muta!\n")
    assert text.out.startswith("gabi, 3 muta!\tgabis, 3 mutas!\t")
    scored = triptych("score", "two", stdin=result.out.encode())
    assert first_three(scored.out) == PREDICTED
    aligned = triptych("align", "two", "--language", "dut", stdin=result.out.encode())
    assert first_three(aligned.out) == PREDICTED
    ordered = triptych("score", "two", "--rerank", "--weight", "1", stdin=result.out.encode())
    assert first_three(ordered.out)[0].startswith("gabi\tgabium")
    found = json_of(triptych, "explain", "two", "gabi", "--language", "ady")
    assert found["candidates"][0]["text"] == "gabis"


def test_files_of_pairs_and_dictionaries_are_of_a_language(triptych: Triptych, place: Path) -> None:
    Path("own.tsv").write_text("gabi\tgabim\n", encoding="utf-8")
    answered = triptych("predict", "two", "--language", "ady", "--dictionary", "own.tsv", stdin=LINES)
    assert first_three(answered.out) == ["gabi\tlanguage=ady\tgabim", "muta\tlanguage=ady\tmutas"]
    without = triptych("predict", "two", "--dictionary", "own.tsv", stdin=b"gabi\tlanguage=ady\n")
    assert one_error(without).startswith("own.tsv:1: language is missing; expected one of ady, dut")
    scored = triptych("score", "two", "own.tsv", "--language", "ady")
    assert first_three(scored.out) == ["gabi\tlanguage=ady\tgabim"]
    assert one_error(triptych("score", "two", "own.tsv")).startswith("own.tsv:1: language is missing")


def test_bad_languages_are_one_line(triptych: Triptych, place: Path) -> None:
    assert one_error(triptych("predict", "two", "--language", "dat", stdin=LINES)).endswith("Did you mean 'dut'?")
    bare = triptych("predict", "two", stdin=b"gabi\tlanguage=ady\ngabi\n")
    assert first_three(bare.out) == ["gabi\tlanguage=ady\tgabis"], "what comes before is answered"
    assert bare.err == (
        "error: standard input:2: the line has 1 column; expected two, a source and its features, among them its "
        "language, such as language=ady. Fix the line, or pass --skip-bad.\n"
    )
    other = triptych("predict", "two", "--skip-bad", stdin=b"gabi\tlanguage=eng\ngabi\tlanguage=ady\n")
    assert first_three(other.out) == ["gabi\tlanguage=ady\tgabis"]
    assert "language is 'eng'; expected one of ady, dut" in other.err
    tested = triptych("test", "two", "--data", "words")
    assert tested.err.startswith("error: words: no such file or folder")


def test_another_set_of_one_language_is_evaluated(triptych: Triptych, place: Path) -> None:
    Path("more.tsv").write_text("gabi\tgabium\nmuta\tmutas\n", encoding="utf-8")
    scores = json_of(triptych, "test", "two", "--data", "dut=more.tsv")
    assert (scores["n_items"], scores["wer"]["value"]) == (2, 0.5)
    assert list(scores["languages"]) == ["dut"]
    assert one_error(triptych("test", "two", "--data", "eng=more.tsv")).startswith("--data is 'eng=more.tsv'")
    assert "a path for each of data.languages" in one_error(triptych("test", "two", "--data", "more.tsv"))


def test_moved_data_is_known_again(triptych: Triptych, place: Path) -> None:
    own = api.recorded_data(Run.open("two"))
    assert isinstance(own, dict)
    given = []
    for name, path in own.items():
        shutil.copytree(path, place / "moved" / name)
        given += ["--data", f"{name}=moved/{name}"]
    tested = json_of(triptych, "test", "two", *given)
    assert tested["decoding"] == "beam8-best3", "not as other data"
    assert Run.open("two").facts()["data_location"] == {name: str(place / "moved" / name) for name in own}


def test_an_ensemble_an_export_and_a_packed_file(triptych: Triptych, place: Path) -> None:
    assert triptych("export", "two", "--out", "exported").status == 0
    exported = runtime.load("exported")
    assert [p.text for p in exported.predict(["gabi", "gabi"], language=["ady", "dut"])] == ["gabis", "gabium"]
    assert "language='ady'" in Path("exported/README.md").read_text(encoding="utf-8")
    assert triptych("pack", "two").status == 0
    packed = triptych("predict", "two.triptych", "--language", "dut", stdin=LINES)
    assert first_three(packed.out) == PREDICTED
    assert str(place).encode() not in Path("two.triptych").read_bytes()
    for vote in ([], ["--by", "vote"]):
        shutil.copytree("runs/two", f"runs/other{len(vote)}")
        name = f"both{len(vote)}"
        assert triptych("ensemble", "two", f"other{len(vote)}", "--name", name, *vote).status == 0
        together = triptych("predict", name, "--language", "dut", stdin=LINES)
        assert first_three(together.out) == PREDICTED


def test_requests_have_a_language(place: Path) -> None:
    catalogue = load_catalogue(["two"], [], limits=ServeLimits())
    info = catalogue.runs["two"]
    assert (info["features"], info["languages"]) == (False, ["ady", "dut"])
    assert set(info["example_languages"]) <= {"ady", "dut"}
    assert str(place) not in json.dumps(info)
    with running(build_app(catalogue)) as url:

        def ask(route: str, **body: object) -> requests.Response:
            return requests.post(f"{url}/v1/spell/two/{route}", json=body, timeout=30)

        answer = ask("predict", sources=["gabi", "muta"], language="dut").json()["predictions"]
        assert [one["candidates"][0]["text"] for one in answer] == ["gabium", "mutaum"]
        assert [(one["language"], one["features"]) for one in answer] == [("dut", [])] * 2
        mixed = ask("predict", sources=["gabi", "gabi"], features=["language=ady", "language=dut"]).json()
        assert [one["language"] for one in mixed["predictions"]] == ["ady", "dut"]
        assert (
            ask("explain", source="gabi", language="ady").json()["predictions"][0]["candidates"][0]["text"] == "gabis"
        )
        assert ask("score", pairs=[["gabi", "gabis"]], language="ady").json()["pairs"][0]["per_symbol"] > -0.5
        for body in ({"sources": ["gabi"]}, {"sources": ["gabi"], "language": "eng"}):
            refused = ask("predict", **body)
            assert refused.status_code == 422
            assert refused.json()["field"] == "language"
