"""What requests and answers hold, with examples for the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _whole(text: str) -> str:
    """Half of a surrogate pair is no character, and could not be sent back."""
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError("expected whole characters, not half a surrogate pair")
    return text


Text = Annotated[str, AfterValidator(_whole)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class Asked(BaseModel):
    """A request: unknown keys fail."""

    model_config = ConfigDict(extra="forbid")


class ErrorAnswer(BaseModel):
    """Why there is no answer, in one sentence."""

    error: str


class SpellSettings(Asked):
    """How targets are read off the model; what is left out is as the run's recipe says."""

    method: Literal["greedy", "beam", "sample"] | None = None
    n_best: int | None = Field(default=None, ge=1, description="of beam: candidates, best first")
    beam_size: int | None = Field(default=None, ge=1, description="of beam: hypotheses kept")
    length_penalty: Number | None = Field(default=None, ge=0, le=10, description="of beam: power of the length")
    samples: int | None = Field(default=None, ge=1, description="of sample: drawn per source")
    temperature: Number | None = Field(default=None, ge=0.01, le=100, description="of sample")
    top_k: int | None = Field(default=None, ge=0, le=1_000_000, description="of sample: symbols drawn from; 0 all")
    top_p: Number | None = Field(default=None, gt=0, le=1, description="of sample: probability mass drawn from")
    seed: int | None = Field(default=None, ge=0, lt=2**63, description="of sample")


class SpellRequest(SpellSettings):
    """Texts to predict targets for."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"sources": ["K AE T"]},
                {"sources": ["K AE T", "D AO G"], "method": "beam", "n_best": 3},
                {"sources": ["K AE T"], "method": "sample", "samples": 3, "top_p": 0.8, "seed": 1},
            ]
        },
    )
    sources: list[Text] = Field(min_length=1, description="in the run's own notation, such as phonemes with spaces")


class SpellExplainRequest(SpellSettings):
    """One text whose prediction is to be explained."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"source": "K AE T", "method": "beam", "n_best": 3}]}
    )
    source: Text


class CandidateAnswer(BaseModel):
    """One predicted target; `score` is what the decoder ranked by, `log_probability` the model's, in nats."""

    text: str
    symbols: list[str]
    score: float
    log_probability: float
    probability: float


class PredictionAnswer(BaseModel):
    """The candidates for one source, best first; `unknown` are symbols that training never showed."""

    source: str
    symbols: list[str]
    unknown: list[str]
    candidates: list[CandidateAnswer]


class SpellAnswer(BaseModel):
    """Predictions in the order of the sources, and the settings they were decoded with."""

    run: str
    decoding: dict[str, Any]
    predictions: list[PredictionAnswer]


class SpellExplainAnswer(SpellAnswer):
    """`attention`: of the best candidate, a row per target symbol and one for the end; null without attention."""

    attention: list[list[float]] | None


class ClassAnswer(BaseModel):
    """A class and its probability, in [0, 1]."""

    name: str
    probability: float


class SeeAnswer(BaseModel):
    """The most probable classes, best first."""

    run: str
    classes: list[ClassAnswer]


class SeeExplainAnswer(SeeAnswer):
    """What the network saw.

    `maps` are activations of a convolution by channel, row and column; `grad_cam` and `integrated_gradients` say, by
    row and column, what spoke for `explained_class`.
    """

    layer: str
    channels: int
    maps: list[list[list[float]]]
    explained_class: str
    grad_cam: list[list[float]]
    integrated_gradients: list[list[float]]


class RetrieveRequest(Asked):
    """Cues to recall from."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"cues": [[0.9, 0.1, 0.0]]},
                {"cues": [[0.9, 0.1, 0.0]], "known": [[True, True, False]], "max_steps": 10, "trace": True},
            ]
        },
    )
    cues: list[list[Number]] = Field(min_length=1, description="rows as wide as the stored patterns")
    known: list[list[bool]] | None = Field(
        default=None, description="true where a cue is known; what it holds elsewhere is not looked at"
    )
    max_steps: int = Field(default=20, ge=1, description="updates at most")
    trace: bool = Field(default=False, description="tell the state and energy after every update")


class TraceAnswer(BaseModel):
    """States on the patterns' own scale, and their energies, the cue first; the energy never rises."""

    states: list[list[float]]
    energies: list[float]


class RecallAnswer(BaseModel):
    """What one cue recalled, and how sure that is.

    `energy` and `entropy` (nats) are of the state that was reached, `distance` is to the nearest pattern `id`, both
    normalised; `novelty` is of the cue itself, and `novel` is null unless the memory is calibrated.
    """

    value: list[float]
    id: int
    label: str | None
    distance: float
    energy: float
    entropy: float
    steps: int
    converged: bool
    novelty: float | None
    novel: bool | None
    trace: TraceAnswer | None = None


class RetrieveAnswer(BaseModel):
    """Recalls in the order of the cues."""

    memory: str
    beta: float
    recalls: list[RecallAnswer]


class AddRequest(Asked):
    """Patterns to store."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"patterns": [[0.9, 0.1, 0.0]], "labels": ["first"]}]}
    )
    patterns: list[list[Number]] = Field(min_length=1)
    labels: list[Annotated[Text, Field(max_length=200)] | None] | None = None
    values: list[list[Number]] | None = Field(default=None, description="where the memory has values, and only there")


class AddAnswer(BaseModel):
    """Ids of the patterns that were stored."""

    memory: str
    ids: list[int]
    patterns: int


class MemoryCard(BaseModel):
    """What a memory is."""

    name: str
    patterns: int
    width: int
    value_width: int | None
    beta: float
    normalisation: str
    precision: str
    novelty: dict[str, Any] | None
    may_add: bool


class PatternName(BaseModel):
    """A stored pattern."""

    id: int
    label: str | None


class PatternList(BaseModel):
    """Some of a memory's patterns, in the order they were added."""

    total: int
    patterns: list[PatternName]


class PatternAnswer(PatternName):
    """A stored pattern as it was given, and what it recalls."""

    pattern: list[float]
    value: list[float]


class ServiceAnswer(BaseModel):
    """What this server serves: cards of runs and memories, and its bounds."""

    version: str
    runs: list[dict[str, Any]]
    memories: list[MemoryCard]
    limits: dict[str, float]


class Health(BaseModel):
    """How the server is."""

    status: str
