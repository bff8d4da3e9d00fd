"""A model card says what the run holds."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import ToyRuns
from triptych import api
from triptych.report.card import Evaluated, Use, card_text
from triptych.runs.run import Run
from triptych.statistics import Estimate, Interval


def test_the_card_of_a_run_has_its_figures_data_and_a_loading_block_that_works(
    workspace: Path, toy_runs: ToyRuns
) -> None:
    run = Run.open(workspace / "runs" / "first")
    api.write_report(run)
    text = (run.path / "card.md").read_text(encoding="utf-8")
    cer = run.facts()["evaluations"]["test/greedy"]["cer"]
    assert f"{cer['value']:.4f} \\[{cer['low']:.4f}, {cer['high']:.4f}\\]" in text or (
        f"{cer['value']:.4f} [{cer['low']:.4f}, {cer['high']:.4f}]" in text
    )
    assert all(entry["sha256"] in text for entry in run.facts()["data"])
    assert "400 train, 60 valid, 60 test" in text
    code = text.split("```python\n")[1].split("```")[0].replace("SOURCE", "'SH UW'")
    space: dict[str, object] = {}
    exec(code, space)
    assert "model" in space


def test_a_run_that_was_never_evaluated_says_so() -> None:
    use = Use("It does something.", ["It has an end."], "model", "triptych predict RUN")
    facts = {"title": "A title", "panel": "spell", "parameters": 12345, "data": [], "counts": {}}
    text = card_text(name="mine", facts=facts, use=use, evaluated=[])
    assert "A title. 12,345 parameters, panel spell." in text
    assert "Not evaluated yet." in text
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## Evaluation", "## Training data", "## Limitations", "## How to use", "## Training"
    ]  # fmt: skip
    assert "- It has an end.\n" in text
    assert "`triptych predict mine`" in text
    assert "triptych.load('mine')  # or the path of this folder" in text


def test_evaluations_with_other_measures_share_a_table() -> None:
    half = Estimate(0.5, Interval(0.4, 0.6, 0.95))
    use = Use("It does something.", [], "model", "triptych predict RUN")
    evaluated = [Evaluated("test/a", 7, {"x": half}), Evaluated("test/b", 8, {"x": half, "y": half})]
    facts = {"data": [{"path": "set", "sha256": "ab"}], "counts": {}}
    text = card_text(name="mine", facts=facts, use=use, evaluated=evaluated)
    rows = [line for line in text.splitlines() if line.startswith("| test/")]
    assert [row.split(" | ")[3].strip(" |") for row in rows] == ["–", "0.5000 [0.4000, 0.6000]"]
