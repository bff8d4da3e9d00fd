"""`triptych report`."""

from __future__ import annotations

from triptych.cli.options import RunName


def report(run: RunName) -> None:
    """Write a run's report again from its stored results, and print its path."""
    from triptych import api

    opened = api.Run.open(run)
    print(api.write_any_report(opened))
