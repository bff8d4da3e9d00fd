"""Experiments of recall, and its demo; see `triptych.experiments`."""

from triptych.experiments.recall_demo import NOISE, SUCCESS, run_recall_demo
from triptych.experiments.run import run_experiment, write_experiment_report

__all__ = ["NOISE", "SUCCESS", "run_experiment", "run_recall_demo", "write_experiment_report"]
