"""`triptych test`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from triptych.cli.options import (
    AsJson,
    BeamSize,
    DataPath,
    DecodeMethod,
    Device,
    DictionaryFile,
    LengthPenalty,
    LexiconFile,
    LexiconWeight,
    NBest,
    RunName,
    Samples,
    Seed,
    SkipBadFiles,
    SkipBadRows,
    Temperature,
    TopK,
    TopP,
    Views,
    decoding_of,
    reject,
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("test")(measure)


def measure(
    run: RunName,
    data: DataPath = None,
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "test",
    decode: DecodeMethod = None,
    beam_size: BeamSize = None,
    n_best: NBest = None,
    length_penalty: LengthPenalty = None,
    samples: Samples = None,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    seed: Seed = None,
    lexicon: LexiconFile = None,
    lexicon_weight: LexiconWeight = None,
    dictionary: DictionaryFile = None,
    views: Views = None,
    skip_bad_rows: SkipBadRows = False,
    skip_bad_files: SkipBadFiles = False,
    device: Device = "cpu",
    json: AsJson = False,
) -> None:
    """Measure a run on its test split, under any decoding.

    Examples:

        triptych test first

        triptych test first --decode beam --beam-size 5 --n-best 3

        triptych test first --decode sample --samples 3 --top-p 0.8

        triptych test pictures --views flips

        triptych test pictures --data holiday --skip-bad-files
    """
    from triptych import api
    from triptych.api.panels import panel_of
    from triptych.cli.output import warn
    from triptych.config import SeeRecipe, with_changes
    from triptych.runs.run import Run

    opened = Run.open(run)
    recipe = opened.recipe_in_use()
    read_by: dict[str, Any] = {
        "decode": decode,
        "beam_size": beam_size,
        "n_best": n_best,
        "length_penalty": length_penalty,
        "samples": samples,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "seed": seed,
    }
    equipment: dict[str, Any] = {"lexicon": lexicon, "lexicon_weight": lexicon_weight, "dictionary": dictionary}
    decoding: Any
    if isinstance(recipe, SeeRecipe):
        reject("see", {**read_by, **equipment, "skip_bad_rows": skip_bad_rows})
        decoding = with_changes(recipe, {} if views is None else {"decoding.views": views}).decoding
        model, label = api.load(run, device=device), panel_of(recipe.panel).label(decoding)
    else:
        reject("spell", {"views": views, "skip_bad_files": skip_bad_files})
        decoding = decoding_of(recipe, **read_by)
        model = api.equip(
            api.load(run, device=device), lexicon=lexicon, weight=lexicon_weight, dictionary=dictionary, warn=warn
        )
        label = panel_of(recipe.panel).label(decoding) + api.equipment_label(lexicon, lexicon_weight, dictionary)
    found = api.read_to_judge(opened, model, split=split, data=data, skip_bad=skip_bad_rows or skip_bad_files)
    warn([*found.data.warnings, *found.warnings])
    label += found.label_end
    evaluation = api.evaluate(
        opened,
        model,
        split=split,
        decoding=decoding,
        label=label,
        read=found.data,
        origin=found.origin,
        warnings=found.warnings,
    )
    api.write_report(opened)
    show(evaluation, opened.name, label, panel=recipe.panel, as_json=json)


def show(evaluation: Any, name: str, label: str, *, panel: str, as_json: bool) -> None:
    """Print an evaluation as a table or as JSON."""
    from triptych.api.panels import panel_of
    from triptych.cli.output import interval, print_json, print_table
    from triptych.statistics import Estimate

    scores = evaluation.scores
    document = {"run": name, "split": evaluation.split, "decoding": label, **scores.to_dict()}
    if as_json:
        print_json(document)
        return
    measured = panel_of(panel).measures(scores.to_dict())
    rows = [[measure, interval(Estimate.from_dict(value))] for measure, value in measured.items()]
    title = f"{name}, {evaluation.split}, {label}: {scores.n_items} items"
    print_table(["measure", "value [95 % interval]"], rows, title=title)
