"""`triptych compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from triptych.cli.options import AsJson


def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN RUN...", help="Names or paths of two or more runs.")],
    evaluation: Annotated[
        str | None,
        typer.Option("--on", help="Evaluation to compare, such as test/greedy. Default: the last that all runs have."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the figure of the curves.")] = Path("comparison"),
    json: AsJson = False,
) -> None:
    """Compare runs: curves in one figure, metrics in a table, and whether differences are significant.

    Differences are the other run's errors minus the first run's, with a paired bootstrap over the items both
    predicted: an interval without 0 is a significant difference.
    """
    from triptych import api
    from triptych.api import Run
    from triptych.cli.output import interval, print_json, print_table, say, warn

    comparison = api.compare([Run.open(run) for run in runs], evaluation=evaluation, out=out)
    warn(comparison.warnings)
    if json:
        print_json(comparison.to_dict())
        return
    print_table(
        ["run", *comparison.rows[0].measures, "items"],
        [[row.name, *map(interval, row.measures.values()), str(row.n_items)] for row in comparison.rows],
        title=comparison.evaluation,
    )
    rows = []
    for name, measures in comparison.differences.items():
        for measure, result in measures.items():
            low, high = result.interval.low, result.interval.high
            value = f"{result.difference:+.4f} [{low:+.4f}, {high:+.4f}]"
            rows.append([name, measure, value, f"{result.p_value:.3f}", f"{result.wins}/{result.ties}/{result.losses}"])
    print_table(
        ["other run", "measure", f"minus {comparison.rows[0].name} [95 % interval]", "p", "better/same/worse items"],
        rows,
    )
    say(f"curves  {comparison.picture}")
