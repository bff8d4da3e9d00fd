"""What happens before the first epoch: a direct fit of a part of the network. Some recipes train nothing else."""

from __future__ import annotations

import time

from triptych.config import OptimizerTable, TrainingTable
from triptych.errors import RecipeError
from triptych.runs.run import Row, Run, is_helper_process
from triptych.training.hardware import Hardware
from triptych.training.objective import FirstFit, Prepared
from triptych.training.output import Fitted, Output


def fit_prepared(
    prepared: Prepared,
    *,
    optimizer: OptimizerTable,
    training: TrainingTable,
    run: Run | None,
    hardware: Hardware | None = None,
    output: Output | None = None,
) -> Fitted:
    """The direct fit, where the recipe has one, and then all epochs; see `triptych.training.fit.fit`.

    A direct fit without epochs is written as a single epoch.
    """
    hardware, output = hardware or Hardware(), output or Output()
    if training.most_epochs == 0:
        return _without_epochs(prepared, run, hardware, output)
    if run is None or not run.checkpoint.exists():
        _first_fit(prepared, run, output)
    from triptych.training.fit import fit  # seconds of importing Lightning, which no mistake above waits for

    return fit(
        prepared.objective,
        prepared.loaders,
        optimizer=optimizer,
        training=training,
        run=run,
        hardware=hardware,
        output=output,
    )


def _first_fit(prepared: Prepared, run: Run | None, output: Output) -> FirstFit | None:
    if prepared.first_fit is None:
        return None
    found = prepared.first_fit()
    if not is_helper_process():
        output.describe(found.text)
        if run is not None:
            run.update_facts(first_fit=dict(found.facts))
    return found


def _without_epochs(prepared: Prepared, run: Run | None, hardware: Hardware, output: Output) -> Fitted:
    """Raises RecipeError: several processes, which would have nothing to share."""
    if hardware.devices * hardware.nodes > 1:
        raise RecipeError(
            "a recipe with training.epochs 0 trains in one process.", hint="Leave --devices and --nodes out."
        )
    began = time.monotonic()
    found = _first_fit(prepared, run, output)
    assert found is not None  # a recipe without epochs has a direct fit
    seconds = round(time.monotonic() - began, 2)
    row: Row = {"epoch": 1, **found.metrics, "seconds": seconds}
    if run is not None:
        run.write_tensors(prepared.objective.network.state_dict())
        run.write_history([row])
    if output.listener is not None:
        output.listener(row, True)
    return Fitted([row], 1, interrupted=False, complete=True, is_main_process=True)
