"""What the command line and the server call, and what Python users call: train, load, evaluate, explain."""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import triptych
from triptych.config import Recipe, SpellDecoding, dump_recipe, with_changes
from triptych.config import differences as recipe_differences
from triptych.data.files import open_binary
from triptych.errors import DataError, RecipeError, RunError, TrainingError, TriptychError, did_you_mean
from triptych.files import write_text_atomically
from triptych.report import html as report_page
from triptych.report.canvas import save
from triptych.report.comparison import Comparison, differences, read_errors, shared_items, standing
from triptych.report.figures import attention_map, compare_curves
from triptych.report.run_report import facts_section, recipe_section, training_section
from triptych.report.search import learning_rate_picture, search_picture
from triptych.spell import panel as spell
from triptych.spell import story
from triptych.spell.pairs import read_pairs, read_sources
from triptych.spell.panel import Evaluation
from triptych.spell.speller import Prediction, Speller
from triptych.training.dimensions import Choices, Dimension, Value
from triptych.training.fit import Fitted, Hardware, Output, fit, is_helper_process
from triptych.training.learning_rate import try_learning_rates
from triptych.training.prepared import Prepared
from triptych.training.run import Row, Run
from triptych.training.tuning import Limits, Search, default_storage, search

NAME_FOR_HELPERS = "TRIPTYCH_RUN_OF_MAIN_PROCESS"


@dataclass(frozen=True)
class Trained:
    """A finished or interrupted training.

    Attributes:
        run: where everything is.
        fitted: the epochs and how it ended.
        seconds: training time, all sittings of a resumed run together.
        warnings: about the data, complete sentences.
    """

    run: Run
    fitted: Fitted
    seconds: float
    warnings: Sequence[str] = ()

    @property
    def best(self) -> Mapping[str, Any]:
        """The best epoch's row of `metrics.csv`; empty before the first epoch ended."""
        return self.fitted.rows[self.fitted.best_epoch - 1] if self.fitted.rows else {}


def load(run: str | Path, *, device: str = "cpu") -> Speller:
    """Load the model of a run, ready to predict.

    Args:
        run: name or path of a run.
        device: where to put it: `cpu`, `cuda`, `mps`.
    Raises:
        RunError: no such run, or its model is missing or damaged.
    """
    return spell.load(Run.open(run), device=device)


def make_ensemble(runs: Sequence[Run], *, name: str, force: bool = False) -> Run:
    """A new run that holds several runs' models and predicts by averaging their probabilities at every step.

    Raises:
        RunError: fewer than two runs, runs whose vocabularies differ, or a name that is taken.
    """
    description, tensors = spell.join(runs)
    if any(name in (run.name, str(run.path)) for run in runs):
        raise RunError(f"name is {name!r}, a member's; expected another. Members stay as they are.")
    made = Run.create(name, force=force)
    made.write_recipe(runs[0].recipe())
    first = runs[0].facts()
    kept = {
        key: first[key] for key in ("panel", "title", "data_location", "data", "counts", "versions") if key in first
    }
    made.write_model("spell", description)
    made.write_tensors(tensors)
    parameters = sum(run.facts().get("parameters", 0) for run in runs)
    made.update_facts(
        **kept, status="finished", began=_now(), members=[str(run.path) for run in runs], parameters=parameters
    )
    return made


def start_run(
    recipe: Recipe, *, recipe_name: str, name: str | None, data: Path | None = None, force: bool = False
) -> Run:
    """Make the directory of a new run, named after its recipe and seed unless `name` is given.

    Recipe and place of the data are written at once: from then on the run can be resumed.
    """
    chosen = name or f"{Path(recipe_name).stem}-{recipe.training.seed}"
    if is_helper_process():
        return Run.open(os.environ.get(NAME_FOR_HELPERS, chosen))
    run = Run.create(chosen, force=force)
    run.write_recipe(recipe)
    run.update_facts(status="running", began=_now(), data_location=_location(data))
    os.environ[NAME_FOR_HELPERS] = str(run.path.absolute())
    return run


def train(
    recipe: Recipe,
    run: Run,
    *,
    data: Path | None = None,
    hardware: Hardware | None = None,
    output: Output | None = None,
) -> Trained:
    """Train a recipe into a run; where the run holds a checkpoint, go on from it; where it has finished, do nothing.

    Args:
        recipe: what to train; its own when the run is resumed.
        run: from `start_run`, or `Run.open` to resume.
        data: folder or file of pairs; None for the recipe's named set.
        hardware: devices and precision.
        output: progress, logs and listeners.
    Raises:
        DataError: the data cannot be read.
        RunError: the run was begun with another recipe or other data.
    """
    changed = recipe_differences(run.recipe(), recipe)
    if changed:
        listing = ", ".join(f"{key} was {old!r}, is {new!r}" for key, (old, new) in changed.items())
        raise RunError(
            f"{run.path} was begun with another recipe: {listing}. Resume without changes, or use a new name."
        )
    try:
        prepared = spell.prepare(recipe, data)
    except TriptychError:
        _free_name(run)
        raise
    before = run.facts()
    if "data" in before and _hashes(before.get("data", [])) != _hashes(prepared.fingerprints):
        raise RunError(
            f"{run.path} was begun with other data; expected the same files. Restore them or use a new name."
        )
    finished = before.get("status") == "finished"
    if not finished and not is_helper_process():
        _write_beginning(run, recipe, prepared, data, hardware or Hardware())
    fitted = fit(
        prepared.objective,
        prepared.loaders,
        optimizer=recipe.optimizer,
        training=recipe.training,
        run=run,
        hardware=hardware,
        output=output,
    )
    seconds = round(sum(float(row["seconds"]) for row in fitted.rows), 2)
    if fitted.is_main_process and not finished:
        run.update_facts(
            status="finished" if fitted.complete else "interrupted",
            ended=_now(),
            seconds=seconds,
            epochs=len(fitted.rows),
            best_epoch=fitted.best_epoch,
            best=fitted.rows[fitted.best_epoch - 1] if fitted.rows else {},
        )
    return Trained(run, fitted, seconds, prepared.warnings)


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
        data: where the data is now; by default where it was when training began.
        decoding: how to decode; by default as the recipe says.
        label: name of the evaluation; by default it says how it was decoded.
    """
    speller = speller or spell.load(run)
    recipe = run.recipe()
    settings = decoding or recipe.decoding
    evaluation = spell.evaluate(speller, recipe, data or recorded_data(run), split=split, decoding=settings)
    label = label or decoding_label(settings)
    story.write_predictions(run.path / "predictions", f"{split}.{label}", evaluation.items, speller.language)
    told = story.details(evaluation.items, evaluation.scores, speller.language)
    run.write_evaluation(split, label, {**told, "decoding": settings.model_dump(), "evaluated": _now()})
    run.add_evaluation(f"{split}/{label}", evaluation.scores.to_dict())
    return evaluation


def equip(
    speller: Speller, *, lexicon: Path | None = None, weight: float | None = None, dictionary: Path | None = None
) -> Speller:
    """A speller with a word list to keep to, or a dictionary to look up first.

    Args:
        speller: the model.
        lexicon: file of targets, one per line.
        weight: nats that a target outside the word list costs; None allows no other.
        dictionary: file of pairs, source and target, that are looked up before the model is asked.
    Raises:
        DataError: a file cannot be read.
        RecipeError: a weight without a word list, or out of range.
    """
    if weight is not None and lexicon is None:
        raise RecipeError(f"--lexicon-weight is {weight} without --lexicon; expected a word list. Add --lexicon FILE")
    language = speller.language
    if lexicon is not None:
        with open_binary(lexicon) as stream:
            lines = read_sources(stream, language.target_tokenizer, path_label=lexicon, on_bad_row=lambda _: None)
            speller = speller.with_lexicon((line.text for line in lines), weight=weight)
    if dictionary is not None:
        pairs = read_pairs(
            dictionary, source_tokenizer=language.source_tokenizer, target_tokenizer=language.target_tokenizer
        ).pairs
        speller = speller.with_dictionary((pair.source, pair.target) for pair in pairs)
    return speller


def equipment_label(lexicon: Path | None, weight: float | None, dictionary: Path | None) -> str:
    """What `equip` adds to the name of an evaluation."""
    label = "" if lexicon is None else f"-lexicon-{lexicon.stem}" + ("" if weight is None else f"-w{weight:g}")
    return label + ("" if dictionary is None else f"-dictionary-{dictionary.stem}")


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
    sections = [
        story.section(name, told, run.figures) for name, told in sorted(run.evaluations().items(), reverse=True)
    ]
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
    if evaluation is None and not shared:
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


@dataclass(frozen=True)
class LearningRates:
    """What trying learning rates showed.

    Attributes:
        suggestion: the rate where the loss falls most steeply; None where none stands out.
        trials: rate and smoothed loss of every update.
        picture: both, drawn.
    """

    suggestion: float | None
    trials: list[tuple[float, float]]
    picture: Path


def find_learning_rate(recipe: Recipe, *, data: Path | None, steps: int, out: Path) -> LearningRates:
    """Try ever higher learning rates for a few updates; nothing is kept, and later trainings are untouched."""
    prepared = spell.prepare(recipe, data)
    rates, losses, suggestion = try_learning_rates(
        prepared.objective, prepared.loaders, optimizer=recipe.optimizer, training=recipe.training, steps=steps
    )
    figure = learning_rate_picture(rates, losses, suggestion)
    saved = save(figure, out, "learning-rate")
    return LearningRates(suggestion, list(zip(rates, losses, strict=True)), saved.png)


@dataclass(frozen=True)
class Tuned:
    """A search and what it left behind.

    Attributes:
        search: trials and the best of them.
        folder: storage, table and pictures.
        recipe: the best configuration as a recipe; None before a trial is complete.
        picture: the monitored metric against the searched settings.
    """

    search: Search
    folder: Path
    recipe: Path | None
    picture: Path


def tune(
    recipe: Recipe,
    dimensions: Sequence[Dimension],
    *,
    name: str,
    data: Path | None = None,
    storage: str | None = None,
    trials: int | None = None,
    prune: bool = True,
    listener: Callable[[str], None] = lambda _: None,
) -> Tuned:
    """Search settings of a recipe on validation data, and write the best configuration as a recipe.

    Args:
        recipe: what to vary.
        dimensions: settings and their values.
        name: of the search; the same name goes on with it.
        data: folder or file of pairs.
        storage: Optuna storage address; None keeps an SQLite file in the search's folder.
        trials: how many in all; None for a whole grid.
        prune: stop hopeless trials early.
        listener: called with a line per trial.
    """
    for dimension in dimensions:  # a wrong key or value fails before the first training
        for value in dimension.values if isinstance(dimension, Choices) else (dimension.low, dimension.high):
            with_changes(recipe, {dimension.key: value})
    folder = Path("searches") / name
    training = recipe.training
    hashes = _hashes(spell.prepare(recipe, data).fingerprints)

    def run(params: Mapping[str, Value], report: Callable[[Row], None]) -> Sequence[Row]:
        listener("trying " + ", ".join(f"{key}={value}" for key, value in params.items()))
        varied = with_changes(recipe, params)
        prepared = spell.prepare(varied, data)
        output = Output(listener=lambda row, _: report(row))
        try:
            fitted = fit(
                prepared.objective,
                prepared.loaders,
                optimizer=varied.optimizer,
                training=varied.training,
                run=None,
                output=output,
            )
        except TrainingError as error:
            listener(f"failed: {error}")
            raise
        if fitted.interrupted:
            raise KeyboardInterrupt
        return fitted.rows

    found = search(
        run,
        dimensions,
        name=name,
        storage=storage or default_storage(folder),
        monitor=training.monitor,
        goal=training.mode,
        base=json.dumps([dump_recipe(recipe), *hashes]),
        limits=Limits(trials, prune, training.seed),
    )
    return _write_search(found, recipe, folder)


def _write_search(found: Search, recipe: Recipe, folder: Path) -> Tuned:
    training = recipe.training
    documents = [{"params": t.params, "value": t.value, "state": t.state} for t in found.trials if t.state != "stopped"]
    picture = search_picture(documents, goal=training.mode, value_label=training.monitor)
    saved = save(picture, folder, "search")
    histories = {
        ", ".join(f"{k.split('.')[-1]}={v}" for k, v in t.params.items()): t.history for t in found.trials if t.history
    }
    save(compare_curves(histories, metric=training.monitor, loss="train_loss"), folder, "curves")
    best_path = None
    if found.best is not None:
        best_path = folder / "best.toml"
        write_text_atomically(best_path, dump_recipe(with_changes(recipe, found.best.params)))
    keys = sorted({key for trial in found.trials for key in trial.params})
    lines = ["\t".join(["trial", "state", training.monitor, *keys, "failure"])]
    for trial in found.trials:
        value = "" if trial.value is None else f"{trial.value:.6g}"
        settings = (str(trial.params.get(key, "")) for key in keys)
        lines.append("\t".join([str(trial.number), trial.state, value, *settings, trial.failure]))
    write_text_atomically(folder / "trials.tsv", "\n".join(lines) + "\n")
    return Tuned(found, folder, best_path, saved.png)


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


def decoding_label(settings: SpellDecoding) -> str:
    """A short name for how targets are decoded: `greedy`, `beam5`, `sample3-p0.8`."""
    match settings.method:
        case "beam":
            penalty = f"-length{settings.length_penalty:g}" if settings.length_penalty else ""
            return f"beam{settings.beam_size}{penalty}"
        case "sample":
            parts = [f"sample{settings.samples}"]
            parts += [f"t{settings.temperature:g}"] if settings.temperature != 1 else []
            parts += [f"k{settings.top_k}"] if settings.top_k else []
            parts += [f"p{settings.top_p:g}"] if settings.top_p < 1 else []
            return "-".join(parts)
        case _:
            return "greedy"


def _write_beginning(run: Run, recipe: Recipe, prepared: Prepared, data: Path | None, hardware: Hardware) -> None:
    run.remove_leftovers()
    run.write_model(recipe.panel, prepared.description)
    before = run.facts()
    run.update_facts(
        status="running",
        panel=recipe.panel,
        title=recipe.title,
        seed=recipe.training.seed,
        began=before.get("began", _now()),
        data_location=_location(data),
        data=[dict(entry) for entry in prepared.fingerprints],
        counts=dict(prepared.counts),
        parameters=sum(p.numel() for p in prepared.objective.network.parameters() if p.requires_grad),
        hardware={"accelerator": hardware.accelerator, "devices": hardware.devices, "precision": hardware.precision},
        versions={
            "triptych": triptych.__version__,
            "python": platform.python_version(),
            "torch": str(torch.__version__),
        },
    )


def _free_name(run: Run) -> None:
    """Remove a run that holds no more than `start_run` wrote, so that the name can be used again."""
    if not is_helper_process() and {path.name for path in run.path.iterdir()} <= {"recipe.toml", "run.json"}:
        shutil.rmtree(run.path)


def _location(data: Path | None) -> str | None:
    """Where the data is, whatever the current folder will be."""
    return None if data is None else str(data.absolute())


def _hashes(fingerprints: Sequence[Mapping[str, Any]]) -> list[Any]:
    """What tells data from other data, wherever it lies now."""
    return [entry.get("sha256") for entry in fingerprints]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
