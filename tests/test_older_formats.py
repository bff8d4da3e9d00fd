"""What commit c88b8a3 saved still loads, and gives the answers that it gave then.

Runs, exported models, memories and a search lie in `fixtures/c88b8a3`, with the answers in its `expected.json`; its
README says how all of it was made. Only what users call is called here: `triptych.load`, `triptych.runtime.load` and
the command line. Numbers may differ by what other processors round.
"""

from __future__ import annotations

import csv
import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli import conftest as command_line
from tests.cli.conftest import Triptych, json_of
from triptych import load, runtime

FIXTURES = Path(__file__).parent / "fixtures" / "c88b8a3"
EXPECTED: dict[str, Any] = json.loads((FIXTURES / "expected.json").read_text(encoding="utf-8"))
CLOSE = 1e-5
PRINTED = 1.1e-4  # a fourth digit after the point may be rounded the other way
AFTER_TRAINING = 1e-4  # every update carries on what was rounded before
EXPORTED = ("attention", "monotonic", "both", "pictures", "residual")
EVALUATED = {
    "attention": ("valid/greedy", "test/greedy", "test/beam5"),
    "pictures": ("valid/one", "test/one", "test/flips"),
    "residual": ("valid/flips", "test/flips"),
    "both": ("valid/greedy", "test/greedy"),
}

triptych = command_line.triptych


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of everything to work in, whose runs know that their data is there."""
    copied = tmp_path / "place"
    shutil.copytree(FIXTURES, copied)
    for facts in copied.glob("runs/*/run.json"):
        moved = facts.read_text(encoding="utf-8").replace(EXPECTED["made_in"], copied.as_posix())
        facts.write_text(moved, encoding="utf-8")
    monkeypatch.chdir(copied)
    monkeypatch.delenv("TRIPTYCH_RUNS", raising=False)
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path / "cache"))
    return copied


def of_commands(kind: str, *, trains: bool = False) -> list[Any]:
    """A parameter for each recorded command that trains, or does not."""
    chosen = [case for case in EXPECTED[kind] if case["command"].startswith(("train", "tune")) == trains]
    return [pytest.param(case, id=case["command"].replace("/", ".")) for case in chosen]


def assert_alike(found: Any, expected: Any, *, within: float = CLOSE, at: str = "answer") -> None:
    """Every recorded value is there: texts and whole numbers the same, other numbers close. More may be there too."""
    if isinstance(expected, dict):
        assert expected.keys() <= found.keys(), at
        for key, value in expected.items():
            assert_alike(found[key], value, within=within, at=f"{at}.{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), at
        for place, value in enumerate(expected):
            assert_alike(found[place], value, within=within, at=f"{at}[{place}]")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, abs=within), at
    else:
        assert found == expected, at


def candidates(predictions: Any) -> list[list[list[Any]]]:
    """Text and log-probability of every candidate of every prediction."""
    return [[[c.text, c.log_probability] for c in prediction.candidates] for prediction in predictions]


def assert_spells(speller: Any, expected: dict[str, Any]) -> None:
    """Its own way of decoding and a beam give what was recorded."""
    words = expected["words"]
    assert_alike(candidates(speller.predict(words)), expected["usual"])
    assert_alike(candidates(speller.predict(words, n_best=3)), expected["three"])


def assert_names(classifier: Any, expected: dict[str, Any]) -> None:
    """Every class of every picture has the recorded probability."""
    paths = [FIXTURES / "inputs" / expected["folder"] / name for name in expected["pictures"]]
    found = classifier.predict(paths, top_k=3)
    pairs = [[list(pair) for pair in zip(item.classes, item.probabilities, strict=True)] for item in found]
    assert_alike(pairs, list(expected["pictures"].values()))


def history(run: Path) -> list[dict[str, float]]:
    """The epochs of a run."""
    with (run / "metrics.csv").open(encoding="utf-8", newline="") as stream:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(stream)]


def printed(cell: str) -> str | float:
    """A cell of a table, as a number where it is one."""
    try:
        return float(cell)
    except ValueError:
        return cell


@pytest.mark.parametrize("name", EXPECTED["spellers"])
def test_a_speller_predicts_what_it_predicted(name: str) -> None:
    assert_spells(load(FIXTURES / "runs" / name), EXPECTED["spellers"][name])


@pytest.mark.parametrize("name", EXPECTED["classifiers"])
def test_a_classifier_gives_the_probabilities_it_gave(name: str) -> None:
    assert_names(load(FIXTURES / "runs" / name), EXPECTED["classifiers"][name])


@pytest.mark.parametrize("name", EXPECTED["exported_spellers"])
def test_an_exported_speller_predicts_what_it_predicted(name: str) -> None:
    expected = EXPECTED["exported_spellers"][name]
    speller = runtime.load(FIXTURES / "exported" / name)
    assert_spells(speller, expected)
    drawn = runtime.Decoding(method="sample", samples=3, top_p=0.9, seed=3)
    assert_alike(candidates(speller.predict(expected["words"], decoding=drawn)), expected["sampled"])


@pytest.mark.parametrize("name", EXPECTED["exported_classifiers"])
def test_an_exported_classifier_gives_the_probabilities_it_gave(name: str) -> None:
    assert_names(runtime.load(FIXTURES / "exported" / name), EXPECTED["exported_classifiers"][name])


@pytest.mark.parametrize("name", EXPECTED["exported_memories"])
def test_an_exported_memory_recalls_what_it_recalled(name: str) -> None:
    expected = EXPECTED["exported_memories"][name]
    memory = runtime.load(FIXTURES / "exported" / name)
    cues = np.load(FIXTURES / "inputs" / "cues.npy")
    found = memory.retrieve(cues)
    assert_alike(memory.update(memory.scaled(cues), steps=2).tolist(), expected["update"])
    assert_alike(found.state.tolist(), expected["state"])
    assert_alike(found.steps.tolist(), expected["steps"])


@pytest.mark.parametrize("expected", of_commands("answered"))
def test_a_command_answers_what_it_answered(triptych: Triptych, place: Path, expected: dict[str, Any]) -> None:
    arguments = shlex.split(expected["command"])
    if "recalled" in expected:
        arguments += ["--out", "recalled.npy"]
    assert_alike(json_of(triptych, *arguments), expected["answer"])
    if "recalled" in expected:
        assert_alike(np.load("recalled.npy").tolist(), expected["recalled"])


@pytest.mark.parametrize("expected", of_commands("printed"))
def test_a_command_prints_the_rows_it_printed(triptych: Triptych, place: Path, expected: dict[str, Any]) -> None:
    result = triptych(*shlex.split(expected["command"]))
    assert result.status == 0, result.err
    found = [[printed(cell) for cell in line.split("\t")] for line in result.out.splitlines()]
    assert_alike(found, [[printed(cell) for cell in row] for row in expected["rows"]], within=PRINTED)


@pytest.mark.parametrize("expected", of_commands("answered", trains=True))
def test_a_training_resumes_as_it_would_have(triptych: Triptych, place: Path, expected: dict[str, Any]) -> None:
    found = json_of(triptych, *shlex.split(expected["command"]))
    assert_alike(found, expected["answer"], within=AFTER_TRAINING)
    if "history" in expected:
        assert_alike(history(Path(found["run"])), expected["history"], within=AFTER_TRAINING)


@pytest.mark.parametrize("name", EVALUATED)
def test_a_report_is_written_again_with_every_evaluation(triptych: Triptych, place: Path, name: str) -> None:
    result = triptych("report", name)
    assert result.status == 0, result.err
    page = (place / "runs" / name / "report.html").read_text(encoding="utf-8")
    assert [evaluation for evaluation in EVALUATED[name] if f"Evaluation {evaluation}" not in page] == []


def test_the_report_of_an_experiment_is_written_again(triptych: Triptych, place: Path) -> None:
    figures = place / "runs" / "capacity" / "figures"
    figures.mkdir()
    shutil.copy(place / "inputs" / "grey" / "0.png", figures / "capacity.png")  # its own was left out, for its size
    result = triptych("report", "capacity")
    assert result.status == 0, result.err
    assert "exponential holds" in (place / "runs" / "capacity" / "report.html").read_text(encoding="utf-8")


def test_a_run_knows_what_it_was_trained_on(triptych: Triptych, place: Path) -> None:
    result = triptych("test", "attention", "--data", "inputs/other.tsv")
    assert result.status == 0, result.err
    assert "4 of 12 items" in result.err


@pytest.mark.parametrize("name", EXPORTED)
def test_a_run_is_exported_as_it_was(triptych: Triptych, place: Path, name: str) -> None:
    result = triptych("export", name, "--out", "anew")
    assert result.status == 0, result.err
    exported = runtime.load("anew")
    if name in EXPECTED["exported_spellers"]:
        assert_spells(exported, EXPECTED["exported_spellers"][name])
    else:
        assert_names(exported, EXPECTED["exported_classifiers"][name])


@pytest.mark.parametrize("member", ["attention", "pictures"])
def test_an_ensemble_of_runs_predicts_what_it_predicted(triptych: Triptych, place: Path, member: str) -> None:
    result = triptych("ensemble", member, f"{member}-1", "--name", "anew")
    assert result.status == 0, result.err
    ensemble = load("anew")
    if member == "attention":
        assert_spells(ensemble, EXPECTED["spellers"]["both"])
    else:
        assert_names(ensemble, EXPECTED["classifiers"]["pictures-both"])
