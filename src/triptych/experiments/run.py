"""Experiments on memories: run a recipe, draw it, keep its numbers, and say what came out."""

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
from triptych.experiments.results import Drawn, Outcome, capacity, landscape, metastable, noise
from triptych.files import write_tsv
from triptych.report import html
from triptych.report.canvas import save
from triptych.report.run_report import facts_section, recipe_section
from triptych.report.tables import Cell, Table
from triptych.runs.run import Run, now

_PIXELS_PER_INCH = 96  # of a page


@dataclass(frozen=True)
class Experimented:
    """An experiment that was run.

    Attributes:
        run: where everything is.
        findings: what came out, by name; the same in `run.json`.
        figures: pictures, as PNG; each lies there as SVG too.
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
) -> Experimented:
    """Run an experiment into a run directory of its own.

    Args:
        recipe: what to do.
        recipe_name: its name or path, after which the run is named.
        name: of the run, in place of that.
        force: replace a run of that name.
    Raises:
        RunError: a run of that name exists, and it is not to be replaced.
    """
    run = Run.create(name or Path(recipe_name).stem, force=force)
    run.write_recipe(recipe)
    run.update_facts(
        status="running",
        panel=recipe.panel,
        experiment=recipe.experiment,
        title=recipe.title,
        began=now(),
        versions={
            "triptych": version("triptych"),
            "python": platform.python_version(),
            "torch": str(torch.__version__),
        },
    )
    run.forget_replaced()
    began = time.perf_counter()
    outcome = measure(recipe)
    seconds = round(time.perf_counter() - began, 2)
    results = [_write_table(run, table) for table in outcome.tables]
    figures = []
    for name_of, picture in outcome.pictures.items():
        figures.append(save(picture.figure, run.figures, name_of).png)
    run.update_facts(
        status="finished",
        ended=now(),
        seconds=seconds,
        findings=dict(outcome.findings),
        text=outcome.text,
        figures=[_told(key, picture) for key, picture in outcome.pictures.items()],
    )
    return Experimented(run, outcome.findings, figures, results, write_experiment_report(run), seconds)


def measure(recipe: RecallRecipe) -> Outcome:
    """What a recipe gives: findings, tables and figures, with nothing written."""
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
    """Write `report.html` from the numbers and pictures that the run holds.

    Raises:
        RunError: the experiment did not finish.
    """
    facts = run.facts()
    if facts.get("status") != "finished":
        raise RunError(
            f"{run.path} is {facts.get('status', 'not begun')}; expected a finished experiment. "
            f"Run it again with: triptych experiment {run.path / 'recipe.toml'} --name {run.name} --force"
        )
    pictures = [
        html.Picture.from_png(
            (run.figures / f"{entry['name']}.png").read_bytes(),
            alt=entry["alt"],
            caption=entry["caption"],
            width=entry["width"],
        )
        for entry in facts["figures"]
    ]
    findings = Table("Findings", ["what", "value"], [[key, _shown(value)] for key, value in facts["findings"].items()])
    tables = [_read_table(path) for path in sorted((run.path / "results").glob("*.tsv"))]
    sections = [
        html.Section("What came out", text=facts["text"], tables=[findings], figures=pictures),
        html.Section("Numbers", tables=tables),
        facts_section(facts),
        recipe_section((run.path / "recipe.toml").read_text(encoding="utf-8")),
    ]
    path = run.path / "report.html"
    html.write_report(path, html.Report(run.name, f"{facts['title']}.", sections))
    return path


def _told(name: str, picture: Drawn) -> dict[str, Any]:
    """What the report needs to know of a picture besides its file."""
    width = round(picture.figure.get_figwidth() * _PIXELS_PER_INCH)
    return {"name": name, "alt": picture.alt, "caption": picture.caption, "width": width}


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


def _shown(value: Any) -> Cell:
    """A finding as a cell; what was not reached is a dash."""
    return value if isinstance(value, int | float | str) or value is None else str(value)
