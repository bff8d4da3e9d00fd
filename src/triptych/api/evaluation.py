"""Evaluate runs and write their reports."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from triptych.api.locating import check_placed
from triptych.api.models import choose, recorded_data
from triptych.api.panels import Evaluation, Panel, Warn, panel_of, recipe_in_use
from triptych.config import dump_recipe, with_changes
from triptych.data.fingerprints import fingerprint_items, short_digests
from triptych.data.locations import Location, absolute, describe_location, location_arguments, name_of, to_plain
from triptych.errors import DataError
from triptych.files import write_text_atomically
from triptych.report import html as report_page
from triptych.report.card import Evaluated, card_text
from triptych.report.html import Section
from triptych.report.run_report import facts_section, recipe_section, training_section
from triptych.runs.packed import without_paths
from triptych.runs.run import Run, hashes, now
from triptych.statistics import Estimate as Estimate

READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)  # a run of which figures are shown and not recorded


@dataclass(frozen=True)
class EvaluationData:
    """Data for `evaluate`.

    Attributes:
        data: as the panel read it.
        label_end: what the name of an evaluation on it ends with; empty for the run's own.
        origin: of other data than the run's own, its path and SHA-256; empty for the run's own.
        warnings: what to know of figures on it, complete sentences.
    """

    data: Any
    label_end: str = ""
    origin: Mapping[str, Any] = field(default_factory=dict)
    warnings: Sequence[str] = ()


def read_for_evaluation(
    run: Run, model: Any, *, split: str, data: Location | None = None, skip_bad: bool = False
) -> EvaluationData:
    """Read a run's own data, split as in training, or other data: that split of it, or all where it has no splits.

    Whether data is the run's own depends on its content, not on its path: the run's own is split as in training
    wherever it lies now, since taken whole it would put training items into the test. In other data, items that were
    in the training are counted in a warning. With `skip_bad`, files or rows that cannot be read are skipped, whatever
    the recipe says.

    Raises:
        DataError: the run's own data has changed since training, or is not where it was.
    """
    recipe = run.recipe()
    if skip_bad:
        recipe = with_changes(recipe, {"data.skip_bad": True})
    return (
        EvaluationData(_own_data(run, recipe, model, split))
        if data is None
        else _given(run, recipe, model, split, data)
    )


def _own_data(run: Run, recipe: Any, model: Any, split: str) -> Any:
    """The run's own data from where it was in training."""
    location = recorded_data(run)
    own = panel_of(recipe.panel).read(recipe, location, model=model)
    if not _is_trained_on(run.facts(), own):
        place = recipe.data.set if location is None else describe_location(location)
        again = " ".join(location_arguments(location)) or "--data FILE"
        raise DataError(
            f"the data of {run.name}, {place}, has changed since training; a new split would move training items "
            f"into {split}.",
            hint=f"Restore it, or evaluate the model on all of it with {again}",
        )
    return own


def _given(run: Run, recipe: Any, model: Any, split: str, location: Location) -> EvaluationData:
    """Data at a place that the user named: the run's own, moved, or other data."""
    check_placed(recipe, location)
    facts, panel = run.facts(), panel_of(recipe.panel)
    other: Any = None
    problem: DataError | None = None
    try:
        other = panel.read(recipe, location, model=model, whole=split)
    except DataError as error:  # its own data may be bad in part, as it was in training
        problem = error
    known = set(hashes(facts.get("data", [])))
    if problem is not None or known & set(hashes(other.fingerprints)):
        moved = _read_if_own(facts, panel, recipe, location, model)
        if moved is not None:
            if run.packed is None:
                run.update_facts(data_location=to_plain(location))  # from now on it is found there
            return EvaluationData(moved)
    if problem is not None:
        raise problem
    origin = {"path": describe_location(absolute(location)), "sha256": fingerprint_items(hashes(other.fingerprints))}
    return EvaluationData(other, f"-on-{name_of(location)}", origin, _seen_items(run, other, split))


def _is_trained_on(facts: Mapping[str, Any], data: Any) -> bool:
    """Whether data is what a run was trained on, split into as many training items; a test split may come later."""
    known, found, counts = hashes(facts.get("data", [])), hashes(data.fingerprints), facts.get("counts", {})
    if not known:
        return True
    may_have_more = "test" not in counts
    is_same = found == known or (may_have_more and [entry for entry in found if entry in known] == known)
    return is_same and len(data.keys("train")) == counts.get("train", len(data.keys("train")))


def _read_if_own(facts: Mapping[str, Any], panel: Panel, recipe: Any, location: Location, model: Any) -> Any:
    """The run's own data, read as in training where it lies now; None where it is other data.

    A part of it, such as the folder of its training split, is other data: it would be split again.
    """
    try:
        data = panel.read(recipe, location, model=model)
    except DataError:
        return None
    counts = facts.get("counts", {})
    is_same = _is_trained_on(facts, data) and all(len(data.keys(name)) == count for name, count in counts.items())
    return data if is_same else None


def _unique_label(run: Run, split: str, label: str, files: Mapping[str, str]) -> str:
    """The label, with digits of a hash added where an evaluation of other files (SHA-256 by what they are) has it."""
    earlier = run.evaluations().get(f"{split}/{label}")
    if earlier is None or _files_of(earlier) == dict(files):
        return label
    return f"{label}-{fingerprint_items(sorted(f'{name} {digest}' for name, digest in files.items()))[:6]}"


def _files_of(evaluation: Mapping[str, Any]) -> dict[str, str]:
    origin = evaluation.get("origin") or {}
    return {**origin.get("files", {}), **({"data": origin["sha256"]} if "sha256" in origin else {})}


def _seen_items(run: Run, data: Any, split: str) -> list[str]:
    """A warning where items of a split are among those that the run was trained on."""
    items = short_digests(data.keys(split))
    seen = int(np.isin(items, run.trained_on()).sum())
    if not seen:
        return []
    return [
        f"{seen} of {len(items)} items of this data were in the training of {run.name}; scores on it are optimistic. "
        "Remove them for figures on unseen items."
    ]


def evaluate(run: Run, *, split: str = "test", decoding: Any = None, read: Any = None) -> Any:
    """Evaluate a run's model on a split of its data, and record the result and every prediction in the run.

    Args:
        run: the run, whose recipe says how to read the data.
        split: `train`, `valid` or `test`.
        decoding: how predictions are read off the model, as the recipe's `[decoding]` says it; by default that.
        read: the run's data as its training read it (`Trained.data`); by default it is read again.
    Returns:
        The panel's evaluation: `split`, `decoding`, `items` and `scores`.
    Raises:
        DataError: there is no such split, or the run's own data is not what it was in training.
    """
    recipe = recipe_in_use(run)
    panel = panel_of(recipe.panel)
    model, decoding = panel.load(run), decoding or recipe.decoding
    data = read or read_for_evaluation(run, model, split=split).data
    evaluation = panel.evaluate(model, recipe, data, split=split, decoding=decoding)
    _record(run, model, evaluation, label=panel.label(decoding), origin={}, warnings=())
    return evaluation


@dataclass(frozen=True)
class Tested:
    """A run that was tested.

    Attributes:
        evaluation: the panel's evaluation.
        label: its name in the run, after the split.
        how: the same as people read it, such as `views flips`.
        measures: its main figures, by the name people read.
    """

    evaluation: Evaluation
    label: str
    how: str
    measures: Mapping[str, Estimate]


def run_test(
    run: Run,
    given: Mapping[str, Any] | None = None,
    *,
    split: str = "test",
    data: Location | None = None,
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
    label = _unique_label(run, split, chosen.label + found.label_end, files)
    evaluation = panel.evaluate(chosen.model, chosen.recipe, found.data, split=split, decoding=chosen.decoding)
    warn(evaluation.warnings)
    origin = {**found.origin, **({"files": chosen.files} if chosen.files else {})}
    if run.packed is not None:
        warn([f"{run.name} is a packed run, which is only read: the evaluation is not recorded."])
        return _tested(panel, evaluation, label)
    try:
        _record(run, chosen.model, evaluation, label=label, origin=origin, warnings=remarks)
        write_report(run)
    except OSError as error:
        if error.errno not in READ_ONLY:  # such as a full disk
            raise
        warn([f"the evaluation could not be recorded in {run.path}: {error.strerror or error}."])
    return _tested(panel, evaluation, label)


def _tested(panel: Panel, evaluation: Evaluation, label: str) -> Tested:
    figures = panel.measures(evaluation.scores.to_dict())
    measures = {name: Estimate.from_dict(value) for name, value in figures.items()}
    return Tested(evaluation, label, panel.label_prefix + label, measures)


def _limits(data: Any, split: str) -> list[str]:
    """A sentence where a limit of the recipe took a part of the split."""
    if split not in data.available:
        return []
    return [f"evaluated on {data.counts[split]:,} of {data.available[split]:,} items of {split}, the recipe's limit."]


def _record(
    run: Run, model: Any, evaluation: Any, *, label: str, origin: Mapping[str, Any], warnings: Sequence[str]
) -> None:
    """Write an evaluation with every prediction into a run; see `evaluate`.

    Raises:
        OSError: the run cannot be written.
    """
    panel, split = panel_of(run.recipe().panel), evaluation.split
    details = panel.record(run.path / "predictions", f"{split}.{label}", evaluation, model)
    about = {"origin": dict(origin), "warnings": [*warnings, *evaluation.warnings], "evaluated": now()}
    run.write_evaluation(split, label, {**details, **about})
    run.add_evaluation(f"{split}/{label}", evaluation.scores.to_dict())


def write_report(run: Run) -> Path:
    """Write `report.html` and `card.md` from what the run holds, and the figures as PNG and SVG."""
    recipe, facts = run.recipe(), run.facts()
    evaluations = run.evaluations()
    panel = panel_of(recipe.panel)
    sections = [panel.overview(evaluations)] if evaluations else []
    sections += [
        _with_origin(panel.section(name, details, run.figures), details) for name, details in evaluations.items()
    ]
    history = run.history()
    if history:
        training = recipe.training
        sections.append(training_section(history, monitor=training.monitor, goal=training.mode, figures=run.figures))
    sections += [facts_section(facts), recipe_section(dump_recipe(recipe))]
    path = run.path / "report.html"
    subtitle = f"{recipe.title}. {facts.get('parameters', 0):,} parameters, panel {recipe.panel}."
    report_page.write_report(path, report_page.Report(run.name, subtitle, sections))
    write_text_atomically(run.path / "card.md", card_of(run))
    return path


def card_of(run: Run, *, file: str = "") -> str:
    """The model card of a run, from what it holds.

    Args:
        run: a run folder, or a packed run.
        file: name of the file that the run is packed into, whose card has no paths of this machine; empty for the card
            of the folder.
    """
    panel = panel_of(run.recipe().panel)
    facts = without_paths(run.facts()) if file else run.facts()
    evaluations = run.evaluations() or {
        name: {"scores": scores} for name, scores in facts.get("evaluations", {}).items()
    }
    evaluated = [
        Evaluated(
            name,
            details["scores"]["n_items"],
            {key: Estimate.from_dict(value) for key, value in panel.measures(details["scores"]).items()},
            details.get("warnings", ()),
        )
        for name, details in evaluations.items()
    ]
    return card_text(name=run.name, facts=facts, use=panel.use(run.model(panel.name)), evaluated=evaluated, file=file)


def _with_origin(section: Section, details: Mapping[str, Any]) -> Section:
    origin = details.get("origin")
    place = (
        [f"On other data than the run's own: {origin['path']}, SHA-256 {origin['sha256']}."]
        if origin and "path" in origin
        else []
    )
    return replace(section, text="\n\n".join([*place, *details.get("warnings", ()), section.text]))
