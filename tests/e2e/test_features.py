"""From a file of inflected forms to predictions: every door that a model with features has."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import requests

from tests.cli import conftest as command_line
from tests.cli.conftest import Triptych, json_of, one_error
from tests.messages import check_message
from tests.serve.running import running
from triptych import api, runtime
from triptych.api.serving import load_catalogue
from triptych.config.serve import ServeLimits
from triptych.errors import RecipeError
from triptych.runs.run import Run
from triptych.serve.app import build_app

triptych = command_line.triptych
LINES = "gabi\tN;PL\nmut\tV;NOM(3,SG)\n"


@pytest.fixture
def place(inflection_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the test's own, with a copy of the run."""
    shutil.copytree(inflection_run.path, tmp_path / "runs" / "forms")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRIPTYCH_RUNS", raising=False)
    return tmp_path


def test_lines_are_predicted_with_their_features(triptych: Triptych, place: Path) -> None:
    result = triptych("predict", "forms", stdin=LINES.encode())
    assert (result.status, result.err) == (0, "")
    rows = [line.split("\t") for line in result.out.splitlines()]
    expected = api.load("forms").predict(["gabi", "mut"], features=["N;PL", "V;NOM(3,SG)"])
    assert [row[:2] for row in rows] == [["gabi", "N;PL"], ["mut", "V;NOM(3,SG)"]]
    assert [row[2:4] for row in rows] == [[p.text, f"{p.log_probability:.4f}"] for p in expected]
    assert rows[0][2] == "gabis"
    test_file = triptych("predict", "forms", str(api.recorded_data(Run.open("forms")) / "test.tsv"))  # type: ignore[operator]
    assert len(test_file.out.splitlines()) == 40, "a file with the columns of training is read like it"


def test_bad_lines_are_named_and_nothing_is_lost(triptych: Triptych, place: Path) -> None:
    bad = triptych("predict", "forms", stdin=b"gabi\tN;PL\ngabi\n")
    assert bad.status == 2
    assert bad.out.startswith("gabi\tN;PL\tgabis")
    assert bad.err == (
        "error: standard input:2: the line has 1 column; expected two, a source and its features. Fix the line, or "
        "pass --skip-bad.\n"
    )
    unseen = triptych("predict", "forms", stdin=b"gabi\tN;PL;DEF\n")
    assert unseen.out.startswith("gabi\tN;PL;DEF\tgabis\t")
    assert unseen.err == "warning: standard input:1: 'DEF' never seen in training; expect a poor prediction.\n"


def test_explain_takes_the_features(triptych: Triptych, place: Path) -> None:
    found = json_of(triptych, "explain", "forms", "gabi", "--features", "N;PL")
    assert found["features"] == ["N", "PL"]
    assert found["candidates"][0]["text"] == "gabis"
    assert one_error(triptych("explain", "forms", "gabi")).startswith("features is None")


def test_an_ensemble_an_export_and_a_dictionary(triptych: Triptych, place: Path) -> None:
    Path("own.tsv").write_text("gabi\tPL;N\tgabim\n", encoding="utf-8")
    answered = triptych("predict", "forms", "--dictionary", "own.tsv", stdin=LINES.encode())
    assert answered.out.startswith("gabi\tN;PL\tgabim\t")
    Path("two.tsv").write_text("gabi\tgabim\n", encoding="utf-8")
    assert "two.tsv:1: the row has 2 columns; expected at least 3" in one_error(
        triptych("predict", "forms", "--dictionary", "two.tsv", stdin=LINES.encode())
    )
    assert triptych("export", "forms", "--out", "exported").status == 0
    exported = runtime.load("exported")
    assert [p.text for p in exported.predict(["gabi", "mut"], features=["N;PL", "V;PST"])] == ["gabis", "muted"]
    shutil.copytree("runs/forms", "runs/other")
    assert triptych("ensemble", "forms", "other", "--name", "both").status == 0
    assert triptych("predict", "both", stdin=LINES.encode()).out.startswith("gabi\tN;PL\tgabis\t")
    tested = json_of(triptych, "test", "both")
    assert tested["n_items"] == 40


def test_requests_have_features(place: Path) -> None:
    catalogue = load_catalogue(["forms"], [], limits=ServeLimits())
    info = catalogue.runs["forms"]
    assert info["features"] is True
    assert len(info["examples"]) == len(info["example_features"]) == 10
    with running(build_app(catalogue)) as url:

        def ask(route: str, **body: object) -> requests.Response:
            return requests.post(f"{url}/v1/spell/forms/{route}", json=body, timeout=30)

        answer = ask("predict", sources=["gabi", "mut"], features=["N;PL", "V;PST;NEW"]).json()
        assert [one["candidates"][0]["text"] for one in answer["predictions"]] == ["gabis", "muted"]
        assert answer["predictions"][1]["features"] == ["NEW", "PST", "V"]
        assert answer["predictions"][1]["unknown_features"] == ["NEW"]
        assert ask("explain", source="gabi", features="N;PL").json()["predictions"][0]["features"] == ["N", "PL"]
        for body in ({"sources": ["gabi"]}, {"sources": ["gabi"], "features": ["N", "V"]}):
            refused = ask("predict", **body)
            assert refused.status_code == 422
            assert "features" in refused.json()["error"]


@pytest.mark.parametrize(("column", "other"), [("1", "source"), ("3", "target")])
def test_a_column_is_not_two_things(column: str, other: str) -> None:
    with pytest.raises(RecipeError) as caught:
        api.load_recipe("p2g-best", ["data.target_column=3", f"data.features_column={column}"])
    assert f"features_column and {other}_column" in str(caught.value)
    check_message(f"recipe.features-column-{other}", caught.value)
