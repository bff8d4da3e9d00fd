"""The evaluation of a speller in a report: scores, examples, worst errors, frequent edits, errors by length.

`details` takes them from the predictions once, as plain values that are kept in the run; `section` shows them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from triptych.files import write_tsv
from triptych.report.canvas import save, symbol_label
from triptych.report.figures import confusion_bars, error_by_length
from triptych.report.html import Picture, Section
from triptych.report.tables import Cell, Table
from triptych.spell.metrics import (
    ErrorRow,
    Example,
    ItemResult,
    Scores,
    Symbols,
    by_length,
    confusions,
    error_rows,
    examples,
    nearest_reference,
    worst,
)
from triptych.statistics import Estimate
from triptych.text.symbols import Vocabularies

EXAMPLES = 12
WORST = 25
CONFUSIONS = 100
BETWEEN_REFERENCES = " / "
PREDICTION_COLUMNS = ("source", "references", "prediction", "log_probability", "edits", "reference_length")


def details(items: Sequence[ItemResult], scores: Scores, vocabularies: Vocabularies) -> dict[str, Any]:
    """Evaluation details as JSON values."""
    write = _Writer(vocabularies)
    return {
        "scores": scores.to_dict(),
        "examples": [
            [write.given(e), write.references(e.references), ", ".join(write.target(p) for p in e.predictions)]
            for e in examples(items, EXAMPLES)
        ],
        "worst": [
            [write.given(w), write.references(w.references), write.target(w.prediction), w.edits]
            for w in worst(items, WORST)
        ],
        "confusions": [list(confusion) for confusion in confusions(items)[:CONFUSIONS]],
        "by_length": [
            {"label": part.label, "items": part.scores.n_items, "cer": part.scores.cer.to_dict()}
            for part in by_length(items, _edges(items), samples=1000)
        ],
    }


def write_predictions(folder: Path, name: str, items: Sequence[ItemResult], vocabularies: Vocabularies) -> None:
    """Write every item's predictions, and the wrong ones again as the error list: `name`.tsv, `name`.errors.tsv.

    Of a model with features they are a last column.
    """
    write = _Writer(vocabularies)
    of_model = ["features"] if vocabularies.features is not None else []
    most = max(len(item.predictions) for item in items)
    further = [f"{column}_{k}" for k in range(2, most + 1) for column in ("prediction", "log_probability")]
    rows = []
    for item in items:
        near = nearest_reference(item.predictions[0], item.references)
        row = [write.source(item.source), write.references(item.references)]
        row += [write.target(item.predictions[0]), f"{item.log_probabilities[0]:.4f}"]
        row += [str(near.edits), str(len(near.reference))]
        for prediction, log_probability in zip(item.predictions[1:], item.log_probabilities[1:], strict=True):
            row += [write.target(prediction), f"{log_probability:.4f}"]
        row += [""] * (2 * (most - len(item.predictions))) if of_model else []
        rows.append(row + [write.features(item.features) for _ in of_model])
    write_tsv(folder / f"{name}.tsv", [*PREDICTION_COLUMNS, *further, *of_model], rows)
    wrong = [
        [
            write.source(error.source),
            write.references(error.references),
            write.target(error.prediction),
            f"{error.log_probability:.4f}",
            str(error.edits),
            str(error.reference_length),
            *(write.features(error.features) for _ in of_model),
        ]
        for error in error_rows(items)
    ]
    write_tsv(folder / f"{name}.errors.tsv", [*PREDICTION_COLUMNS, *of_model], wrong)


def section(name: str, evaluation: Mapping[str, Any], figures: Path) -> Section:
    """The part of the report about one evaluation; its figures are also written as PNG and SVG.

    Args:
        name: of the evaluation.
        evaluation: `details` of it, and under `decoding` how predictions were made.
        figures: folder for the figures.
    """
    lengths = error_by_length(
        [(part["label"], Estimate.from_dict(part["cer"]), part["items"]) for part in evaluation["by_length"]],
        measure="CER",
    )
    stem = name.replace("/", "-")
    saved = save(lengths, figures, f"{stem}-error-by-length")
    pictures = [
        Picture.from_figure(
            lengths,
            alt=f"Character error rate by source length, {name}",
            caption="Character error rate by source length.",
            saved=saved,
        )
    ]
    if evaluation["confusions"]:
        bars = confusion_bars([(a, b, n) for a, b, n in evaluation["confusions"]])
        saved = save(bars, figures, f"{stem}-confusions")
        pictures.append(
            Picture.from_figure(
                bars,
                alt=f"Most frequent edits, {name}",
                caption="Most frequent edits, reference to prediction.",
                saved=saved,
            )
        )
    return Section(
        title=f"Evaluation {name}",
        tables=[
            scores_table(evaluation["scores"], sampled=evaluation.get("decoding", {}).get("method") == "sample"),
            *_by_language(evaluation["scores"]),
            Table("Examples, drawn at random", ["source", "references", "predictions"], evaluation["examples"]),
            Table(
                "Worst errors, by edits per reference symbol",
                ["source", "references", "prediction", "edits"],
                evaluation["worst"],
            ),
            Table(
                "Most frequent edits",
                ["reference", "predicted", "times"],
                [[symbol_label(a), symbol_label(b), n] for a, b, n in evaluation["confusions"][:40]],
                caption="x → ∅ is a deletion, ∅ → x an insertion, x → y a substitution.",
            ),
        ],
        figures=pictures,
    )


def overview(evaluations: Mapping[str, Mapping[str, Any]]) -> Section:
    """All evaluations of a run in one table."""
    rows: list[list[Cell]] = []
    for name, evaluation in evaluations.items():
        scores = evaluation["scores"]
        at_three = scores.get("wer_at_k", {}).get("3")
        measures: list[Cell] = [Estimate.from_dict(scores[key]) for key in ("cer", "wer", "mean_error")]
        rows.append([name, scores["n_items"], *measures, None if at_three is None else Estimate.from_dict(at_three)])
    columns = ["evaluation", "items", "CER", "WER", "mean error", "WER@3"]
    return Section("Overview", tables=[Table("Evaluations", columns, rows, caption="With 95 % intervals.")])


def scores_table(scores: Mapping[str, Any], *, sampled: bool = False) -> Table:
    """Error rates with their intervals; those over all samples where predictions were sampled."""
    names = {
        "cer": "CER: edits / reference symbols",
        "wer": "WER: items not exactly right",
        "mean_error": "mean error: edits / reference symbols, averaged over items",
        "from_dictionary": "share of items answered by a dictionary or from the training pairs",
    }
    if sampled:
        names |= {
            "cer_over_predictions": "CER, mean over an item's samples",
            "wer_over_predictions": "WER, mean over an item's samples",
        }
    rows: list[list[Cell]] = [[text, Estimate.from_dict(scores[key])] for key, text in names.items() if key in scores]
    for k, value in scores.get("wer_at_k", {}).items():
        if int(k) > 1:
            rows.append([f"WER@{k}: no reference among the top {k}", Estimate.from_dict(value)])
    level = f"{100 * scores['cer']['level']:g}"
    return Table(
        f"Scores over {scores['n_items']} items", ["measure", f"value [{level} % interval]"], rows, digits=4,
        caption="Intervals: Wilson's for WER, bootstrap over items for the rest.",
    )  # fmt: skip


def _by_language(scores: Mapping[str, Any]) -> list[Table]:
    """Error rates of each language, and of all items; no table where there is one language."""
    languages = {**scores.get("languages", {}), "all": scores}
    rows: list[list[Cell]] = [
        [name, own["n_items"], *(Estimate.from_dict(own[key]) for key in ("cer", "wer", "mean_error"))]
        for name, own in languages.items()
    ]
    columns = ["language", "items", "CER", "WER", "mean error"]
    return [Table("Scores by language", columns, rows, digits=4)] if len(languages) > 1 else []


class _Writer:
    """Symbols as text."""

    def __init__(self, vocabularies: Vocabularies) -> None:
        self.source = vocabularies.source_tokenizer.join
        self.target = vocabularies.target_tokenizer.join
        self.features = vocabularies.join_features

    def given(self, item: ErrorRow | Example) -> str:
        """The source, and its features where there are any."""
        source = self.source(item.source)
        return f"{source} [{self.features(item.features)}]" if item.features else source

    def references(self, references: Sequence[Symbols]) -> str:
        return BETWEEN_REFERENCES.join(self.target(reference) for reference in references)


def _edges(items: Sequence[ItemResult]) -> list[int]:
    """Rising edges that cut the source lengths into at most six parts of about equal size, of at least 20 items."""
    lengths = sorted(len(item.source) for item in items)
    parts = max(1, min(6, len(lengths) // 20))
    edges = {lengths[len(lengths) * part // parts] for part in range(1, parts)}
    return sorted(edge for edge in edges if edge > lengths[0])
