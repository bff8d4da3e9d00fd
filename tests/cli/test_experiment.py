"""`triptych experiment`: runs, their reports, and what other commands say of them; and the demo of recall."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from tests.cli.conftest import Result, Triptych, one_error
from tests.messages import check_message
from triptych.cli.recall_demo import show
from triptych.errors import TriptychError
from triptych.experiments import recall_demo
from triptych.memory import Memory
from triptych.report.canvas import SavedFigure

EXPERIMENTS = ("capacity", "noise", "metastable", "landscape")


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRIPTYCH_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


@pytest.mark.parametrize("kind", EXPERIMENTS)
def test_an_experiment_writes_numbers_figures_and_a_report(kind: str, triptych: Triptych, runs: Path) -> None:
    done = triptych("experiment", f"recall-{kind}-tiny", "--json")
    assert done.status == 0, done.err
    document = json.loads(done.out)
    run = runs / f"recall-{kind}-tiny"
    assert Path(document["run"]) == run
    facts = json.loads((run / "run.json").read_text())
    assert (facts["status"], facts["panel"], facts["experiment"]) == ("finished", "recall", kind)
    assert facts["findings"] == document["findings"]
    assert (run / "figures" / f"{kind}.png").read_bytes().startswith(b"\x89PNG")
    assert (run / "figures" / f"{kind}.svg").exists()
    lines = (run / "results" / f"{kind}.tsv").read_text().splitlines()
    assert len(lines) > 3
    assert {line.count("\t") for line in lines} == {lines[0].count("\t")}
    page = (run / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 1
    assert facts["text"].split(":")[0] in page
    assert [path for path in run.rglob(".*") if path.suffix != ".lock"] == []
    listed = triptych("runs").out
    assert all(name in listed for name in facts["findings"])
    assert json.loads(triptych("runs", "--json").out)["runs"][0]["findings"] == facts["findings"]


def test_a_report_is_written_again_from_the_run(triptych: Triptych, runs: Path) -> None:
    triptych("experiment", "recall-landscape-tiny", "--name", "plane")
    page = runs / "plane" / "report.html"
    before = page.read_text()
    page.unlink()
    assert triptych("report", "plane").out.strip() == str(page)
    assert page.read_text() == before
    facts = json.loads((runs / "plane" / "run.json").read_text())
    (runs / "plane" / "run.json").write_text(json.dumps({**facts, "status": "running"}))
    message = one_error(triptych("report", "plane"))
    check_message("cli.report.unfinished", TriptychError(message), runs)


def test_the_recipe_in_the_run_gives_the_same_numbers(triptych: Triptych, runs: Path) -> None:
    triptych("experiment", "recall-capacity-tiny", "--set", "patterns.width=24", "--name", "first")
    triptych("experiment", str(runs / "first" / "recipe.toml"), "--name", "second")
    first, second = ((runs / name / "results" / "capacity.tsv").read_bytes() for name in ("first", "second"))
    assert first == second


def test_a_run_is_replaced_only_when_asked(triptych: Triptych, runs: Path) -> None:
    assert triptych("experiment", "recall-landscape-tiny").status == 0
    assert "there is a run of this name already" in one_error(
        last_line(triptych, "experiment", "recall-landscape-tiny")
    )
    assert triptych("experiment", "recall-landscape-tiny", "--force").status == 0
    assert [path.name for path in runs.iterdir()] == ["recall-landscape-tiny"]


def last_line(triptych: Triptych, *arguments: str) -> Result:
    """The result without what was said before the error."""
    result = triptych(*arguments)
    return replace(result, err=result.err.splitlines()[-1] + "\n")


def test_the_table_of_findings_says_where_everything_is(triptych: Triptych, runs: Path) -> None:
    done = triptych("experiment", "recall-capacity-tiny", "--name", "mine")
    assert done.status == 0
    for said in ("classic holds", "exponential holds", str(runs / "mine" / "figures" / "capacity.png")):
        assert said in done.out


def test_other_commands_know_experiments(triptych: Triptych) -> None:
    assert one_error(triptych("train", "recall-capacity")) == (
        "recall-capacity: panel is 'recall'; expected one that trains, and this is an experiment. "
        "Run it with: triptych experiment recall-capacity"
    )
    message = one_error(triptych("experiment", "p2g-plain"))
    assert message.startswith("p2g-plain: panel is 'spell'; expected 'recall', whose recipes are experiments.")
    listed = triptych("recipes").out
    assert all(f"recall-{kind} " in listed for kind in EXPERIMENTS)
    assert "known = 0.5" in triptych("recipes", "recall-capacity").out
    assert "max_steps = 50" in triptych("recipes", "recall-capacity", "--resolved").out
    assert triptych("experiment", "recall-landscape-tiny").status == 0
    document = json.loads(triptych("runs", "--json").out)["runs"]
    assert [(run["name"], run["panel"], run["status"]) for run in document] == [
        ("recall-landscape-tiny", "recall", "finished")
    ]
    assert triptych("runs").status == 0


def test_the_demo_recalls_and_its_energy_falls(capsys: pytest.CaptureFixture[str], runs: Path) -> None:
    show(name=None, as_json=True)
    document = json.loads(capsys.readouterr().out)
    half, noisy = document["results"]
    assert half["kind"] == "lower half hidden"
    assert half["recalled"] > 0.7
    assert half["same_class"] > 0.9
    assert noisy["recalled"] > 0.95
    assert all(result["largest_rise"] <= result["rounding"] for result in document["results"])
    assert Path(document["picture"]) == runs / "demo-recall" / "recall-demo.png"
    patterns, cues = np.lib.format.open_memmap(document["patterns"]), np.lib.format.open_memmap(document["cues"])
    assert patterns.shape == cues.shape == (200, 64)
    assert 0 <= patterns.min() < 0.01 < 0.99 < patterns.max() <= 1, "images that a page can show"
    memory = Memory(patterns, normalisation="centred-unit", beta=2.0 * 64)
    assert (memory.retrieve(cues).confidence.nearest == torch.arange(200)).float().mean() > 0.95, "as in the demo"
    assert len(Path(document["labels"]).read_text().split()) == 200


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo without its picture, which takes most of its time."""

    def save(figure: Figure, folder: Path, name: str) -> SavedFigure:
        return SavedFigure(folder / f"{name}.png", folder / f"{name}.svg")

    monkeypatch.setattr(recall_demo, "save", save)


def test_the_demo_says_what_to_try_next(capsys: pytest.CaptureFixture[str], runs: Path, undrawn: None) -> None:
    show(name="again", as_json=False)
    out = capsys.readouterr().out
    assert "The energy never rose." in out
    assert f"triptych memory build {runs / 'again' / 'patterns.npy'}" in out


def test_a_warmer_memory_recalls_less_and_its_numbers_follow(tmp_path: Path, undrawn: None) -> None:
    warm = recall_demo.run_recall_demo(tmp_path / "warm", stored=60, beta=0.05)
    cold = recall_demo.run_recall_demo(tmp_path / "cold", stored=60, beta=2.0)
    assert warm.results[1].recalled < 0.5 < cold.results[1].recalled
    assert cold.results[1].mean_steps < warm.results[1].mean_steps
    rising = replace(cold.results[0], largest_rise=1.0)
    assert cold.results[0].energy_never_rose
    assert not rising.energy_never_rose
