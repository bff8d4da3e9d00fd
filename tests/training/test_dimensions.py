"""What `--search` says."""

from __future__ import annotations

import optuna
import pytest

from triptych.errors import RecipeError
from triptych.training.dimensions import Choices, Dimension, Span, parse_search, settings_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("optimizer.learning_rate=0.001,0.01", Choices("optimizer.learning_rate", (0.001, 0.01))),
        ("model.hidden = 16, 32", Choices("model.hidden", (16, 32))),
        ("model.attention=dot,additive", Choices("model.attention", ("dot", "additive"))),
        ("model.tie_output=true,false", Choices("model.tie_output", (True, False))),
        ("model.hidden=16..64", Span("model.hidden", 16, 64, whole=True)),
        ("optimizer.learning_rate=1e-4..1e-1:log", Span("optimizer.learning_rate", 1e-4, 1e-1, log=True)),
        ("model.dropout=0..0.5", Span("model.dropout", 0, 0.5)),
    ],
)
def test_reads_choices_and_spans(text: str, expected: Dimension) -> None:
    assert parse_search(text) == expected
    assert parse_search(str(expected)) == expected


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("model.hidden", "key=v1,v2 or key=low..high"),
        ("=1,2", "key=v1,v2 or key=low..high"),
        ("model.hidden=", "key=v1,v2 or key=low..high"),
        ("model.hidden=1,,2", "different values, separated by commas"),
        ("model.hidden=1,1", "different values, separated by commas"),
        ("model.hidden=64..16", "low..high with low < high"),
        ("model.hidden=a..b", "low..high with low < high"),
        ("model.dropout=0..0.5:log", "low > 0 with :log"),
        ("model.dropout=0.1..0.5:lag", "low..high"),
    ],
)
def test_refuses_what_makes_no_sense(text: str, rule: str) -> None:
    with pytest.raises(RecipeError) as refused:
        parse_search(text)
    assert (refused.value.field, refused.value.value) == ("--search", text)
    assert rule in refused.value.expected


def test_keys_that_are_to_be_equal_take_one_value() -> None:
    dimension = parse_search("model.hidden , model.embedding=64,128")
    assert dimension == Choices("model.hidden,model.embedding", (64, 128))
    assert settings_of({dimension.key: 64, "x": 1}) == {"model.hidden": 64, "model.embedding": 64, "x": 1}
    with pytest.raises(RecipeError) as refused:
        parse_search("model.hidden,=64,128")
    assert refused.value.expected == "key=v1,v2 or key=low..high"


@pytest.mark.parametrize("text", ["k=3..9", "k=3..9:log", "k=0.5..0.75", "k=1e-3..1e-1:log", "k=a,b"])
def test_suggestions_lie_within(text: str) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    dimension = parse_search(text)
    drawn = [dimension.suggest(study.ask()) for _ in range(40)]
    if isinstance(dimension, Choices):
        assert set(drawn) == set(dimension.values)
        return
    numbers = [float(value) for value in drawn]
    assert dimension.low <= min(numbers) < max(numbers) <= dimension.high
    assert all(isinstance(value, int) for value in drawn) == dimension.whole
    below = sum(value < (dimension.low * dimension.high) ** 0.5 for value in numbers)
    assert not dimension.log or 10 < below < 30
