"""The speller of an exported folder: the same `Speller` as a run's, over graphs."""

from __future__ import annotations

from triptych.config.decoding import checked
from triptych.decoding.speller import Speller
from triptych.decoding.voting import speller_of
from triptych.errors import DataError, MissingExtraError, RecipeError, RunError
from triptych.runtime.folder import Exported
from triptych.runtime.network import GraphModel
from triptych.text.predictions import Candidate, Prediction
from triptych.text.remembered import read_remembered
from triptych.text.symbols import Vocabularies

__all__ = ["Candidate", "Prediction", "Speller", "Vocabularies", "load"]


def load(exported: Exported, *, threads: int = 1) -> Speller:
    """The speller of an exported folder.

    Raises:
        RunError: its description is damaged.
        MissingExtraError: ONNX Runtime is not installed, or `regex`, which splitting into graphemes requires.
    """
    model = exported.model
    try:
        vocabularies = Vocabularies.read(model)
        decoding = checked(model["decoding"])
        members = [
            GraphModel(
                exported.session(member["encoder"], threads=threads),
                exported.session(member["step"], threads=threads),
                boundaries=member["boundaries"],
            )
            for member in model["members"]
        ]
    except (KeyError, TypeError, ValueError, AttributeError, DataError, RecipeError) as error:
        raise RunError(
            f"the description of the speller is damaged ({error}).",
            hint="Export the run again.",
            path=exported.manifest,
        ) from None
    if not members:
        raise RunError(
            field="members",
            value=model["members"],
            expected="one model or more",
            hint="Export the run again.",
            path=exported.manifest,
        )
    _check_graphemes(vocabularies)
    speller = speller_of(members, model, Vocabularies.read, decoding)
    entries = read_remembered(exported.content, exported.path, model, vocabularies)
    return speller if entries is None else speller.with_remembered(entries)


def _check_graphemes(vocabularies: Vocabularies) -> None:
    """Fail at once, not at the first word, when texts cannot be split."""
    if "graphemes" in (vocabularies.source_tokenizer.unit, vocabularies.target_tokenizer.unit):
        try:
            vocabularies.source_tokenizer.split("a")
            vocabularies.target_tokenizer.split("a")
        except ImportError:
            raise MissingExtraError("regex", "onnx") from None
