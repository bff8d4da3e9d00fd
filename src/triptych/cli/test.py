"""`triptych test`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

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
    Temperature,
    TopK,
    TopP,
    decoding_of,
)

if TYPE_CHECKING:
    from triptych.spell.panel import Evaluation


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
    device: Device = "cpu",
    json: AsJson = False,
) -> None:
    """Measure a run on its test split, under any decoding.

    Examples:

        triptych test first

        triptych test first --decode beam --beam-size 5 --n-best 3

        triptych test first --decode sample --samples 3 --top-p 0.8
    """
    from triptych import api
    from triptych.training.run import Run

    opened = Run.open(run)
    decoding = decoding_of(
        opened.recipe(), decode=decode, beam_size=beam_size, n_best=n_best, length_penalty=length_penalty,
        samples=samples, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed,
    )  # fmt: skip
    speller = api.equip(api.load(run, device=device), lexicon=lexicon, weight=lexicon_weight, dictionary=dictionary)
    label = api.decoding_label(decoding) + api.equipment_label(lexicon, lexicon_weight, dictionary)
    evaluation = api.evaluate(opened, speller, split=split, data=data, decoding=decoding, label=label)
    api.write_report(opened)
    show(evaluation, opened.name, label, as_json=json)


def show(evaluation: Evaluation, name: str, label: str, *, as_json: bool) -> dict[str, Any]:
    """Print an evaluation as a table or as JSON."""
    from triptych.cli.output import interval, print_json, print_table

    scores = evaluation.scores
    document = {"run": name, "split": evaluation.split, "decoding": label, **scores.to_dict()}
    if as_json:
        print_json(document)
        return document
    rows = [["CER", interval(scores.cer)], ["WER", interval(scores.wer)], ["mean error", interval(scores.mean_error)]]
    rows += [[f"WER@{k}", interval(estimate)] for k, estimate in enumerate(scores.wer_at_k, start=1) if k > 1]
    if scores.cer_over_predictions is not None and evaluation.decoding.method == "sample":
        assert scores.wer_over_predictions is not None
        rows.append(["CER, mean over samples", interval(scores.cer_over_predictions)])
        rows.append(["WER, mean over samples", interval(scores.wer_over_predictions)])
    print_table(
        ["measure", "value [95 % interval]"], rows, title=f"{name}, {evaluation.split}, {label}: {scores.n_items} items"
    )
    return document
