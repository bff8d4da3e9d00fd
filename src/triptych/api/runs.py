"""Runs by name or path; see `triptych.runs`."""

from triptych.runs.run import Run, list_runs, runs_folder

__all__ = ["Run", "list_runs", "runs_folder"]
