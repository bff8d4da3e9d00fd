"""Experiments on memories, the recall demo, and reports of runs of any panel."""

from __future__ import annotations

from pathlib import Path

from triptych.api.evaluation import write_report
from triptych.experiments.recall_demo import NOISE, SUCCESS, RecallDemo, run_recall_demo
from triptych.experiments.run import PANEL, FinishedExperiment, run_experiment, write_experiment_report
from triptych.runs.run import Run


def write_any_report(run: Run) -> Path:
    """Write the report of a training or of an experiment from what its run holds."""
    return write_experiment_report(run) if run.facts().get("panel") == PANEL else write_report(run)


__all__ = [
    "NOISE",
    "SUCCESS",
    "FinishedExperiment",
    "RecallDemo",
    "run_experiment",
    "run_recall_demo",
    "write_any_report",
    "write_experiment_report",
]
