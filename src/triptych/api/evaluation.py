"""What a run is worth: scores, explanations, reports, comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from triptych.api.models import decoding_label
from triptych.config import SpellDecoding, dump_recipe
from triptych.errors import DataError, RunError, did_you_mean
from triptych.report import html as report_page
from triptych.report.canvas import save
from triptych.report.comparison import Comparison, differences, read_errors, shared_items, standing
from triptych.report.figures import attention_map, compare_curves
from triptych.report.run_report import facts_section, recipe_section, training_section
from triptych.spell import panel as spell
from triptych.spell import story
from triptych.spell.panel import Evaluation
from triptych.spell.speller import Prediction, Speller
from triptych.training.run import Run, now


def recorded_data(run: Run) -> Path | None:
    """Where the run's data was when training began; None for a named set.

    Raises:
        DataError: it is not there any more.
    """
    recorded = run.facts().get("data_location")
    if recorded is None:
        return None
    location = Path(recorded)
    if not location.exists():
        raise DataError(f"data of {run.name} is not at {location} any more; expected it there. Say where with --data")
    return location


def evaluate(
    run: Run,
    speller: Speller | None = None,
    *,
    split: str = "test",
    data: Path | None = None,
    decoding: SpellDecoding | None = None,
    label: str | None = None,
) -> Evaluation:
    """Judge a run's model on a split of its data, and record the result and every prediction in the run.

    Args:
        run: the run, whose recipe says how to read the data.
        speller: the model, where it is not simply the run's own; by default it is loaded.
        split: `train`, `valid` or `test`.
        data: other data than the run's own: a folder, of which the split's file is judged, or one file, all of it.
        decoding: how to decode; by default as the recipe says.
        label: name of the evaluation; by default it says how it was decoded, and on which other data.
    """
    speller = speller or spell.load(run)
    recipe = run.recipe()
    settings = decoding or recipe.decoding
    others = data is not None and str(data.absolute()) != run.facts().get("data_location")
    location = data if others else recorded_data(run)
    whole = others and location is not None and location.is_file()
    evaluation = spell.evaluate(speller, recipe, location, split=split, decoding=settings, whole=whole)
    label = label or decoding_label(settings)
    label += f"-on-{data.stem}" if others and data is not None else ""
    story.write_predictions(run.path / "predictions", f"{split}.{label}", evaluation.items, speller.language)
    told = story.details(evaluation.items, evaluation.scores, speller.language)
    run.write_evaluation(split, label, {**told, "decoding": settings.model_dump(), "evaluated": now()})
    run.add_evaluation(f"{split}/{label}", evaluation.scores.to_dict())
    return evaluation


@dataclass(frozen=True)
class Explanation:
    """Why a model predicted what it did.

    Attributes:
        prediction: the candidates.
        weights: attention of the best candidate over source symbols, a row per target symbol and one for the end.
        picture: the same as a picture; None without attention.
    """

    prediction: Prediction
    weights: list[list[float]] | None
    picture: Path | None


def explain(run: Run, source: str, *, n_best: int = 3, out: Path | None = None, device: str = "cpu") -> Explanation:
    """Predict one source and draw where the model looked.

    Args:
        run: the run.
        source: one source as text.
        n_best: candidates to list.
        out: folder for the picture; by default the run's figures.
        device: where the model runs.
    """
    prediction = spell.load(run, device=device).predict(source, n_best=n_best, with_attention=True)[0]
    attention = prediction.attention
    if attention is None:
        return Explanation(prediction, None, None)
    figure = attention_map(attention.cpu().numpy(), prediction.source, prediction.symbols)
    stem = "".join(letter if letter.isalnum() else "-" for letter in prediction.text)[:60] or "empty"
    saved = save(figure, out or run.figures, f"attention-{stem}")
    return Explanation(prediction, attention.tolist(), saved.png)


def write_report(run: Run) -> Path:
    """Write `report.html` from what the run holds, and its pictures as PNG and SVG."""
    recipe, facts = run.recipe(), run.facts()
    evaluations = run.evaluations()
    sections = [story.overview(evaluations)] if evaluations else []
    sections += [story.section(name, told, run.figures) for name, told in evaluations.items()]
    history = run.history()
    if history:
        training = recipe.training
        sections.append(training_section(history, monitor=training.monitor, goal=training.mode, figures=run.figures))
    sections += [facts_section(facts), recipe_section(dump_recipe(recipe))]
    path = run.path / "report.html"
    subtitle = f"{recipe.title}. {facts.get('parameters', 0):,} parameters, panel {recipe.panel}."
    report_page.write_report(path, report_page.Report(run.name, subtitle, sections))
    return path


def compare(runs: Sequence[Run], *, out: Path, evaluation: str | None = None) -> Comparison:
    """Runs side by side: curves on one picture, error rates, paired differences on the items all of them predicted.

    Args:
        runs: two or more; the first is what others are compared with.
        out: folder for the picture.
        evaluation: which evaluation, such as `test/greedy`; by default the last that all of them have.
    Raises:
        RunError: fewer than two runs, or no evaluation that all of them have.
        DataError: the evaluations share no item.
    """
    if len(runs) < 2:
        raise RunError(f"compare is given {len(runs)} run; expected at least two. List them with: triptych runs")
    names = [run.name for run in runs]
    names = names if len(set(names)) == len(names) else [str(run.path) for run in runs]
    listed = [list(run.facts().get("evaluations", {})) for run in runs]
    shared = [name for name in listed[0] if all(name in others for others in listed)]
    if not shared:
        raise RunError(f"runs {', '.join(names)} share no evaluation; expected one. Make it with: triptych test RUN")
    chosen = evaluation or shared[-1]
    if chosen not in shared:
        raise RunError(f"--on is {chosen!r}; expected an evaluation of every run. {did_you_mean(chosen, shared)}")
    files = {
        name: run.path / "predictions" / f"{chosen.replace('/', '.', 1)}.tsv"
        for name, run in zip(names, runs, strict=True)
    }
    errors = shared_items({name: read_errors(path) for name, path in files.items()})
    histories = {name: run.history() for name, run in zip(names, runs, strict=True)}
    monitor = runs[0].recipe().training.monitor
    picture = compare_curves(
        {name: history for name, history in histories.items() if history}, metric=monitor, loss="train_loss"
    )
    return Comparison(
        chosen,
        [standing(name, errors[name]) for name in names],
        {name: differences(errors[names[0]], errors[name]) for name in names[1:]},
        save(picture, out, "-".join(run.name for run in runs)[:100]).png,
    )
