"""Figures of a speller's attention for each symbol of its prediction."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from triptych.config import SpellDecoding
from triptych.decoding import Speller
from triptych.report.canvas import file_stem, save
from triptych.report.figures import attention_map
from triptych.text.predictions import ONLY_COPIED, POOR, Prediction
from triptych.text.symbols import quoted

CANDIDATES = 3  # listed where nothing else is asked for


@dataclass(frozen=True)
class Explanation:
    """Why a speller predicted what it did.

    Attributes:
        prediction: the candidates; the first is what `predict` with the same settings gives.
        weights: attention of the first candidate over source symbols, a row per target symbol and one for the end;
            None without attention.
        picture: the figure of them; None without attention.
        copies: whether the model can copy source symbols that training never showed.
    """

    prediction: Prediction
    weights: list[list[float]] | None
    picture: Path | None
    copies: bool = False

    @property
    def title(self) -> str:
        """The source as text, with its features where there are any."""
        features = f"  [{' '.join(self.prediction.features)}]" if self.prediction.features else ""
        return " ".join(self.prediction.source) + features

    @property
    def several(self) -> str:
        """Name of a list of such explanations in JSON."""
        return ""

    @property
    def figures(self) -> Mapping[str, Path]:
        """Figures by what they show."""
        return {} if self.picture is None else {"attention map": self.picture}

    @property
    def notes(self) -> list[str]:
        """Sentences for the person who reads the table."""
        notes = []
        for names, expected in (
            (self.prediction.unknown, ONLY_COPIED if self.copies else POOR),
            (self.prediction.unknown_features, POOR),
        ):
            if names:
                listed = ", ".join(map(quoted, names))
                notes.append(f"warning: {listed} never seen in training; {expected}.")
        if self.picture is None:
            notes.append(
                "This model has no attention to draw. Train one that has, for example: triptych train p2g-additive"
            )
        return notes

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Columns and rows of the candidates."""
        rows = [
            [each.text or "(empty)", f"{each.log_probability:.3f}", f"{each.probability:.3f}"]
            for each in self.prediction.candidates
        ]
        return ["candidate", "log-probability", "probability"], rows

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "source": self.prediction.source,
            **({"features": self.prediction.features} if self.prediction.features else {}),
            "candidates": [
                {"text": each.text, "symbols": each.symbols, "log_probability": each.log_probability}
                for each in self.prediction.candidates
            ],
            "attention": self.weights,
            "picture": None if self.picture is None else str(self.picture),
        }


def explained(
    speller: Speller,
    source: str,
    *,
    features: str | None = None,
    decoding: SpellDecoding,
    out: Path,
    n_best: int | None = None,
) -> Explanation:
    """Predict one source and draw where the model attended.

    Args:
        speller: the model.
        source: one source as text.
        features: of the source, as text, for a model with features.
        decoding: how to decode; the explained candidate is the first that it gives.
        out: folder for the figure.
        n_best: candidates to list, of a beam behind the explained one where the decoding gives fewer.
    """
    decoding = decoding.model_copy(update={"remembered": False})  # what is explained is the model
    prediction = speller.predict(source, features=features, decoding=decoding, with_attention=True)[0]
    wanted = n_best or CANDIDATES
    if decoding.method != "sample" and len(prediction.candidates) < wanted:
        others = speller.predict(source, features=features, decoding=decoding.for_candidates(wanted))[0].candidates
        known = {candidate.symbols for candidate in prediction.candidates}
        further = [candidate for candidate in others if candidate.symbols not in known]
        prediction = replace(prediction, candidates=(*prediction.candidates, *further)[:wanted])
    attention = prediction.attention
    if attention is None:
        return Explanation(prediction, None, None, speller.copies)
    figure = attention_map(attention, prediction.source, prediction.symbols)
    given = "\0".join((*prediction.source, *prediction.features))
    digest = hashlib.sha256(given.encode()).hexdigest()[:6]  # homophones share their target
    saved = save(figure, out, f"attention-{file_stem(prediction.text)}-{digest}")
    return Explanation(prediction, attention.tolist(), saved.png, speller.copies)
