"""What the frame asks of a panel, and the panels there are.

A panel is the module `triptych.<name>.panel`; everything the frame does with recipes, runs, reports and searches goes
through the functions named here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from triptych.errors import RecipeError, did_you_mean
from triptych.report.card import Use
from triptych.report.comparison import Errors
from triptych.report.html import Section
from triptych.runs.run import Run
from triptych.training.prepared import Prepared


class Scores(Protocol):
    """What an evaluation measured."""

    @property
    def n_items(self) -> int:
        """How many items were judged."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; measures as `Estimate.to_dict` writes them."""


class Evaluation(Protocol):
    """A model judged on a split."""

    @property
    def split(self) -> str:
        """Which split."""

    @property
    def scores(self) -> Scores:
        """What was measured."""


class Panel(Protocol):
    """What a panel offers. `recipe`, `decoding`, `model`, `data` and `evaluation` are the panel's own."""

    def prepare(self, recipe: Any, location: Path | None) -> Prepared:
        """Read the data and build the network, initialised from `training.seed`."""

    def load(self, run: Run, *, device: str = "cpu") -> Any:
        """The run's kept model, ready to predict."""

    def join(self, runs: Sequence[Run]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Description and tensors of one model that averages several runs' models.

        Raises:
            RunError: they cannot be averaged.
        """

    def read(self, recipe: Any, location: Path | None, model: Any, *, whole: str | None = None) -> Any:
        """The recipe's data, split as for training; with `whole`, that split, or all of what has no splits.

        It has `fingerprints`, `warnings` and `keys(split)`, a text per item that tells it from others; `Prepared.data`
        is of the same kind.
        """

    def evaluate(self, model: Any, recipe: Any, data: Any, *, split: str, decoding: Any) -> Any:
        """Predict a split of the data and judge it."""

    def label(self, decoding: Any) -> str:
        """A short name for how predictions are read off the model."""

    def record(self, folder: Path, name: str, evaluation: Any, model: Any) -> dict[str, Any]:
        """Write predictions into `folder`; what a report tells of the evaluation, as plain values for JSON."""

    def section(self, name: str, told: Mapping[str, Any], figures: Path) -> Section:
        """The part of the report about one evaluation."""

    def overview(self, evaluations: Mapping[str, Mapping[str, Any]]) -> Section:
        """All evaluations of a run in one table."""

    def read_errors(self, path: Path) -> Errors:
        """Errors per item from a file that `record` wrote."""

    def use(self, description: Mapping[str, Any]) -> Use:
        """What a model card says of the model that `model.json` describes."""

    def measures(self, scores: Mapping[str, Any]) -> dict[str, Any]:
        """The main figures of `Scores.to_dict`, each an `Estimate`'s plain values, by the name people read."""


def panel_of(name: str) -> Panel:
    """The panel of that name; PyTorch and the panel's modules are imported now.

    Raises:
        RecipeError: there is none.
    """
    match name:
        case "spell":
            from triptych.spell import panel as spell

            return spell
        case "see":
            from triptych.see import panel as see

            return see
    raise RecipeError(f"panel is {name!r}; expected one that trains. {did_you_mean(name, ('spell', 'see'))}")
