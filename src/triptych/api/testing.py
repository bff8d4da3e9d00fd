"""Test a run under the options of a command: read data, evaluate, record and report."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triptych.api.evaluation import read_for_evaluation, record, unique_label, write_report
from triptych.api.models import choose
from triptych.api.panels import Evaluation, Panel, Warn, panel_of
from triptych.runs.run import Run
from triptych.statistics import Estimate

READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)  # a run of which figures are shown and not recorded


@dataclass(frozen=True)
class Tested:
    """A run that was tested.

    Attributes:
        evaluation: the panel's evaluation.
        label: its name in the run, after the split.
        measures: its main figures, by the name people read.
    """

    evaluation: Evaluation
    label: str
    measures: Mapping[str, Estimate]


def run_test(
    run: Run,
    given: Mapping[str, Any] | None = None,
    *,
    split: str = "test",
    data: Path | None = None,
    skip_bad: bool = False,
    device: str = "cpu",
    warn: Warn = lambda _: None,
) -> Tested:
    """Evaluate a run's model on a split of its own data, or on other data; record the result and write the report.

    Args:
        run: the run.
        given: options of a command by name, such as `n_best`; None counts as not given.
        split: `train`, `valid` or `test`.
        data: other data; by default the run's own.
        skip_bad: skip rows or files that cannot be read.
        device: where the model runs.
        warn: called with sentences about data and options.
    Raises:
        RecipeError: an option that has no effect on the run, or a value that breaks its rule.
        DataError: the data cannot be read, or has no such split.
    """
    chosen = choose(run, "test", given or {}, device=device, warn=warn)
    found = read_for_evaluation(run, chosen.model, split=split, data=data, skip_bad=skip_bad)
    panel = panel_of(chosen.recipe.panel)
    remarks = [*found.warnings, *panel.remarks(chosen.model, chosen.recipe, found.data, split=split)]
    warn([*found.data.warnings, *remarks, *_limits(found.data, split)])
    files = {**chosen.files, **({"data": found.origin["sha256"]} if found.origin else {})}
    label = unique_label(run, split, chosen.label + found.label_end, files)
    evaluation = panel.evaluate(chosen.model, chosen.recipe, found.data, split=split, decoding=chosen.decoding)
    warn(evaluation.warnings)
    origin = {**found.origin, **({"files": chosen.files} if chosen.files else {})}
    if run.packed is not None:
        warn([f"{run.name} is a packed run, which is only read: the evaluation is not recorded."])
        return _tested(panel, evaluation, label)
    try:
        record(run, chosen.model, evaluation, label=label, origin=origin, warnings=remarks)
        write_report(run)
    except OSError as error:
        if error.errno not in READ_ONLY:  # such as a full disk
            raise
        warn([f"the evaluation could not be recorded in {run.path}: {error.strerror or error}."])
    return _tested(panel, evaluation, label)


def _tested(panel: Panel, evaluation: Evaluation, label: str) -> Tested:
    figures = panel.measures(evaluation.scores.to_dict())
    return Tested(evaluation, label, {name: Estimate.from_dict(value) for name, value in figures.items()})


def _limits(data: Any, split: str) -> list[str]:
    """A sentence where a limit of the recipe took a part of the split."""
    if split not in data.available:
        return []
    return [f"evaluated on {data.counts[split]:,} of {data.available[split]:,} items of {split}, the recipe's limit."]
