"""What a run is worth: scores, explanations, reports, comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from triptych.api.panels import Panel, panel_of
from triptych.config import dump_recipe, with_changes
from triptych.data.fingerprints import fingerprint_items, short_digests
from triptych.errors import DataError, RunError, did_you_mean
from triptych.report import html as report_page
from triptych.report.canvas import save
from triptych.report.card import Evaluated, write_card
from triptych.report.comparison import Comparison, differences, shared_items, standing
from triptych.report.figures import compare_curves
from triptych.report.html import Section
from triptych.report.run_report import column_label, facts_section, further_metrics, recipe_section, training_section
from triptych.runs.run import Run, hashes, now
from triptych.statistics import Estimate


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


@dataclass(frozen=True)
class ToJudge:
    """Data for `evaluate`.

    Attributes:
        data: as the panel read it.
        label_end: what the name of an evaluation on it ends with; empty for the run's own.
        origin: of other data than the run's own, its path and SHA-256; empty for the run's own.
        warnings: what to know of figures on it, complete sentences.
    """

    data: Any
    label_end: str = ""
    origin: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()


def read_to_judge(run: Run, model: Any, *, split: str, data: Path | None = None, skip_bad: bool = False) -> ToJudge:
    """Read a run's own data, split as in training, or other data: that split of it, or all where it has no splits.

    What data it is its content decides, not its path: the run's own is split as in training wherever it lies now, since
    judged whole it would put training items into the test. In other data, items that training saw are counted and told.
    With `skip_bad`, files or rows that cannot be read are left out of this reading, whatever the recipe says.

    Raises:
        DataError: the run's own data has changed since training, or is not where it was.
    """
    recipe = run.recipe()
    if skip_bad:
        recipe = with_changes(recipe, {f"data.skip_bad_{'files' if recipe.panel == 'see' else 'rows'}": True})
    panel = panel_of(recipe.panel)
    facts = run.facts()
    if data is None:
        location = recorded_data(run)
        own = panel.read(recipe, location, model)
        if not _is_trained_on(facts, own):
            place = recipe.data.set if location is None else location
            again = f"--data {location}" if location is not None else "--data FILE"
            raise DataError(
                f"data of {run.name}, {place}, has changed since training; expected the same, since a new split would "
                f"take items from training into {split}. Restore it, or judge the model on all of it with {again}"
            )
        return ToJudge(own)
    other: Any = None
    problem: DataError | None = None
    try:
        other = panel.read(recipe, data, model, whole=split)
    except DataError as error:  # its own data may be bad in part, as it was in training
        problem = error
    known = set(hashes(facts.get("data", [])))
    if problem is not None or known & set(hashes(other.fingerprints)):
        moved = _read_if_own(facts, panel, recipe, data, model)
        if moved is not None:
            run.update_facts(data_location=str(data.absolute()))  # from now on it is found there
            return ToJudge(moved)
    if problem is not None:
        raise problem
    origin = {"path": str(data.absolute()), "sha256": fingerprint_items(hashes(other.fingerprints))}
    end = _label_end(run, data, split, origin["sha256"])
    return ToJudge(other, end, origin, _seen_items(run, other, split))


def _is_trained_on(facts: Mapping[str, Any], data: Any) -> bool:
    """Whether data is what a run was trained on, split into as many training items; a test split may come later."""
    known, found, counts = hashes(facts.get("data", [])), hashes(data.fingerprints), facts.get("counts", {})
    if not known:
        return True
    may_have_more = "test" not in counts
    is_same = found == known or (may_have_more and [entry for entry in found if entry in known] == known)
    return is_same and len(data.keys("train")) == counts.get("train", len(data.keys("train")))


def _read_if_own(facts: Mapping[str, Any], panel: Panel, recipe: Any, location: Path, model: Any) -> Any:
    """The run's own data, read as in training where it lies now; None where it is other data.

    A part of it, such as the folder of its training split, is other data: it would be split anew.
    """
    try:
        data = panel.read(recipe, location, model)
    except DataError:
        return None
    counts = facts.get("counts", {})
    is_same = _is_trained_on(facts, data) and all(len(data.keys(name)) == count for name, count in counts.items())
    return data if is_same else None


def _label_end(run: Run, place: Path, split: str, sha256: str) -> str:
    """The end of an evaluation's name: the data's, and a few digits where other data of that name was judged before."""
    end = f"-on-{place.name if place.is_dir() else place.stem}"
    before = {
        told.get("origin", {}).get("sha256", sha256)
        for label, told in run.evaluations().items()
        if label.startswith(f"{split}/") and label.endswith(end)
    }
    return end if before <= {sha256} else f"{end}-{sha256[:6]}"


def _seen_items(run: Run, data: Any, split: str) -> list[str]:
    """A warning where items of a split are among those that the run was trained on."""
    items = short_digests(data.keys(split))
    seen = int(np.isin(items, run.trained_on()).sum())
    if not seen:
        return []
    return [
        f"{seen} of {len(items)} items of this data were in the training of {run.name}, so that figures on it say more "
        "of what the model remembers than of what it will do. Leave them out for figures on what is new."
    ]


def evaluate(
    run: Run,
    model: Any = None,
    *,
    split: str = "test",
    decoding: Any = None,
    label: str | None = None,
    read: Any = None,
    origin: Mapping[str, str] | None = None,
    warnings: Sequence[str] = (),
) -> Any:
    """Judge a run's model on a split of its data, and record the result and every prediction in the run.

    Args:
        run: the run, whose recipe says how to read the data.
        model: where it is not simply the run's own; by default that is loaded.
        split: `train`, `valid` or `test`.
        decoding: how predictions are read off the model, as the recipe's `[decoding]` says it; by default that.
        label: name of the evaluation; by default it says how it was decoded.
        read: data, from `read_to_judge` or as its training read it (`Trained.data`); by default the run's own.
        origin: of other data, where it is and its SHA-256, for the report (`ToJudge.origin`).
        warnings: what to know of the figures, for the report (`ToJudge.warnings`).
    Returns:
        The panel's evaluation: `split`, `decoding`, `items` and `scores`.
    Raises:
        DataError: there is no such split, or the run's own data is not what it was in training.
    """
    recipe = run.recipe_in_use()
    panel = panel_of(recipe.panel)
    model = model or panel.load(run)
    settings = decoding or recipe.decoding
    evaluation = panel.evaluate(
        model, recipe, read or read_to_judge(run, model, split=split).data, split=split, decoding=settings
    )
    label = label or panel.label(settings)
    told = panel.record(run.path / "predictions", f"{split}.{label}", evaluation, model)
    run.write_evaluation(
        split, label, {**told, "origin": dict(origin or {}), "warnings": list(warnings), "evaluated": now()}
    )
    run.add_evaluation(f"{split}/{label}", evaluation.scores.to_dict())
    return evaluation


def write_report(run: Run) -> Path:
    """Write `report.html` and `card.md` from what the run holds, and the pictures as PNG and SVG."""
    recipe, facts = run.recipe(), run.facts()
    evaluations = run.evaluations()
    panel = panel_of(recipe.panel)
    sections = [panel.overview(evaluations)] if evaluations else []
    sections += [_with_origin(panel.section(name, told, run.figures), told) for name, told in evaluations.items()]
    history = run.history()
    if history:
        training = recipe.training
        sections.append(training_section(history, monitor=training.monitor, goal=training.mode, figures=run.figures))
    sections += [facts_section(facts), recipe_section(dump_recipe(recipe))]
    path = run.path / "report.html"
    subtitle = f"{recipe.title}. {facts.get('parameters', 0):,} parameters, panel {recipe.panel}."
    report_page.write_report(path, report_page.Report(run.name, subtitle, sections))
    evaluated = [
        Evaluated(
            name,
            told["scores"]["n_items"],
            {key: Estimate.from_dict(value) for key, value in panel.measures(told["scores"]).items()},
            told.get("warnings", ()),
        )
        for name, told in evaluations.items()
    ]
    use = panel.use(run.model(recipe.panel))
    write_card(run.path / "card.md", name=run.name, facts=facts, use=use, evaluated=evaluated)
    return path


def _with_origin(section: Section, told: Mapping[str, Any]) -> Section:
    origin = told.get("origin")
    place = [f"On other data than the run's own: {origin['path']}, SHA-256 {origin['sha256']}."] if origin else []
    return replace(section, text="\n\n".join([*place, *told.get("warnings", ()), section.text]))


def _place_of(run: Run) -> str:
    return run.facts().get("data_location") or run.recipe().data.set or "unknown data"


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
    panels = sorted({run.recipe().panel for run in runs})
    if len(panels) > 1:
        raise RunError(f"runs are of the panels {' and '.join(panels)}; expected one panel. Compare like with like.")
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
    try:
        shared_errors = shared_items({name: panel_of(panels[0]).read_errors(path) for name, path in files.items()})
        errors = shared_errors.errors
    except DataError as error:
        places = (f"{name} was trained on {_place_of(run)}" for name, run in zip(names, runs, strict=True))
        raise DataError(
            f"{str(error).rstrip('.')}: {', '.join(places)}. If that is the same, judge all of them again with: "
            "triptych test RUN"
        ) from None
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
