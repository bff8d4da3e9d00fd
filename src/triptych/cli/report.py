"""`triptych report`."""

from __future__ import annotations

import typer

from triptych.cli.options import RunName


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report")(report)


def report(run: RunName) -> None:
    """Write a run's report again from what the run holds, and print where it is."""
    from triptych import api

    opened = api.Run.open(run)
    print(api.write_any_report(opened))
