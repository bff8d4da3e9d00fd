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
    from triptych.api.memories import (
        BuiltIndex,
        ImageSize,
        Memory,
        Skipped,
        add_to_memory,
        build_memory,
        calibrate_memory,
        change_memory,
        index_memory,
        open_memory,
        read_cues,
        read_pattern_file,
        remove_from_memory,
        tune_memory,
    )
    from triptych.api.memory_queries import MemoryAnswers, memory_info, nearest_patterns, query_memory
    from triptych.api.models import equip, equipment_label, load, make_ensemble
    from triptych.api.searching import Tuned, tune
    from triptych.api.training import NAME_FOR_HELPERS, LearningRates, Trained, find_learning_rate, start_run, train

__all__ = [
    "NAME_FOR_HELPERS",
    "BuiltIndex",
    "Calibrated",
    "Explanation",
    "ImageExplanation",
    "ImageSize",
    "LearningRates",
    "Memory",
    "MemoryAnswers",
    "Skipped",
    "ToJudge",
    "Trained",
    "Tuned",
    "add_to_memory",
    "build_memory",
    "calibrate",
    "calibrate_memory",
    "change_memory",
    "compare",
    "equip",
    "equipment_label",
    "evaluate",
    "explain",
    "explain_image",
    "export",
    "export_store",
    "find_learning_rate",
    "index_memory",
    "load",
    "make_ensemble",
    "memory_info",
    "nearest_patterns",
    "open_memory",
    "query_memory",
    "read_cues",
    "read_pattern_file",
    "read_to_judge",
    "recorded_data",
    "remove_from_memory",
    "start_run",
    "train",
    "tune",
    "tune_memory",
    "write_report",
]

_HOMES = {
    "calibrating": ("Calibrated", "calibrate"),
    "evaluation": ("ToJudge", "compare", "evaluate", "read_to_judge", "recorded_data", "write_report"),
    "explaining": ("Explanation", "ImageExplanation", "explain", "explain_image"),
    "exporting": ("export", "export_store"),
    "memories": (
        "BuiltIndex",
        "ImageSize",
        "Memory",
        "Skipped",
        "add_to_memory",
        "build_memory",
        "calibrate_memory",
        "change_memory",
        "index_memory",
        "open_memory",
        "read_cues",
        "read_pattern_file",
        "remove_from_memory",
        "tune_memory",
    ),
    "memory_queries": ("MemoryAnswers", "memory_info", "nearest_patterns", "query_memory"),
    "models": ("equip", "equipment_label", "load", "make_ensemble"),
    "searching": ("Tuned", "tune"),
    "training": ("NAME_FOR_HELPERS", "LearningRates", "Trained", "find_learning_rate", "start_run", "train"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"triptych.api.{home}"), name)
    raise AttributeError(f"module 'triptych.api' has no attribute {name!r}")
