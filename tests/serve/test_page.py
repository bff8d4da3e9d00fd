"""What the page is made of."""

from __future__ import annotations

import re

import pytest
import requests

from triptych.serve.gate import SECURITY_HEADERS

FILES = ["/", "/page.css", "/page.js", "/icon.svg"]


@pytest.mark.parametrize("path", FILES)
def test_nothing_is_loaded_from_elsewhere(url: str, path: str) -> None:
    text = requests.get(url + path, timeout=30).text
    addresses = set(re.findall(r"(?:https?:)?//[a-z0-9.]+\.[a-z]+[^\s\"']*", text))
    assert addresses <= {"http://www.w3.org/2000/svg"}  # a name, which is never fetched


def test_the_browser_may_run_and_load_nothing_else(url: str) -> None:
    answer = requests.get(url, timeout=30)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|style=", answer.text)
    for name, value in SECURITY_HEADERS.items():
        assert answer.headers[name] == value


def test_every_address_of_the_page_is_relative(url: str) -> None:
    page, script = (requests.get(url + path, timeout=30).text for path in ("/", "/page.js"))
    assert re.findall(r'(?:href|src)="([^"]*)"', page) != []
    assert not any(address.startswith("/") for address in re.findall(r'(?:href|src)="([^"]*)"', page))
    assert not re.search(r"""["'`]/(?:v1|openapi|page|icon)""", script)


def test_every_control_has_a_name(url: str) -> None:
    text = requests.get(url, timeout=30).text
    for control in re.findall(r"<(?:input|select)[^>]*>", text):
        (name,) = re.findall(r'id="([^"]+)"', control)
        assert f'for="{name}"' in text or re.search(rf'<label[^>]*><input[^>]*id="{name}"', text)


def test_scripts_find_their_elements(url: str) -> None:
    page, script = (requests.get(url + path, timeout=30).text for path in ("/", "/page.js"))
    wanted = set(re.findall(r'byId\("([a-z-]+)"\)', script))
    assert len(wanted) > 30
    assert wanted <= set(re.findall(r'id="([^"]+)"', page))


@pytest.mark.parametrize(
    "path", ["/page/index.html", "/../pyproject.toml", "/%2e%2e/app.py", "/page.py", "/docs", "/redoc"]
)
def test_no_other_file_is_sent(url: str, path: str) -> None:
    assert requests.get(url + path, timeout=30).status_code == 404


def test_the_documents_names_are_the_served_ones_and_examples_are_there(url: str) -> None:
    document = requests.get(f"{url}/openapi.json", timeout=30).json()
    paths = document["paths"]
    assert paths["/v1/spell/{run}/predict"]["post"]["parameters"][0]["schema"]["enum"] == ["first"]
    assert paths["/v1/memories/{memory}/retrieve"]["post"]["parameters"][0]["schema"]["enum"] == ["store"]
    examples = [name for name, schema in document["components"]["schemas"].items() if "examples" in schema]
    assert sorted(examples) == ["AddRequest", "RetrieveRequest", "ScoreRequest", "SpellExplainRequest", "SpellRequest"]


def test_a_run_is_described_without_paths_of_this_machine(url: str) -> None:
    card = requests.get(f"{url}/v1/runs/first", timeout=30).json()
    assert card["panel"] == "spell"
    assert 'attention = "additive"' in card["recipe"]
    assert 0 <= card["evaluations"]["test/greedy"]["cer"]["value"] <= 1
    assert {entry["path"] for entry in card["data"]} == {"train.tsv", "valid.tsv", "test.tsv"}
    assert all(len(entry["sha256"]) == 64 for entry in card["data"])
    assert len(card["examples"]) == 12
    everything = requests.get(f"{url}/v1/service", timeout=30)
    assert "/tmp" not in everything.text
    assert everything.json()["limits"]["queue_size"].__class__ is int
    assert requests.get(f"{url}/v1/runs/frist", timeout=30).status_code == 404
