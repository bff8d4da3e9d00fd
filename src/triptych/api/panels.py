"""The panels, and what the frame asks of each.

Everything in which panels differ is a method of a panel's object; nothing outside asks which panel it has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

from triptych.config import Combination, Recipe
from triptych.config.options import options_of
from triptych.errors import RecipeError, did_you_mean
from triptych.report.card import Use
from triptych.report.comparison import Errors
from triptych.report.html import Section
from triptych.runs.run import Run
from triptych.runs.transfer import Transfer
from triptych.training.objective import Prepared

Warn = Callable[[Sequence[str]], None]


class Data(Protocol):
    """Data of a recipe, read and split.

    Attributes:
        fingerprints: per file or set, path, size and SHA-256.
        warnings: complete sentences for the user.
        counts: items in each split.
        available: items that each split had before a limit of the recipe took a part of it; no entry without a limit.
        content: kind of the items, such as "images of 3 classes".
    """

    fingerprints: Sequence[Mapping[str, Any]]
    warnings: Sequence[str]
    counts: Mapping[str, int]
    available: Mapping[str, int]
    content: str

    def keys(self, split: str) -> Sequence[str]:
        """A text that identifies each item; empty where the split does not exist."""


class Scores(Protocol):
    """Measures of an evaluation, of `n_items` items."""

    n_items: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; measures as `Estimate.to_dict` writes them."""


class Evaluation(Protocol):
    """A model evaluated on a split.

    Attributes:
        split: name of the split.
        scores: its measures.
        warnings: about them, complete sentences.
    """

    split: str
    scores: Scores
    warnings: Sequence[str]


class Explanation(Protocol):
    """An explanation of one prediction.

    Attributes:
        title: name of the item.
        several: name of a list of such items in JSON; empty where there is one at a time.
        figures: paths by what they show.
        notes: sentences for the person who reads the table.
    """

    title: str
    several: str
    figures: Mapping[str, Path]
    notes: Sequence[str]

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Columns and rows of what the model considered."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""


class Demo(Protocol):
    """The panel's main job on data that is already there; RECIPE is the name of the recipe that it trains."""

    RECIPE: str

    def example(self, run: Run, evaluation: Any, /) -> str:
        """The item to explain."""

    def headline(self, evaluation: Any, /) -> list[tuple[str, Any, str]]:
        """Name, estimate and meaning of the main figures."""

    def items(self, evaluation: Any, /) -> str:
        """Number of items tested, such as "360 images"."""

    def table(self, evaluation: Any, /) -> tuple[list[str], list[list[str]]]:
        """Columns and rows of some predictions."""

    def next_commands(self, name: str, example: str, /) -> list[str]:
        """Commands to try next."""


class Selection(Protocol):
    """A step of a search for members.

    Attributes:
        members: places of the members so far, in the order in which they were chosen.
        errors: number of items that they get wrong together.
        items: number of items.
    """

    members: tuple[int, ...]
    errors: int
    items: int


class Panel(Protocol):
    """A panel. `recipe`, `decoding`, `model`, `data` and `evaluation` are the panel's own.

    Attributes:
        name: in recipes.
        demo: its demo.
        ensemble_test_options: options of `triptych test` for an ensemble.
        label_prefix: what to print before the label of an evaluation where the label alone does not say it.
    """

    name: str
    demo: ClassVar[Demo]
    ensemble_test_options: str
    label_prefix: str

    @property
    def given(self) -> Any:
        """Functions `score`, `align`, `rerank` and `distil`; None where items are not pairs."""

    def read(self, recipe: Any, location: Any, *, model: Any = None, whole: str | None = None) -> Any:
        """Read the recipe's data, with `Data`'s properties, split as for training.

        Args:
            recipe: the recipe.
            location: folder or file of the data, or one for each language where the recipe has languages; None for the
                recipe's named set.
            model: a loaded model whose classes label the data.
            whole: read this split alone, or all of what has no splits as this split.
        """

    def build(self, recipe: Any, data: Any) -> Prepared:
        """Build the network for some data, initialised from `training.seed`."""

    def sized(self, recipe: Any, data: Any) -> Any:
        """The recipe with a number in place of every "auto", for some data."""

    def sized_as(self, recipe: Any, run: Run) -> Any:
        """The recipe with a start run's sizes wherever it leaves sizes to the data.

        Raises:
            RunError: the run is of another panel, an ensemble, or has no model.
        """

    def start(self, prepared: Prepared, run: Run) -> Transfer:
        """Copy into a prepared network what fits of a run's model.

        Raises:
            RunError: nothing fits, or what is copied would mean something else here.
        """

    def load(self, run: Run, *, device: str = "cpu") -> Any:
        """Load the run's kept model, ready to predict."""

    def with_dictionary(self, model: Any, recipe: Any, run: Run) -> Any:
        """The model with the dictionary that was packed with its run in front; the model alone where there is none."""

    def join(self, runs: Sequence[Run], *, by: Combination = "average") -> tuple[dict[str, Any], dict[str, Any]]:
        """Description and tensors of one model that combines several runs' models.

        Raises:
            RunError: they cannot be combined in this way.
        """

    def search_members(
        self, runs: Sequence[Run], recipe: Any, data: Any, *, by: Combination, most: int
    ) -> Sequence[Any]:
        """Which runs to combine, chosen one after the other on the validation split.

        Returns:
            A `Selection` for each step; the last one is the choice.

        Raises:
            RecipeError: the panel does not choose members.
        """

    def in_use(self, recipe: Any, description: Mapping[str, Any], path: Path) -> Any:
        """The recipe with the decoding that `model.json`, whose content and path these are, has now."""

    def choose(self, recipe: Any, given: Mapping[str, Any]) -> Any:
        """The recipe's decoding with options of a command on top; options that are not the decoding's are ignored."""

    def equip(self, model: Any, recipe: Any, given: Mapping[str, Any], *, warn: Warn) -> tuple[Any, str]:
        """The model with the files that options of a command name, and what that adds to an evaluation's name."""

    def remarks(self, model: Any, recipe: Any, data: Any, *, split: str) -> Sequence[str]:
        """Sentences on items of a split that the model cannot be expected to predict.

        Raises:
            DataError: there is no such split.
        """

    def evaluate(self, model: Any, recipe: Any, data: Any, *, split: str, decoding: Any) -> Any:
        """Predict a split of the data and score it."""

    def predict(
        self,
        model: Any,
        recipe: Any,
        places: Sequence[str],
        *,
        decoding: Any,
        given: Mapping[str, Any],
        skip_bad: bool,
        line_buffered: bool,
        warn: Warn,
    ) -> Iterator[list[str]]:
        """Cells of a line of output for each item of some files; `-` is standard input.

        `given` are the command's options by name, of which those on the output are used here.
        """

    def explain(
        self, model: Any, recipe: Any, items: Sequence[str], given: Mapping[str, Any], *, out: Path
    ) -> Sequence[Any]:
        """Why the model predicts what it does for some items, each an `Explanation`, with figures in `out`."""

    def fit_temperature(self, run: Run, model: Any, data: Any) -> float:
        """Temperature that fits the model's probabilities to the validation data.

        Raises:
            RunError: the panel's models cannot be calibrated.
        """

    def network_of(self, model: Any) -> tuple[Any, tuple[int, int, int] | None]:
        """A loaded model's network, and the shape of one input where it is fixed."""

    def untrained(self, recipe: Any, location: Any, *, classes: int | None) -> tuple[Any, tuple[int, int, int] | None]:
        """The network that a recipe would train, and the shape of one input where it is fixed."""

    def label(self, decoding: Any) -> str:
        """A short name for a decoding, for the name of an evaluation."""

    def record(self, folder: Path, name: str, evaluation: Any, model: Any) -> dict[str, Any]:
        """Write predictions into `folder`; details of the evaluation for the report, as plain values for JSON."""

    def section(self, name: str, details: Mapping[str, Any], figures: Path) -> Section:
        """The part of the report about one evaluation."""

    def overview(self, evaluations: Mapping[str, Mapping[str, Any]]) -> Section:
        """All evaluations of a run in one table."""

    def read_errors(self, path: Path) -> Errors:
        """Errors per item from a file that `record` wrote."""

    def use(self, description: Mapping[str, Any]) -> Use:
        """Purpose and limitations of the model that `model.json` describes, for the model card."""

    def measures(self, scores: Mapping[str, Any]) -> dict[str, Any]:
        """The main figures of `Scores.to_dict`, each an `Estimate`'s plain values, by the name people read."""

    def next_commands(self, name: str, *, has_test: bool) -> list[str]:
        """Commands to try after a training."""


def panel_of(name: str) -> Panel:
    """The panel of that name; PyTorch and the panel's modules are imported now.

    Raises:
        RecipeError: there is none.
    """
    match name:
        case "spell":
            from triptych.spell.panel import PANEL as SPELL

            return SPELL
        case "see":
            from triptych.see.panel import PANEL as SEE

            return SEE
    raise RecipeError(field="panel", value=name, expected="one that trains", hint=did_you_mean(name, ("spell", "see")))


def given_options(panel: Panel, command: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given, checked to have an effect on the command for a run of the panel.

    Args:
        panel: of the run.
        command: `predict`, `test` or `explain`.
        options: by name; None counts as not given.
    Raises:
        RecipeError: one has no effect.
    """
    given = {name: value for name, value in options.items() if value is not None}
    effective = options_of(panel.name, command)
    for name, value in given.items():
        if name not in effective:
            option = f"--{name.replace('_', '-')}"
            lists_items = name == "top_k" and "n_best" in effective
            raise RecipeError(
                f"{option} is {value} and has no effect on a {panel.name} run.",
                hint="Use --n-best for the number of classes to list." if lists_items else "Remove it.",
            )
    return given


def recipe_in_use(run: Run) -> Recipe:
    """The run's recipe with its model's own decoding, such as the temperature of a calibrated model."""
    recipe, path = run.recipe(), run.path / "model.json"
    if not run.has_model:
        return recipe
    fitted: Recipe = panel_of(recipe.panel).in_use(recipe, run.model(), path)
    return fitted
