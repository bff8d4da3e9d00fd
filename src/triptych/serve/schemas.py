"""Bodies of requests and answers, with examples for the OpenAPI document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Optional

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model

from triptych.api.serving import DECODING_SETTINGS, MemoryInfo, RetrievedAnswer, ServeLimits, SpellDecoding


def _whole(text: str) -> str:
    """Refuse half a surrogate pair, which is not a character and could not be sent back."""
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError("expected whole characters, not half a surrogate pair")
    return text


Text = Annotated[str, AfterValidator(_whole)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class Asked(BaseModel):
    """A request; unknown keys fail."""

    model_config = ConfigDict(extra="forbid")


class ErrorAnswer(BaseModel):
    """Reason of a refusal: a sentence, and the field or limit that it is about."""

    error: str
    field: str | None = None


def _spell_settings() -> type[Asked]:
    """The settings of the decoding table that requests may change, each optional, with its rule and description."""
    fields: dict[str, Any] = {}
    for name in DECODING_SETTINGS:
        declared = SpellDecoding.model_fields[name]
        kind: Any = Annotated[declared.annotation, *declared.metadata] if declared.metadata else declared.annotation
        text = (declared.description or "").strip()
        fields[name] = (Optional[kind], Field(default=None, description=text or None))  # noqa: UP045 - not a literal
    return create_model("SpellSettings", __base__=Asked, **fields)


SpellSettings = _spell_settings()


class SpellRequest(SpellSettings):  # type: ignore[valid-type, misc]
    """Sources to predict targets for; settings that are missing are the run's own."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"sources": ["K AE T"]},
                {"sources": ["K AE T", "D AO G"], "method": "beam", "n_best": 3},
                {"sources": ["K AE T"], "alignment": True},
                {"sources": ["K AE T"], "method": "sample", "samples": 3, "top_p": 0.8, "seed": 1},
                {"sources": ["walk"], "features": ["V;PST"]},
                {"sources": ["huis"], "language": "dut"},
                {"text": "Vnd er ſprach: ja!"},
            ],
            "oneOf": [
                {"required": [name], "properties": {name: {"type": kind}}}
                for name, kind in (("sources", "array"), ("text", "string"))
            ],
        },
    )
    sources: list[Text] | None = Field(
        default=None, min_length=1, description="in the run's own notation, such as phonemes with spaces"
    )
    text: Text | None = Field(
        default=None,
        min_length=1,
        description="running text in place of sources, whose words are predicted, and the rest is kept",
    )
    features: list[Text] | None = Field(
        default=None,
        description="of each source, in the run's own notation, such as V;PST, for a run with features; one for all "
        "words of a text",
    )
    language: Text | None = Field(default=None, description="of all sources, for a run of several languages")
    alignment: bool = Field(default=False, description="give each candidate's places in the source")


class SpellExplainRequest(SpellSettings):  # type: ignore[valid-type, misc]
    """One source whose prediction is explained; settings that are missing are the run's own."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"source": "K AE T", "method": "beam", "n_best": 3}]})
    source: Text
    features: Text | None = Field(default=None, description="of the source, for a run with features")
    language: Text | None = Field(default=None, description="of the source, for a run of several languages")


class AlignmentAnswer(BaseModel):
    """For each target symbol the place, from 0, of the source symbol that it is written from; null at a boundary.

    `kind` is `walk` for the most probable walk of hard monotonic attention, and `attention` for the heaviest path
    through soft weights that never goes back. `text` is the same as a person reads it.
    """

    model_config = ConfigDict(from_attributes=True)
    places: Sequence[int | None]
    text: str
    kind: str


class CandidateAnswer(BaseModel):
    """One predicted target; `score` is what the decoder ranked by, `log_probability` the model's, in nats.

    `finished` is false where the limit on the length cut the target before its end. `alignment` is null unless it was
    asked for. `origin` is `dictionary` where the target is one that training had, and not the model's.
    """

    model_config = ConfigDict(from_attributes=True)
    text: str
    symbols: Sequence[str]
    score: float
    log_probability: float
    probability: float
    finished: bool
    origin: str
    alignment: AlignmentAnswer | None = None


class PredictionAnswer(BaseModel):
    """The candidates for one source, best first.

    `unknown` are symbols and `unknown_features` features that did not occur in training. `language` is empty for a run
    of one language.
    """

    source: str
    symbols: list[str]
    unknown: list[str]
    features: list[str]
    unknown_features: list[str]
    language: str = ""
    candidates: list[CandidateAnswer]


class TextAnswer(BaseModel):
    """A text, the same with its words predicted, and the sum of their log-probabilities, in nats."""

    model_config = ConfigDict(from_attributes=True)
    text: str
    prediction: str
    log_probability: float


class SpellAnswer(BaseModel):
    """Predictions in the order of the sources, and the settings they were decoded with.

    Of running text, `predictions` are those of its different words, and `text` is the whole.
    """

    run: str
    decoding: dict[str, Any]
    predictions: list[PredictionAnswer]
    text: TextAnswer | None = None


class SpellExplainAnswer(SpellAnswer):
    """`attention`: of the best candidate, a row per target symbol and one for the end; null without attention."""

    attention: list[list[float]] | None


class ScoreRequest(Asked):
    """Pairs of source and target that the model gives an account of."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"pairs": [["K AE T", "cat"]]}]})
    pairs: list[tuple[Text, Text]] = Field(min_length=1, description="source and target, in the run's own notation")
    features: list[Text] | None = Field(default=None, description="of each source, for a run with features")
    language: Text | None = Field(default=None, description="of all sources, for a run of several languages")
    alignment: bool = Field(default=False, description="give each target symbol's place in the source")


class PairAnswer(BaseModel):
    """What the model says of a pair, in nats; log-probabilities are null where the model cannot write a symbol.

    `log_probabilities` are of each target symbol and of the end, `per_symbol` is their mean; `unknown_source` and
    `unknown_target` are symbols that did not occur in training.
    """

    source: str
    target: str
    log_probability: float | None
    per_symbol: float | None
    log_probabilities: list[float | None]
    unknown_source: list[str]
    unknown_target: list[str]
    alignment: AlignmentAnswer | None = None


class ScoreAnswer(BaseModel):
    """Accounts in the order of the pairs."""

    run: str
    pairs: list[PairAnswer]


class ClassAnswer(BaseModel):
    """A class and its probability, in [0, 1]."""

    name: str
    probability: float


class SeeAnswer(BaseModel):
    """The most probable classes, best first."""

    run: str
    classes: list[ClassAnswer]


class SeeExplainAnswer(SeeAnswer):
    """Explanation of an image.

    `maps` are activations of a convolution by channel, row and column; `grad_cam` and `integrated_gradients` are the
    evidence for `explained_class` by row and column.
    """

    layer: str
    channels: int
    maps: list[list[list[float]]]
    explained_class: str
    grad_cam: list[list[float]]
    integrated_gradients: list[list[float]]


class RetrieveRequest(Asked):
    """Cues to retrieve patterns with."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"cues": [[0.9, 0.1, 0.0]]},
                {"cues": [[0.9, 0.1, 0.0]], "known": [[True, True, False]], "max_steps": 10, "trace": True},
            ]
        },
    )
    cues: list[list[Number]] = Field(min_length=1, description="rows as wide as the stored patterns")
    known: list[list[bool]] | None = Field(
        default=None, description="true where a cue is known; its numbers elsewhere are ignored"
    )
    max_steps: int = Field(default=20, ge=1, description="updates at most")
    trace: bool = Field(default=False, description="include the state and energy after every update")


class RetrieveAnswer(BaseModel):
    """Retrievals, in the order of the cues."""

    memory: str
    beta: float
    recalls: Sequence[RetrievedAnswer]


class AddRequest(Asked):
    """Patterns to store."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"patterns": [[0.9, 0.1, 0.0]], "labels": ["first"]}]})
    patterns: list[list[Number]] = Field(min_length=1)
    labels: list[Annotated[Text, Field(max_length=200)] | None] | None = None
    values: list[list[Number]] | None = Field(default=None, description="required where the memory has values")


class AddAnswer(BaseModel):
    """Ids of the patterns that were stored, and the number of patterns now."""

    memory: str
    ids: list[int]
    patterns: int


class PatternName(BaseModel):
    """A stored pattern."""

    id: int
    label: str | None


class PatternList(BaseModel):
    """Some of a memory's patterns, in the order they were added."""

    total: int
    patterns: list[PatternName]


class ServiceAnswer(BaseModel):
    """The server's runs, memories and limits."""

    version: str
    runs: list[dict[str, Any]]
    memories: list[MemoryInfo]
    limits: ServeLimits


class Health(BaseModel):
    """The state of the server."""

    status: str
