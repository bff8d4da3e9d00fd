"""What the command line and the server call, and what Python users call: train, load, evaluate, explain.

Names are found on first use, so that who only predicts does not wait for the trainer, the pictures or the search.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from triptych.api.calibrating import Calibrated, calibrate
    from triptych.api.evaluation import ToJudge, compare, evaluate, read_to_judge, recorded_data, write_report
    from triptych.api.explaining import Explanation, ImageExplanation, explain, explain_image
    from triptych.api.exporting import export, export_store
    from triptych.api.models import equip, equipment_label, load, make_ensemble
    from triptych.api.searching import Tuned, tune
    from triptych.api.training import NAME_FOR_HELPERS, LearningRates, Trained, find_learning_rate, start_run, train

__all__ = [
    "NAME_FOR_HELPERS",
    "Calibrated",
    "Explanation",
    "ImageExplanation",
    "LearningRates",
    "ToJudge",
    "Trained",
    "Tuned",
    "calibrate",
    "compare",
    "equip",
    "equipment_label",
    "evaluate",
    "explain",
    "explain_image",
    "export",
    "export_store",
    "find_learning_rate",
    "load",
    "make_ensemble",
    "read_to_judge",
    "recorded_data",
    "start_run",
    "train",
    "tune",
    "write_report",
]

_HOMES = {
    "calibrating": ("Calibrated", "calibrate"),
    "evaluation": ("ToJudge", "compare", "evaluate", "read_to_judge", "recorded_data", "write_report"),
    "explaining": ("Explanation", "ImageExplanation", "explain", "explain_image"),
    "exporting": ("export", "export_store"),
    "models": ("equip", "equipment_label", "load", "make_ensemble"),
    "searching": ("Tuned", "tune"),
    "training": ("NAME_FOR_HELPERS", "LearningRates", "Trained", "find_learning_rate", "start_run", "train"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"triptych.api.{home}"), name)
    raise AttributeError(f"module 'triptych.api' has no attribute {name!r}")
