"""What is given with the sources of a spell model, and what its predictions come with: options of commands alone."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from triptych.config.common import NonNegativeFloat, Table


class SpellWordLists(Table):
    """Word lists for testing and predicting with a spell run."""

    lexicon: Path | None = Field(
        default=None, description="word list, one target per line; only its words are predicted"
    )
    lexicon_weight: NonNegativeFloat | None = Field(
        default=None,
        description="with --lexicon: allow other words too, at this cost in nats; 0 = no penalty, 5 = strong penalty",
    )
    dictionary: Path | None = Field(default=None, description="pairs whose targets replace the model's predictions")


class SpellFeatures(Table):
    """What a model with features is asked about beside a source."""

    features: str | None = Field(
        default=None, description="of the source, written as in the run's data, for a run with features: 'V;PST'"
    )


class SpellLanguage(Table):
    """What a model of several languages is asked about beside a source."""

    language: str | None = Field(
        default=None, description="of the sources, one of the run's, for a run of several languages"
    )


class SpellOutput(Table):
    """What predictions come with."""

    alignment: bool = Field(
        default=False, description="add a column after each log-probability: what is written from which source symbol"
    )
    text: bool = Field(
        default=False,
        description="read running text: predict its words, and keep white space, punctuation and numbers",
    )
