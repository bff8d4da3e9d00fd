"""The server predicts what the speller predicts, alone and among others, and refuses in words."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from PIL import Image

from triptych.config import SpellDecoding
from triptych.serve.catalogue import Catalogue

SOURCES = ["K AA T", "SH IY", "B UW M EH S", "F IY K AA"]


def ask(url: str, route: str, **body: Any) -> requests.Response:
    return requests.post(f"{url}/v1/spell/first/{route}", json=body, timeout=30)


def test_candidates_and_scores_are_the_spellers(url: str, catalogue: Catalogue) -> None:
    answer = ask(url, "predict", sources=SOURCES, method="beam", n_best=3).json()
    expected = catalogue.speller("first").predict(SOURCES, n_best=3)
    assert answer["decoding"]["beam_size"] == 5
    for given, found in zip(expected, answer["predictions"], strict=True):
        assert found["symbols"] == list(given.source)
        assert [one["text"] for one in found["candidates"]] == [one.text for one in given.candidates]
        assert [one["score"] for one in found["candidates"]] == pytest.approx([one.score for one in given.candidates])
        assert found["candidates"][0]["probability"] == pytest.approx(given.best.probability)


def test_samples_depend_on_the_request_alone(url: str, catalogue: Catalogue) -> None:
    settings = {"method": "sample", "samples": 4, "top_p": 0.9, "temperature": 2.0, "seed": 7}
    given = catalogue.speller("first").predict(SOURCES, decoding=SpellDecoding.model_validate(settings))
    expected = [[one.text for one in prediction.candidates] for prediction in given]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: ask(url, "predict", sources=SOURCES, **settings).json(), range(8)))
    for answer in answers:
        assert [[one["text"] for one in found["candidates"]] for found in answer["predictions"]] == expected
    assert len({text for row in expected for text in row}) > len(SOURCES)


def test_requests_at_once_are_computed_together_and_not_mixed_up(url: str, catalogue: Catalogue) -> None:
    words = [f"{first} {second}" for first in ("B", "K", "S", "T", "M", "SH") for second in ("AA", "IY", "UW", "EH")]
    expected = [prediction.text for prediction in catalogue.speller("first").predict(words, n_best=2)]
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


def test_attention_as_numbers_and_as_a_picture(url: str, catalogue: Catalogue) -> None:
    given = catalogue.speller("first").predict("K AA T", n_best=2, with_attention=True)[0]
    answer = ask(url, "explain", source="K AA T", n_best=2).json()
    assert given.attention is not None
    assert answer["attention"][0] == pytest.approx(given.attention[0].tolist(), abs=1e-5)
    assert len(answer["attention"]) == len(answer["predictions"][0]["candidates"][0]["symbols"]) + 1
    picture = ask(url, "explain.png", source="K AA T")
    assert picture.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(picture.content)) as image:
        assert image.width > 100


def test_symbols_that_training_never_showed_are_told(url: str) -> None:
    assert ask(url, "predict", sources=["K ZZ"]).json()["predictions"][0]["unknown"] == ["ZZ"]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"sources": ["K"] * 65}, 413, "sources is 65; expected at most 64 (--max-sources"),
        ({"sources": ["K " * 129]}, 413, "source is 129; expected at most 128 (--max-source-symbols"),
        ({"sources": ["K" * 4097]}, 413, "is 4097; expected at most 4096 (--max-source-symbols"),
        ({"sources": ["K"], "n_best": 17}, 413, "beam_size is 17; expected at most 16 (--max-n-best"),
        ({"sources": ["K"], "beam_size": 17}, 413, "beam_size is 17; expected at most 16 (--max-n-best"),
        ({"sources": ["K"], "samples": 17}, 413, "samples is 17; expected at most 16 (--max-samples"),
        (
            {"sources": ["K"], "n_best": 4, "beam_size": 2},
            422,
            "n_best is 4; expected an integer from 1 to beam_size = 2",
        ),
        ({"sources": ["  "]}, 422, "source is '  ', 0 symbols; expected at least one"),
        ({"sources": []}, 422, "sources: List should have at least 1 item"),
        (
            {"sources": ["K"], "method": "greedy", "top_p": 0.5},
            422,
            "top_p is 0.5 and has no effect with method 'greedy'",
        ),
        ({"sources": ["K"], "samplse": 1}, 422, "samplse is '1': Extra inputs are not permitted"),
        ({"sources": ["K"], "top_p": 1.5}, 422, "top_p is '1.5': Input should be less than or equal to 1"),
        ({"sources": ["\ud800"]}, 422, "not half a surrogate pair"),
        ({"sources": ["a\nb" * 60], "seed": -1}, 422, "seed is '-1'"),
    ],
)
def test_what_breaks_a_rule_is_refused_in_words(url: str, body: dict[str, Any], status: int, words: str) -> None:
    answer = ask(url, "predict", **body)
    assert answer.status_code == status
    assert words in answer.json()["error"]


def test_a_run_that_is_not_served_is_not_looked_for(url: str) -> None:
    answer = requests.post(f"{url}/v1/spell/frist/predict", json={"sources": ["K"]}, timeout=30)
    assert answer.status_code == 404
    assert answer.json() == {"error": "run is 'frist'; expected one that is served. Did you mean 'first'?"}
    for name in ("..%2Ffirst", "%2e%2e", "first%00", "{{7*7}}", "digits"):
        assert requests.post(f"{url}/v1/spell/{name}/predict", json={"sources": ["K"]}, timeout=30).status_code == 404
