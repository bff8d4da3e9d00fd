"""What `triptych demo spell` trains and shows; implements `triptych.api.panels.Demo`."""

from __future__ import annotations

from typing import Any

from triptych.runs.run import Run
from triptych.spell.metrics import examples

RECIPE = "demo-spell"
SOURCE = "R IH M EY N D ER"


def example(_run: Run, _evaluation: Any) -> str:
    """The source to explain."""
    return SOURCE


def headline(evaluation: Any) -> list[tuple[str, Any, str]]:
    """Name, estimate and meaning of the main figures."""
    scores = evaluation.scores
    return [
        ("CER", scores.cer, "edits per letter, with its 95 % interval"),
        ("WER", scores.wer, "share of words not exactly right"),
    ]


def items(evaluation: Any) -> str:
    """Number of items tested."""
    return f"{evaluation.scores.n_items} words"


def table(evaluation: Any) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of some predictions."""
    rows = []
    for item in examples(evaluation.items, 12):
        predicted = "".join(item.predictions[0])
        truth = " / ".join("".join(reference) for reference in item.references)
        right = any(item.predictions[0] == reference for reference in item.references)
        rows.append([" ".join(item.source), truth, predicted, "right" if right else ""])
    return ["phonemes", "truth", "predicted", ""], rows


def next_commands(name: str, source: str) -> list[str]:
    """Commands to try next."""
    return [
        f'echo "{source}" | triptych predict {name} --n-best 3',
        f"triptych test {name} --decode beam --n-best 3",
        "triptych train p2g-additive --data FILE.tsv --name mine   # your pairs: phonemes, tab, word",
    ]
