"""Compare evaluations of several runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from triptych.api.panels import panel_of
from triptych.errors import RunError, did_you_mean
from triptych.report.canvas import save
from triptych.report.comparison import Comparison, differences, shared_items, standing
from triptych.report.figures import compare_curves
from triptych.report.run_report import column_label, further_metrics
from triptych.runs.run import Run


def compare(runs: Sequence[Run], *, out: Path, evaluation: str | None = None) -> Comparison:
    """Compare runs: curves in one figure, error rates, paired differences on the items that all of them predicted.

    Args:
        runs: two or more; the first is what others are compared with.
        out: folder for the figure.
        evaluation: which evaluation, such as `test/greedy`; by default the last that all of them have.
    Raises:
        RunError: fewer than two runs, or no evaluation that all of them have.
        DataError: the evaluations share no item.
    """
    if len(runs) < 2:
        raise RunError(
            field="the number of runs", value=len(runs), expected="at least two", hint="List them with: triptych runs"
        )
    panels = sorted({run.recipe().panel for run in runs})
    if len(panels) > 1:
        raise RunError(f"the runs are of the panels {' and '.join(panels)}; expected runs of one panel.")
    names = [run.name for run in runs]
    names = names if len(set(names)) == len(names) else [str(run.path) for run in runs]
    listed = [list(run.facts().get("evaluations", {})) for run in runs]
    shared = [name for name in listed[0] if all(name in others for others in listed)]
    if not shared:
        raise RunError(
            f"the runs {', '.join(names)} have no evaluation in common.", hint="Make one with: triptych test RUN"
        )
    chosen = evaluation or shared[-1]
    if chosen not in shared:
        raise RunError(
            field="--on", value=chosen, expected="an evaluation of every run", hint=did_you_mean(chosen, shared)
        )
    files = {
        name: run.path / "predictions" / f"{chosen.replace('/', '.', 1)}.tsv"
        for name, run in zip(names, runs, strict=True)
    }
    shared_errors = shared_items({name: panel_of(panels[0]).read_errors(path) for name, path in files.items()})
    errors = shared_errors.errors
    histories = {name: run.history() for name, run in zip(names, runs, strict=True)}
    drawn = {name: history for name, history in histories.items() if history}
    monitors = [run.recipe().training.monitor for run in runs]
    also = further_metrics(list(drawn.values()), monitors)
    picture = compare_curves(
        drawn, metric=monitors[0], loss="train_loss", also=also, metric_label=column_label(monitors[0])
    )
    return Comparison(
        chosen,
        [standing(name, errors[name]) for name in names],
        {name: differences(errors[names[0]], errors[name]) for name in names[1:]},
        save(picture, out, "-".join(run.name for run in runs)[:100]).png,
        shared_errors.warnings,
    )
