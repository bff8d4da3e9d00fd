"""Experiments on memories, and the recall demo."""

from __future__ import annotations

from triptych.experiments.recall_demo import NOISE, SUCCESS, RecallDemo, run_recall_demo
from triptych.experiments.run import FinishedExperiment, run_experiment, write_experiment_report

__all__ = [
    "NOISE",
    "SUCCESS",
    "FinishedExperiment",
    "RecallDemo",
    "run_experiment",
    "run_recall_demo",
    "write_experiment_report",
]
