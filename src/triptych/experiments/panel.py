"""The panel `recall`: experiments on memories, which are run and not trained.

It knows its experiments, runs one into a run directory, writes its report again from what the run holds, and describes
a finished run. It does not use what the other panels share: reading data, training and evaluation.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from triptych.config.recall import RECALL_EXPERIMENTS, RecallRecipe
from triptych.experiments.run import FinishedExperiment, run_experiment, write_experiment_report
from triptych.runs.run import Run

NAME = "recall"


class RecallPanel:
    """Recall, as commands and reports see it."""

    name = NAME

    @property
    def experiments(self) -> Mapping[str, type[Any]]:
        """The recipe's tables by the experiment's name."""
        return RECALL_EXPERIMENTS

    def run(self, recipe: RecallRecipe, *, recipe_name: str, name: str | None, force: bool) -> FinishedExperiment:
        """Run an experiment into a run directory of its own; see `run_experiment`."""
        return run_experiment(recipe, recipe_name=recipe_name, name=name, force=force)

    def write_report(self, run: Run) -> Path:
        """Write a run's report again from what the run holds.

        Raises:
            RunError: the experiment did not finish.
        """
        return write_experiment_report(run)

    def describe(self, run: Run) -> Mapping[str, Any]:
        """The main findings of a finished run by name; empty before."""
        findings: Mapping[str, Any] = run.facts().get("findings", {})
        return findings


PANEL = RecallPanel()
