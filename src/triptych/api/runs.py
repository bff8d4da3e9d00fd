"""Runs by name or path; see `triptych.runs`."""

from triptych.runs.run import Run as Run, list_runs as list_runs, runs_folder as runs_folder
