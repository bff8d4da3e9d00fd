"""Running text over HTTP, against the words predicted one by one and put back by hand."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.conftest import ToyRuns
from tests.serve.answers import check_refusal
from tests.serve.running import running
from triptych.api.serving import Catalogue, load_catalogue
from triptych.config.serve import ServeLimits
from triptych.runs.run import Run
from triptych.serve.app import build_app
from triptych.spell.running_text import rewrite

TEXT = "Gabi,  3 muta!\n\u201egabi-muta\u201c gabi."
LIMITS = ServeLimits(max_source_symbols=12)
WORDS = ["Gabi", "muta", "gabi-muta", "gabi"]


def tokens_run(run: Run, place: Path) -> Path:
    """A copy of a run whose recipe is one for tokens in text order."""
    shutil.copytree(run.path, place)
    recipe = place / "recipe.toml"
    recipe.write_text(recipe.read_text(encoding="utf-8").replace('blank_rows = "bad"', 'blank_rows = "skip"'), "utf-8")
    return place


@pytest.fixture(scope="module")
def catalogue(languages_run: Run, inflection_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    places = [tokens_run(languages_run, tmp_path_factory.mktemp("text") / "tokens"), inflection_run.path]
    return load_catalogue(list(map(str, places)), [], limits=LIMITS)


@pytest.fixture(scope="module")
def url(catalogue: Catalogue) -> Iterator[str]:
    with running(build_app(catalogue, limits=LIMITS)) as address:
        yield address


def ask(url: str, run: str = "tokens", **body: object) -> requests.Response:
    return requests.post(f"{url}/v1/spell/{run}/predict", json=body, timeout=30)


def test_the_words_of_a_text_are_predicted_and_the_rest_is_kept(url: str, catalogue: Catalogue) -> None:
    answer = ask(url, text=TEXT, language="dut").json()
    speller = catalogue.spellers["tokens"].speller.in_language("dut")
    found = dict(zip(WORDS, speller.predict(WORDS), strict=True))
    by_hand = re.sub(r"[A-Za-z-]+", lambda word: found[word[0]].text, TEXT)
    assert answer["text"]["text"] == TEXT
    assert answer["text"]["prediction"] == by_hand
    assert "gabium" in by_hand
    total = sum(found[word].log_probability for word in WORDS)
    assert answer["text"]["log_probability"] == pytest.approx(total, abs=1e-4)
    assert [one["source"] for one in answer["predictions"]] == WORDS
    assert answer["predictions"][3]["candidates"][0]["text"] == "gabium"
    (same,) = rewrite(speller, [TEXT])
    assert same.prediction == by_hand


def test_a_text_without_words_stays_as_it_is(url: str) -> None:
    answer = ask(url, text=" 12, 3!\n", language="ady").json()
    assert answer["text"] == {"text": " 12, 3!\n", "prediction": " 12, 3!\n", "log_probability": 0.0}
    assert answer["predictions"] == []


def test_words_that_are_too_long_stay_as_they_are(url: str) -> None:
    answer = ask(url, text=f"gabi {'gabi' * 4}", language="ady").json()
    assert answer["text"]["prediction"] == f"gabis {'gabi' * 4}"


def test_one_text_of_features_is_that_of_every_word(url: str, inflection_run: Run) -> None:
    answer = ask(url, inflection_run.name, text="gabi, mut!", features=["N;PL"]).json()
    assert answer["text"]["prediction"] == "gabis, muts!"


def test_bad_requests_for_text_are_one_line(url: str) -> None:
    check_refusal(ask(url, language="ady"), 422, "sources", "text-neither")
    check_refusal(ask(url, text="gabi", sources=["gabi"], language="ady"), 422, "sources", "text-both")
    check_refusal(ask(url, text="gabi", method="sample", language="ady"), 422, "method", "text-samples")
    check_refusal(ask(url, text="gabi"), 422, "language")
    check_refusal(ask(url, text="", language="ady"), 422, "text")
    many = " ".join(f"{a}{b}{c}" for a in "bdgmt" for b in "aiu" for c in "bdgmt")
    assert ask(url, text=many, language="ady").status_code == 413
    assert ask(url, text="gabi " * 400, language="ady").status_code == 413


def test_runs_whose_sources_are_symbols_have_no_text(toy_runs: ToyRuns) -> None:
    other = load_catalogue([str(toy_runs.folder / "first")], [], limits=ServeLimits())
    assert other.runs["first"]["running_text"] is False
    with running(build_app(other)) as address:
        check_refusal(ask(address, "first", text="K AE T"), 422, "text", "text-symbols")


def test_the_page_has_text_where_the_run_is_for_tokens(catalogue: Catalogue, inflection_run: Run) -> None:
    flags = {name: run["running_text"] for name, run in catalogue.runs.items()}
    assert flags == {"tokens": True, inflection_run.name: False}
