"""Experiments on memories: run a recipe, draw it, keep its numbers, and report the findings."""

from __future__ import annotations

import csv
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from triptych.config.recall import CapacityRecipe, LandscapeRecipe, MetastableRecipe, NoiseRecipe, RecallRecipe
from triptych.errors import RunError
from triptych.experiments.results import DrawnFigure, Outcome, capacity, landscape, metastable, noise
from triptych.files import write_tsv
from triptych.report import html
from triptych.report.canvas import save
from triptych.report.run_report import facts_section, recipe_section
from triptych.report.tables import Cell, Table
from triptych.runs.run import Run, now

PANEL = "recall"  # whose runs are experiments
_PIXELS_PER_INCH = 96  # of a page


@dataclass(frozen=True)
class FinishedExperiment:
    """An experiment that was run.

    Attributes:
        run: where everything is.
        findings: main numbers by name; the same in `run.json`.
        figures: as PNG; each is there as SVG too.
        results: tables, as TSV.
        report: the page.
        seconds: time of the computation, without drawing.
    """

    run: Run
    findings: Mapping[str, Any]
    figures: Sequence[Path]
    results: Sequence[Path]
    report: Path
    seconds: float


def run_experiment(
    recipe: RecallRecipe, *, recipe_name: str, name: str | None = None, force: bool = False
) -> FinishedExperiment:
    """Run an experiment into a run directory of its own.

    Args:
        recipe: the experiment.
        recipe_name: its name or path, which names the run where `name` is None.
        name: of the run.
        force: replace a run of that name, which is a RunError otherwise.
    """
    run = Run.create(name or Path(recipe_name).stem, force=force)
    run.write_recipe(recipe)
    run.update_facts(
        status="running",
        panel=recipe.panel,
        experiment=recipe.experiment,
        title=recipe.title,
        began=now(),
        versions={"triptych": version("triptych"), "python": platform.python_version(), "torch": torch.__version__},
    )
    run.forget_replaced()
    began = time.perf_counter()
    outcome = measure(recipe)
    seconds = round(time.perf_counter() - began, 2)
    results = [_write_table(run, table) for table in outcome.tables]
    figures = [save(drawn.figure, run.figures, key).png for key, drawn in outcome.figures.items()]
    run.update_facts(
        status="finished",
        ended=now(),
        seconds=seconds,
        findings=dict(outcome.findings),
        text=outcome.text,
        figures=[_described(key, drawn) for key, drawn in outcome.figures.items()],
    )
    return FinishedExperiment(run, outcome.findings, figures, results, write_experiment_report(run), seconds)


def measure(recipe: RecallRecipe) -> Outcome:
    """The findings, tables and figures of a recipe; nothing is written."""
    match recipe:
        case CapacityRecipe():
            return capacity(recipe)
        case NoiseRecipe():
            return noise(recipe)
        case MetastableRecipe():
            return metastable(recipe)
        case LandscapeRecipe():
            return landscape(recipe)


def write_experiment_report(run: Run) -> Path:
    """Write `report.html` from the numbers and figures of a run; RunError where the experiment did not finish."""
    facts = run.facts()
    if facts.get("status") != "finished":
        raise RunError(
            "The experiment has not finished.",
            field="status",
            value=facts.get("status"),
            expected="finished",
            hint=f"Run it again with: triptych experiment {run.path / 'recipe.toml'} --name {run.name} --force",
            path=run.path,
        )
    figures = [
        html.Picture.from_png(
            (run.figures / f"{entry['name']}.png").read_bytes(),
            alt=entry["alt"],
            caption=entry["caption"],
            width=entry["width"],
        )
        for entry in facts["figures"]
    ]
    findings = Table("Main numbers", ["finding", "value"], [list(item) for item in facts["findings"].items()])
    tables = [_read_table(path) for path in sorted((run.path / "results").glob("*.tsv"))]
    sections = [
        html.Section("Findings", text=facts["text"], tables=[findings], figures=figures),
        html.Section("Numbers", tables=tables),
        facts_section(facts),
        recipe_section((run.path / "recipe.toml").read_text(encoding="utf-8")),
    ]
    path = run.path / "report.html"
    html.write_report(path, html.Report(run.name, f"{facts['title']}.", sections))
    return path


def _described(name: str, drawn: DrawnFigure) -> dict[str, Any]:
    """What the report needs of a figure besides its file."""
    width = round(drawn.figure.get_figwidth() * _PIXELS_PER_INCH)
    return {"name": name, "alt": drawn.alt, "caption": drawn.caption, "width": width}


def _write_table(run: Run, table: Table) -> Path:
    """All rows, tab-separated, numbers in full."""
    path = run.path / "results" / f"{table.title}.tsv"
    write_tsv(path, table.columns, [[str(cell) for cell in row] for row in table.rows])
    return path


def _read_table(path: Path) -> Table:
    with path.open(encoding="utf-8", newline="") as stream:
        columns, *rows = list(csv.reader(stream, delimiter="\t"))
    return Table(path.name, columns, [[_cell(text) for text in row] for row in rows], digits=4)


def _cell(text: str) -> Cell:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
