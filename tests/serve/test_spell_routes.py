"""The server predicts what the speller predicts, alone and among others."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import requests

from tests.messages import check_message
from tests.serve.answers import check_refusal
from tests.serve.running import running
from triptych.api.serving import DECODING_SETTINGS, Catalogue, fitted_limits
from triptych.config import SpellDecoding
from triptych.config.serve import ServeLimits
from triptych.errors import RecipeError
from triptych.serve.app import build_app

SOURCES = ["K AA T", "SH IY", "B UW M EH S", "F IY K AA"]


def ask(url: str, route: str, **body: Any) -> requests.Response:
    return requests.post(f"{url}/v1/spell/first/{route}", json=body, timeout=30)


def test_candidates_and_scores_are_the_spellers(url: str, catalogue: Catalogue) -> None:
    answer = ask(url, "predict", sources=SOURCES, method="beam", n_best=3).json()
    expected = catalogue.spellers["first"].speller.predict(SOURCES, n_best=3)
    assert answer["decoding"]["beam_size"] == 5
    for given, found in zip(expected, answer["predictions"], strict=True):
        assert found["symbols"] == list(given.source)
        assert [one["text"] for one in found["candidates"]] == [one.text for one in given.candidates]
        assert [one["score"] for one in found["candidates"]] == pytest.approx([one.score for one in given.candidates])
        assert found["candidates"][0]["probability"] == pytest.approx(given.best.probability)


def test_samples_depend_on_the_request_alone(url: str, catalogue: Catalogue) -> None:
    settings = {"method": "sample", "samples": 4, "top_p": 0.9, "temperature": 2.0, "seed": 7}
    given = catalogue.spellers["first"].speller.predict(SOURCES, decoding=SpellDecoding.model_validate(settings))
    expected = [[one.text for one in prediction.candidates] for prediction in given]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: ask(url, "predict", sources=SOURCES, **settings).json(), range(8)))
    for answer in answers:
        assert [[one["text"] for one in found["candidates"]] for found in answer["predictions"]] == expected
    assert len({text for row in expected for text in row}) > len(SOURCES)


def test_requests_at_once_are_computed_together_and_not_mixed_up(url: str, catalogue: Catalogue) -> None:
    words = [f"{first} {second}" for first in ("B", "K", "S", "T", "M", "SH") for second in ("AA", "IY", "UW", "EH")]
    expected = [prediction.text for prediction in catalogue.spellers["first"].speller.predict(words, n_best=2)]
    before = counted(url)
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda word: ask(url, "predict", sources=[word], n_best=2), words))
    assert [answer.json()["predictions"][0]["candidates"][0]["text"] for answer in answers] == expected
    after = counted(url)
    jobs = after["triptych_batch_requests_sum"] - before["triptych_batch_requests_sum"]
    batches = after["triptych_batch_requests_count"] - before["triptych_batch_requests_count"]
    assert jobs == len(words)
    assert batches < jobs


def counted(url: str) -> dict[str, float]:
    lines = requests.get(f"{url}/metrics", timeout=30).text.splitlines()
    return {line.split()[0]: float(line.split()[1]) for line in lines if not line.startswith("#")}


def test_attention_is_the_spellers(url: str, catalogue: Catalogue) -> None:
    given = catalogue.spellers["first"].speller.predict("K AA T", n_best=2, with_attention=True)[0]
    answer = ask(url, "explain", source="K AA T", n_best=2).json()
    assert given.attention is not None
    assert answer["attention"][0] == pytest.approx(given.attention[0].tolist(), abs=1e-5)
    assert len(answer["attention"]) == len(answer["predictions"][0]["candidates"][0]["symbols"]) + 1


def test_symbols_that_did_not_occur_in_training_are_reported(url: str) -> None:
    assert ask(url, "predict", sources=["K ZZ"]).json()["predictions"][0]["unknown"] == ["ZZ"]


@pytest.mark.parametrize(
    ("body", "status", "field", "name"),
    [
        ({"sources": ["K"] * 65}, 413, "the number of sources", "sources"),
        ({"sources": ["K " * 129]}, 413, "the number of symbols of a source", "symbols"),
        ({"sources": ["K" * 4097]}, 413, "the number of characters of a source", "characters"),
        ({"sources": ["K"], "n_best": 17}, 413, "n_best", "n-best"),
        ({"sources": ["K"], "beam_size": 17}, 413, "beam_size", "beam-size"),
        ({"sources": ["K"], "samples": 17}, 413, "samples", "samples"),
        ({"sources": ["  "]}, 422, "source", "no-symbols"),
        ({"sources": []}, 422, "sources", "no-sources"),
        ({"sources": ["K"], "method": "greedy", "top_p": 0.5}, 422, "top_p", "no-effect"),
        ({"sources": ["K"], "samplse": 1}, 422, "samplse", "unknown-setting"),
        ({"sources": ["K"], "top_p": 1.5}, 422, "top_p", "top-p"),
        ({"sources": ["\ud800"]}, 422, "sources.0", "surrogate"),
        ({"sources": ["a\nb" * 60], "seed": -1}, 422, "seed", "seed"),
    ],
)
def test_requests_that_break_a_rule_are_refused(
    url: str, body: dict[str, Any], status: int, field: str, name: str
) -> None:
    check_refusal(ask(url, "predict", **body), status, field, name)


def test_a_beam_narrower_than_its_candidates_is_refused(url: str) -> None:
    answer = ask(url, "predict", sources=["K"], n_best=4, beam_size=2)
    assert answer.status_code == 422
    assert "beam_size = 2" in answer.json()["error"]


@pytest.mark.parametrize(
    ("setting", "inside", "outside"),
    [
        ("temperature", [1e-4, 1e4], [0, 1e-300, 9e-5, 1.1e4, 1e300]),
        ("length_penalty", [0, 10, 1e-300], [-1, 10.1, 1e300]),
        ("top_p", [5e-324, 1], [0, 1.1]),
        ("top_k", [1, 10**30], [-1]),
        ("seed", [0, 2**63 - 1], [2**63]),
    ],
)
def test_extreme_settings_give_answers_or_are_refused(
    url: str, setting: str, inside: list[float], outside: list[float]
) -> None:
    for number in inside:
        answer = ask(url, "predict", sources=["K AE T K AE T K AE T", "K"], **{setting: number})
        assert answer.status_code == 200, (number, answer.text)
    for number in outside:
        check_refusal(ask(url, "predict", sources=["K"], **{setting: number}), 422, setting)


def test_settings_of_requests_are_those_of_the_decoding_table(url: str) -> None:
    document = requests.get(f"{url}/openapi.json", timeout=30).json()["components"]["schemas"]
    settings = {*DECODING_SETTINGS}
    assert settings < {*SpellDecoding.model_fields}
    for request, own in (
        ("SpellRequest", {"sources", "text", "features", "language", "alignment"}),
        ("SpellExplainRequest", {"source", "features", "language"}),
    ):
        properties = document[request]["properties"]
        assert {*properties} == settings | own
        assert properties["top_p"]["anyOf"][0] == {"type": "number", "exclusiveMinimum": 0.0, "maximum": 1.0}


def with_decoding(catalogue: Catalogue, **settings: Any) -> Catalogue:
    served = catalogue.spellers["first"]
    speller = copy.copy(served.speller)
    speller.decoding = SpellDecoding.model_validate(settings)
    return Catalogue(spellers={"wide": replace(served, speller=speller)})


@pytest.mark.parametrize(
    ("settings", "limit"),
    [
        ({"method": "beam", "beam_size": 20}, "max_n_best"),
        ({"method": "beam", "beam_size": 32, "n_best": 17}, "max_n_best"),
        ({"method": "sample", "samples": 40}, "max_samples"),
    ],
)
def test_limits_allow_the_runs_own_settings_or_the_server_does_not_start(
    catalogue: Catalogue, settings: dict[str, Any], limit: str
) -> None:
    wide = with_decoding(catalogue, **settings)
    warnings: list[str] = []
    limits = fitted_limits(ServeLimits(timeout_s=20), wide, warnings.append)
    assert (len(warnings), limits.timeout_s) == (1, 20)
    with running(build_app(wide, limits)) as url:
        address = f"{url}/v1/spell/wide/predict"
        assert requests.post(address, json={"sources": ["K AA"]}, timeout=30).status_code == 200
        refused = requests.post(address, json={"sources": ["K AA"], limit[4:]: 41}, timeout=30)
        assert refused.status_code == 413
    with pytest.raises(RecipeError) as caught:
        fitted_limits(ServeLimits(**{limit: 16}), wide, warnings.append)
    assert caught.value.field == limit
    if "n_best" in settings:
        check_message("serve.run-beyond-limit", caught.value)
    assert fitted_limits(ServeLimits(), catalogue, warnings.append) == ServeLimits()


def test_a_run_that_is_not_served_is_not_looked_for(url: str) -> None:
    answer = requests.post(f"{url}/v1/spell/frist/predict", json={"sources": ["K"]}, timeout=30)
    check_refusal(answer, 404, "run", "run")
    for name in ("..%2Ffirst", "%2e%2e", "first%00", "{{7*7}}", "digits"):
        assert requests.post(f"{url}/v1/spell/{name}/predict", json={"sources": ["K"]}, timeout=30).status_code == 404


def test_pairs_are_scored_and_aligned_as_by_the_speller(url: str, catalogue: Catalogue) -> None:
    pairs = [("K AA T", "cat"), ("SH IY", "shee"), ("ZZ", "b7")]
    speller = catalogue.spellers["first"].speller
    sides = [source for source, _ in pairs], [target for _, target in pairs]
    answer = ask(url, "score", pairs=pairs, alignment=True).json()
    for given, aligned, found in zip(speller.score(*sides), speller.align(*sides), answer["pairs"], strict=True):
        assert found["alignment"] == {key: aligned.to_dict()[key] for key in ("places", "text", "kind")}
        assert found["unknown_target"] == list(given.unknown_target)
        assert found["log_probabilities"][-1] == pytest.approx(given.log_probabilities[-1], abs=1e-4)
        if not given.unknown_target:
            assert found["log_probability"] == pytest.approx(given.log_probability, abs=1e-4)
    assert answer["pairs"][2]["log_probability"] is None
    assert ask(url, "score", pairs=pairs).json()["pairs"][0]["alignment"] is None


def test_predictions_come_with_alignments_where_they_are_asked_for(url: str, catalogue: Catalogue) -> None:
    (given,) = catalogue.spellers["first"].speller.predict("K AA T", with_alignment=True)
    (found,) = ask(url, "predict", sources=["K AA T"], alignment=True).json()["predictions"]
    assert given.best.alignment is not None
    assert found["candidates"][0]["alignment"]["places"] == list(given.best.alignment.places)
    (plain,) = ask(url, "predict", sources=["K AA T"]).json()["predictions"]
    assert plain["candidates"][0]["alignment"] is None


@pytest.mark.parametrize(
    ("pairs", "status", "field"),
    [
        ([["K", "c"]] * 65, 413, "the number of pairs"),
        ([["K", " "]], 422, "target"),
        ([["K", "c" * 129]], 413, "the number of symbols of a target"),
        ([["K"]], 422, "pairs.0"),
        ([], 422, "pairs"),
    ],
)
def test_pairs_that_break_a_rule_are_refused(url: str, pairs: Any, status: int, field: str) -> None:
    answer = ask(url, "score", pairs=pairs)
    assert answer.status_code == status
    assert answer.json()["field"].startswith(field)
