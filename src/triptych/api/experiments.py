"""Experiments on memories, the recall demo, and reports of runs of any panel."""

from __future__ import annotations

from pathlib import Path

from triptych.api.evaluation import write_report
from triptych.experiments.recall_demo import (
    NOISE as NOISE,
    SUCCESS as SUCCESS,
    RecallDemo as RecallDemo,
    run_recall_demo as run_recall_demo,
)
from triptych.experiments.run import (
    PANEL,
    FinishedExperiment as FinishedExperiment,
    run_experiment as run_experiment,
    write_experiment_report as write_experiment_report,
)
from triptych.runs.run import Run


def write_any_report(run: Run) -> Path:
    """Write the report of a training or of an experiment from what its run holds."""
    return write_experiment_report(run) if run.facts().get("panel") == PANEL else write_report(run)
