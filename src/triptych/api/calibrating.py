"""Probabilities that mean what they say: a temperature fitted on a run's validation images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from triptych.api.evaluation import evaluate, read_to_judge, write_report
from triptych.config import SeeRecipe
from triptych.errors import RunError
from triptych.runs.run import Run
from triptych.see import panel as see
from triptych.see.calibration import fit_temperature
from triptych.see.metrics import Scores


@dataclass(frozen=True)
class Calibrated:
    """What calibrating changed, on the validation images that it was done on.

    Attributes:
        temperature: what scores are divided by from now on; above 1 where the model was too sure.
        before, after: figures with the temperature that the run had, and with the new one.
    """

    temperature: float
    before: Scores
    after: Scores

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""

        def figures(scores: Scores) -> dict[str, float]:
            return {"log_loss": scores.log_loss.value, "calibration_error": scores.calibration_error}

        return {
            "temperature": self.temperature,
            "n_items": self.after.n_items,
            "before": figures(self.before),
            "after": figures(self.after),
        }


def calibrate(run: Run) -> Calibrated:
    """Fit the temperature that a run's probabilities are taken with on its validation images, and keep it in the run.

    The model holds it from then on (`model.json`), so that `test`, `predict`, the server and exports use it; the recipe
    stays that of the training. Evaluations with the old one are forgotten, and validation is judged anew.

    Args:
        run: a finished run of the panel `see`; one that was calibrated before is calibrated anew.
    Raises:
        RunError: the run is of another panel, or not finished.
        DataError: its data is not what it was in training.
    """
    recipe = run.recipe_in_use()
    if not isinstance(recipe, SeeRecipe):
        raise RunError(f"{run.path} is of the panel {recipe.panel!r}; expected see. Its scores have no temperature.")
    status = run.facts().get("status")
    if status != "finished":
        raise RunError(
            f"{run.path} is {status}; expected a finished run, since training changes what is fitted. "
            f"Go on with: triptych train --resume --name {run.name}"
        )
    classifier = see.load(run)
    data = read_to_judge(run, classifier, split="valid").data
    images = data.splits["valid"]
    before = see.judge(classifier, images, split="valid", decoding=recipe.decoding).scores
    scores = classifier.scores(images.pixels, decoding=recipe.decoding)
    temperature = round(fit_temperature(scores, images.labels), 4)
    description = run.model("see")
    run.forget_judgements()
    own = {key: value for key, value in description.items() if key not in ("format", "panel")}
    run.write_model("see", {**own, "decoding": {**recipe.decoding.model_dump(), "temperature": temperature}})
    after = evaluate(run, split="valid", read=data).scores
    write_report(run)
    return Calibrated(temperature, before, after)
