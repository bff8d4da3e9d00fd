"""What the command line and the server call, and what Python users call: train, load, evaluate, explain.

Names are found on first use, so that who only predicts does not wait for the trainer, the pictures or the search.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from triptych.api.calibrating import Calibrated, calibrate
    from triptych.api.evaluation import (
        EvaluationData,
        compare,
        evaluate,
        read_for_evaluation,
        recorded_data,
        write_report,
    )
    from triptych.api.explaining import explain, explain_all, explain_image
    from triptych.api.exporting import export, export_store
    from triptych.api.models import Chosen, choose, load, make_ensemble, predict
    from triptych.api.searching import Tuned, tune
    from triptych.api.testing import Tested, run_test
    from triptych.api.training import NAME_FOR_HELPERS, LearningRates, Trained, find_learning_rate, start_run, train

__all__ = [
    "NAME_FOR_HELPERS",
    "Calibrated",
    "Chosen",
    "EvaluationData",
    "LearningRates",
    "Tested",
    "Trained",
    "Tuned",
    "calibrate",
    "choose",
    "compare",
    "evaluate",
    "explain",
    "explain_all",
    "explain_image",
    "export",
    "export_store",
    "find_learning_rate",
    "load",
    "make_ensemble",
    "predict",
    "read_for_evaluation",
    "recorded_data",
    "run_test",
    "start_run",
    "train",
    "tune",
    "write_report",
]

_HOMES = {
    "calibrating": ("Calibrated", "calibrate"),
    "evaluation": ("EvaluationData", "compare", "evaluate", "read_for_evaluation", "recorded_data", "write_report"),
    "explaining": ("explain", "explain_all", "explain_image"),
    "exporting": ("export", "export_store"),
    "models": ("Chosen", "choose", "load", "make_ensemble", "predict"),
    "searching": ("Tuned", "tune"),
    "testing": ("Tested", "run_test"),
    "training": ("NAME_FOR_HELPERS", "LearningRates", "Trained", "find_learning_rate", "start_run", "train"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"triptych.api.{home}"), name)
    raise AttributeError(f"module 'triptych.api' has no attribute {name!r}")
