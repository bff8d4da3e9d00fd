"""What a run's model says of given pairs, candidates and words: scores, alignments, orders, and data for a student."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from triptych.api.evaluation import read_for_evaluation
from triptych.api.panels import Warn, panel_of, recipe_in_use
from triptych.data.fingerprints import fingerprint_file
from triptych.data.locations import Location
from triptych.errors import RecipeError, RunError
from triptych.files import write_json
from triptych.runs.run import Run


def score(
    run: Run,
    places: Sequence[str],
    *,
    language: str | None = None,
    skip_bad: bool = False,
    device: str = "cpu",
    warn: Warn = lambda _: None,
) -> Iterator[Any]:
    """Log-probability of each pair of some files; a line has `cells` for TSV and a `document` for JSON.

    Args:
        run: the run.
        places: files laid out like the run's data; `-` is standard input, as `predict` writes.
        language: of the pairs, for a run of several languages, where their features do not name it.
        skip_bad: skip rows that cannot be read, and warn of them at the end.
        device: where the model runs.
        warn: called with sentences.
    Raises:
        RunError: the run's panel has no pairs.
        DataError: a row cannot be read; the pairs before it are answered first.
    """
    given, recipe, model = _loaded(run, device, "scores pairs", language)
    yield from given.score(model, recipe, places, skip_bad=skip_bad, warn=warn)


def align(
    run: Run,
    places: Sequence[str],
    *,
    language: str | None = None,
    skip_bad: bool = False,
    device: str = "cpu",
    warn: Warn = lambda _: None,
) -> Iterator[Any]:
    """Which source symbol each target symbol of some pairs is written from; arguments as of `score`.

    Raises:
        RunError, DataError: as of `score`.
        RecipeError: the model has no attention.
    """
    given, recipe, model = _loaded(run, device, "aligns pairs", language)
    yield from given.align(model, recipe, places, skip_bad=skip_bad, warn=warn)


def rerank(
    run: Run,
    places: Sequence[str],
    *,
    weight: float = 0.5,
    reverse: bool = False,
    language: str | None = None,
    skip_bad: bool = False,
    device: str = "cpu",
    warn: Warn = lambda _: None,
) -> Iterator[Any]:
    """Lists of candidates, as `predict` writes them, in the order of a score that this run has a part in.

    Args:
        run: the run that scores them.
        places: files of such lists; `-` is standard input.
        weight: share of the run's log-probability, in [0, 1]; the rest is the score that a candidate has.
        reverse: the run rewrites candidates as sources.
        language: as of `score`.
        skip_bad: skip rows that cannot be read, and warn of them at the end.
        device: where the model runs.
        warn: called with sentences.
    Raises:
        RunError: the run's panel has no pairs.
        RecipeError: a weight out of range.
        DataError: a row cannot be read; the lists before it are answered first.
    """
    given, _, model = _loaded(run, device, "scores candidates", language)
    yield from given.rerank(model, places, weight=weight, reverse=reverse, skip_bad=skip_bad, warn=warn)


def _loaded(run: Run, device: str, what: str, language: str | None = None) -> tuple[Any, Any, Any]:
    recipe = recipe_in_use(run)
    panel = panel_of(recipe.panel)
    if panel.given is None:
        raise RunError(f"this is a {panel.name} run; only spell {what}.", path=run.path)
    model = panel.load(run, device=device)
    return panel.given, recipe, model if language is None else model.in_language(language)


def distil(
    teacher: Run,
    words: Path,
    out: Path,
    *,
    data: Location | None = None,
    min_probability: float = 0.5,
    device: str = "cpu",
    force: bool = False,
) -> Any:
    """Write a folder to train a student on: the teacher's data, and its answers for words that have none.

    Args:
        teacher: a run, best an ensemble.
        words: a file with one word per line.
        out: the folder.
        data: the teacher's data where it lies now; by default where it was in training.
        min_probability: of the answers that are added, in (0, 1].
        device: where the teacher runs.
        force: write into a folder that is there.
    Returns:
        Numbers of pairs and words, with `to_dict`. They are in the folder too, as `distilled.json`, with the hashes of
        teacher and words.
    Raises:
        RecipeError: a probability out of range.
        RunError: the run's panel has no pairs, or the folder is there.
        DataError: data or words cannot be read, or no word gives a pair.
    """
    if not 0 < min_probability <= 1:
        raise RecipeError(field="--min-probability", value=min_probability, expected="a number in (0, 1]")
    if out.exists() and not force:
        raise RunError(
            "this exists already.", hint="Choose another folder, or replace its files with --force.", path=out
        )
    given, recipe, model = _loaded(teacher, device, "distils")
    read = read_for_evaluation(teacher, model, split="train", data=data).data
    fingerprint = fingerprint_file(words)
    found = given.distil(model, recipe, read, words, out, least=min_probability)
    about = {
        "teacher": teacher.name, "weights": teacher.weights_digest(), "words": fingerprint["sha256"],
        "min_probability": min_probability, **found.to_dict(),
    }  # fmt: skip
    write_json(out / "distilled.json", about)
    return found
