"""The server gives the classes that the classifier gives; other files, or too large ones, are refused."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image

from tests.serve.answers import check_refusal
from triptych.api.serving import Catalogue
from triptych.see.adapter import network_input
from triptych.see.maps import activation_maps


def png(size: tuple[int, int] = (20, 20)) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0]), dtype=np.uint8)
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "PNG")
    return written.getvalue()


def bomb(side: int) -> bytes:
    """A PNG of side x side black pixels, a few hundred kilobytes at most."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)

    header = side.to_bytes(4) * 2 + bytes([1, 0, 0, 0, 0])
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(1 + side // 8)) for _ in range(side)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def ask(url: str, route: str, content: bytes) -> requests.Response:
    return requests.post(f"{url}/v1/see/digits/{route}", data=content, timeout=60)


def test_classes_and_probabilities_are_the_classifiers(url: str, catalogue: Catalogue) -> None:
    given = catalogue.classifiers["digits"].classifier.predict(png(), top_k=4)[0]
    found = ask(url, "predict?top_k=4", png()).json()["classes"]
    assert [one["name"] for one in found] == list(given.classes)
    assert [one["probability"] for one in found] == pytest.approx(given.probabilities, abs=1e-6)


def test_activations_are_the_networks(url: str, catalogue: Catalogue) -> None:
    classifier = catalogue.classifiers["digits"].classifier
    image = network_input(classifier, classifier.read(png()))
    expected = activation_maps(classifier.scorer.network, image, layer=1)
    answer = ask(url, "explain?layer=1&channels=2", png()).json()
    assert answer["layer"] == expected.layer
    assert answer["channels"] == expected.maps.shape[0]
    assert np.array(answer["maps"]) == pytest.approx(expected.maps[:2].numpy(), abs=1e-5)
    assert np.shape(answer["grad_cam"]) == np.shape(answer["integrated_gradients"]) == image.shape[1:]
    assert answer["explained_class"] == answer["classes"][0]["name"]


def test_evidence_is_of_the_class_that_was_requested(url: str) -> None:
    answer = ask(url, "explain?of_class=3", png()).json()
    assert answer["explained_class"] == "3"
    assert answer["grad_cam"] != ask(url, "explain?of_class=4", png()).json()["grad_cam"]


@pytest.mark.parametrize(
    ("content", "status", "field"),
    [
        (b"", 422, "body"),
        (b"%!PS-Adobe", 422, None),
        (png()[:200], 422, None),
        (bomb(4001), 413, "the number of pixels of the image"),
        (bomb(20_000), 413, "the number of pixels of the image"),
    ],
    ids=["empty", "postscript", "cut off", "large", "bomb"],
)
def test_files_that_cannot_be_classified_are_refused(url: str, content: bytes, status: int, field: str | None) -> None:
    check_refusal(ask(url, "predict", content), status, field)
    assert ask(url, "predict", png()).status_code == 200


def test_the_sentences_of_refused_images(url: str) -> None:
    check_refusal(ask(url, "predict", b""), 422, "body", "image-empty")
    check_refusal(ask(url, "predict", bomb(4001)), 413, "the number of pixels of the image", "image-large")
    check_refusal(ask(url, "predict?top_k=0", png()), 422, "top_k", "top-k")
    check_refusal(ask(url, "explain?of_class=x", png()), 422, "of_class", "of-class")
    layer = ask(url, "explain?layer=zz", png())
    assert (layer.status_code, "'zz'" in layer.json()["error"]) == (422, True)


@pytest.mark.parametrize(
    ("route", "query", "words"),
    [
        ("predict", "topk=2", "Did you mean 'top_k'?"),
        ("predict", "top_k=2&layer=1", "Known: top_k."),
        ("explain", "class=3", "Did you mean 'of_class'?"),
        ("explain", "z=3", "Known: channels, layer, of_class, top_k."),
        ("predict", "%0a" * 99, r"is '\n\n"),
    ],
)
def test_query_parameters_that_a_route_does_not_take_are_refused(url: str, route: str, query: str, words: str) -> None:
    answer = ask(url, f"{route}?{query}", png())
    check_refusal(answer, 422, "query")
    assert words in answer.json()["error"]


@pytest.mark.parametrize("route", ["predict", "explain"])
def test_forms_and_json_are_refused_with_advice(url: str, route: str) -> None:
    address = f"{url}/v1/see/digits/{route}"
    form = requests.post(address, files={"file": ("seven.png", png(), "image/png")}, timeout=60)
    check_refusal(form, 415, "Content-Type", "form")
    for kind in ("application/json", "Application/JSON; charset=utf-8"):
        sent = requests.post(address, data=b'{"image": "..."}', headers={"Content-Type": kind}, timeout=60)
        check_refusal(sent, 415, "Content-Type", "json")


@pytest.mark.parametrize(
    "kind", [None, "", "application/x-www-form-urlencoded", "application/octet-stream", "image/png", "text/plain", "?"]
)
def test_plain_bodies_are_read_whatever_they_are_called(url: str, catalogue: Catalogue, kind: str | None) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    given = catalogue.classifiers["digits"].classifier.predict(png())[0]
    answer = requests.post(f"{url}/v1/see/digits/predict", data=png(), headers=headers, timeout=60)
    assert answer.status_code == 200
    assert [one["name"] for one in answer.json()["classes"]] == list(given.classes)


def test_uploads_are_written_nowhere(url: str, see_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    before = sorted(see_run.rglob("*"))
    headers = {"Content-Disposition": 'attachment; filename="../../evil.png"'}
    large = png((1500, 1500))
    assert len(large) > 2_000_000
    assert requests.post(f"{url}/v1/see/digits/predict", data=large, headers=headers, timeout=60).status_code == 200
    assert list(tmp_path.iterdir()) == []
    assert sorted(see_run.rglob("*")) == before
