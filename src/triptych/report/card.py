"""The model card of a run: intended use, evaluation, training data, limitations, how to load it.

Source: Mitchell et al. 2019, Model Cards for Model Reporting, arXiv:1810.03993, for the headings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from triptych.report.tables import Cell, Table
from triptych.statistics import Estimate


@dataclass(frozen=True)
class Use:
    """A panel's sections of the model card, complete sentences.

    `python` are lines that use `model` after it is loaded, `command` is what to type, `RUN` standing for the run.
    """

    purpose: str
    limits: Sequence[str]
    python: str
    command: str


@dataclass(frozen=True)
class Evaluated:
    """One evaluation: its name, the number of items, measures with intervals by their displayed names, warnings."""

    name: str
    items: int
    measures: Mapping[str, Estimate]
    warnings: Sequence[str] = ()


def card_text(*, name: str, facts: Mapping[str, Any], use: Use, evaluated: Sequence[Evaluated], file: str = "") -> str:
    """The model card of a run as Markdown.

    Args:
        name: of the run.
        facts: the content of its `run.json`.
        use: the panel's sections.
        evaluated: its evaluations.
        file: name of the file that the run is packed into; empty for a run folder.
    """
    parts = [
        f"# {name}\n\n{facts.get('title', '')}. {facts.get('parameters', 0):,} parameters, panel "
        f"{facts.get('panel', '')}.\n\n{use.purpose}\n",
        f"## Evaluation\n\n{_figures(evaluated)}",
        f"## Training data\n\n{_data(facts)}",
        "## Limitations\n\n" + "".join(f"- {limit}\n" for limit in use.limits),
        f"## How to use\n\n{_loading(file or name, 'this file' if file else 'this folder', use)}",
        f"## Training\n\n{_making(facts, packed=bool(file))}",
    ]
    return "\n".join(parts)


def _figures(evaluated: Sequence[Evaluated]) -> str:
    if not evaluated:
        return "Not evaluated yet. Evaluate with: `triptych test RUN`\n"
    measures = list(dict.fromkeys(measure for one in evaluated for measure in one.measures))
    rows: list[list[Cell]] = [[one.name, one.items, *(one.measures.get(key) for key in measures)] for one in evaluated]
    caption = (
        "Intervals are 95 % intervals over items. They do not cover the choice of the seed, nor other data. "
        "Scores on valid were used to choose the epoch and are optimistic; scores on test were not."
    )
    table = Table("Evaluations", ["split/how", "items", *measures], rows, caption=caption, digits=4).to_markdown()
    warnings = "".join(f"- {one.name}: {warning}\n" for one in evaluated for warning in one.warnings)
    return f"{table}\n{warnings}" if warnings else table


def _data(facts: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{count:,} {split}" for split, count in facts.get("counts", {}).items())
    rows: list[list[Cell]] = [[place_of(entry), str(entry.get("sha256", ""))] for entry in facts["data"]]
    table = Table("Data", ["file or set", "SHA-256"], rows).to_markdown()
    return f"Items: {counts}. The data has its own licence, which may apply to the model.\n\n{table}"


def place_of(entry: Mapping[str, Any]) -> str:
    """File or set of a fingerprint, after its language where data has several."""
    language = f"{entry['language']}: " if "language" in entry else ""
    return f"{language}{entry.get('path', '')}"


def _loading(name: str, place: str, use: Use) -> str:
    return (
        f"```python\nimport triptych\n\nmodel = triptych.load({name!r})  # or the path of {place}\n{use.python}\n"
        "```\n\n"
        f"or `{use.command.replace('RUN', name)}`. Loading unpickles nothing.\n"
    )


def _making(facts: Mapping[str, Any], *, packed: bool) -> str:
    versions = ", ".join(f"{what} {value}" for what, value in facts.get("versions", {}).items())
    others = "" if packed else ", `metrics.csv` every epoch, `report.html` the full report"
    return (
        f"`recipe.toml` holds every setting{others}. Seed {facts.get('seed', '?')}, best epoch "
        f"{facts.get('best_epoch', '?')} of {facts.get('epochs', '?')}, {facts.get('seconds', '?')} seconds of "
        f"training. Versions: {versions}.\n"
    )
