"""Calibrate a run: a temperature fitted on its validation data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from triptych.api.evaluation import evaluate, read_for_evaluation, write_report
from triptych.api.panels import panel_of, recipe_in_use
from triptych.errors import RunError
from triptych.runs.run import Run


@dataclass(frozen=True)
class Calibrated:
    """The effect of calibration, on the validation data that it was fitted on.

    Attributes:
        temperature: what scores are divided by from now on; above 1 where the model was overconfident.
        before, after: figures with the temperature that the run had, and with the new one.
    """

    temperature: float
    before: Any
    after: Any

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""

        def figures(scores: Any) -> dict[str, float]:
            return {"log_loss": scores.log_loss.value, "calibration_error": scores.calibration_error}

        return {
            "temperature": self.temperature,
            "n_items": self.after.n_items,
            "before": figures(self.before),
            "after": figures(self.after),
        }


def calibrate(run: Run) -> Calibrated:
    """Fit the temperature of a run's probabilities on its validation data, and keep it in the run.

    The model holds it from then on (`model.json`), so that `test`, `predict`, the server and exports use it; the recipe
    stays that of the training. Evaluations with the old one are removed, and validation is evaluated again.

    Args:
        run: a finished run of the panel `see`; one that was calibrated before is calibrated again.
    Raises:
        RunError: the run is of another panel, not finished, or being written by another process.
        DataError: its data is not what it was in training.
    """
    recipe = recipe_in_use(run)
    panel = panel_of(recipe.panel)
    model = panel.load(run)
    status = run.facts().get("status")
    if status != "finished":
        raise RunError(
            f"this run is {status}; only finished runs can be calibrated.",
            hint=f"Resume it with: triptych train --resume --name {run.name}",
            path=run.path,
        )
    with run.writing():
        data = read_for_evaluation(run, model, split="valid").data
        temperature = panel.fit_temperature(run, model, data)
        before = panel.evaluate(model, recipe, data, split="valid", decoding=recipe.decoding).scores
        description = run.model(recipe.panel)
        run.forget_evaluations()
        own = {key: value for key, value in description.items() if key not in ("format", "panel")}
        run.write_model(recipe.panel, {**own, "decoding": {**recipe.decoding.model_dump(), "temperature": temperature}})
        after = evaluate(run, split="valid", read=data).scores
        write_report(run)
    return Calibrated(temperature, before, after)
