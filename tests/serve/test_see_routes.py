"""The server names what the classifier names; files that are none, or too large, are refused in words."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image

from triptych.see.maps import activation_maps
from triptych.serve.catalogue import Catalogue


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
    given = catalogue.classifier("digits").predict(png(), top_k=4)[0]
    found = ask(url, "predict?top_k=4", png()).json()["classes"]
    assert [one["name"] for one in found] == list(given.classes)
    assert [one["probability"] for one in found] == pytest.approx(given.probabilities, abs=1e-6)


def test_activations_are_the_networks(url: str, catalogue: Catalogue) -> None:
    classifier = catalogue.classifier("digits")
    image = classifier.network_input(classifier.read(png()))
    expected = activation_maps(classifier.network, image, layer=1)
    answer = ask(url, "explain?layer=1&channels=2", png()).json()
    assert answer["layer"] == expected.layer
    assert answer["channels"] == expected.maps.shape[0]
    assert np.array(answer["maps"]) == pytest.approx(expected.maps[:2].numpy(), abs=1e-5)
    assert np.shape(answer["grad_cam"]) == np.shape(answer["integrated_gradients"]) == image.shape[1:]
    assert answer["explained_class"] == answer["classes"][0]["name"]


def test_evidence_is_of_the_class_that_was_asked_for(url: str) -> None:
    answer = ask(url, "explain?of_class=3", png()).json()
    assert answer["explained_class"] == "3"
    assert answer["grad_cam"] != ask(url, "explain?of_class=4", png()).json()["grad_cam"]


@pytest.mark.slow
@pytest.mark.parametrize("route", ["activations.png", "saliency.png"])
def test_pictures(url: str, route: str) -> None:
    answer = ask(url, route, png())
    assert answer.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(answer.content)) as image:
        assert image.width > 500


@pytest.mark.parametrize(
    ("content", "query", "status", "words"),
    [
        (b"", "", 422, "the body is 0 bytes; expected an image file"),
        (b"%!PS-Adobe", "", 422, "this is not a supported image format"),
        (png()[:200], "", 422, "the image cannot be decoded"),
        (
            bomb(4001),
            "",
            413,
            "the number of pixels of the image is 16008001; expected at most 16000000 (--max-image-pixels",
        ),
        (bomb(20_000), "", 413, "--max-image-pixels"),
        (png(), "?top_k=0", 422, "top_k is '0': Input should be greater than or equal to 1"),
    ],
    ids=["empty", "postscript", "cut off", "large", "bomb", "no classes"],
)
def test_what_cannot_be_named_is_refused_in_words(
    url: str, content: bytes, query: str, status: int, words: str
) -> None:
    answer = ask(url, f"predict{query}", content)
    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert ask(url, "predict", png()).status_code == 200


@pytest.mark.parametrize(("query", "words"), [("of_class=x", "of_class is 'x'"), ("layer=zz", "layer is 'zz'")])
def test_what_the_network_lacks_is_refused_in_words(url: str, query: str, words: str) -> None:
    answer = ask(url, f"explain?{query}", png())
    assert answer.status_code == 422
    assert words in answer.json()["error"]


@pytest.mark.parametrize(
    ("route", "query", "words"),
    [
        ("predict", "topk=2", "the query parameter is 'topk'; expected one that this address takes. Did you"),
        ("predict", "topk=2", "Did you mean 'top_k'?"),
        ("predict", "top_k=2&layer=1", "is 'layer'; expected one that this address takes. Known: top_k."),
        ("explain", "topk=0", "is 'topk'; expected one that this address takes. Did you mean 'top_k'?"),
        ("explain", "class=3", "is 'class'; expected one that this address takes. Did you mean 'of_class'?"),
        ("explain", "z=3", "Known: channels, layer, of_class, top_k."),
        ("saliency.png", "layer=1", "is 'layer'; expected one that this address takes. Known: of_class."),
        ("activations.png", "lay", "is 'lay'; expected one that this address takes. Did you mean 'layer'?"),
        ("predict", "%0a" * 99, r"is '\n\n"),
    ],
)  # fmt: skip
def test_query_parameters_that_a_route_does_not_take_are_refused(url: str, route: str, query: str, words: str) -> None:
    answer = ask(url, f"{route}?{query}", png())
    assert answer.status_code == 422
    assert words in answer.json()["error"]


@pytest.mark.parametrize("route", ["predict", "explain", "activations.png", "saliency.png"])
def test_forms_and_json_are_told_to_send_the_file_itself(url: str, route: str) -> None:
    address = f"{url}/v1/see/digits/{route}"
    advice = "expected an image file as the body. Send the file's bytes as the body (curl --data-binary @FILE), not"
    form = requests.post(address, files={"file": ("seven.png", png(), "image/png")}, timeout=60)
    assert form.status_code == 415
    assert form.json()["error"] == f"the content type is multipart/form-data; {advice} a form."
    for kind in ("application/json", "Application/JSON; charset=utf-8"):
        sent = requests.post(address, data=b'{"image": "..."}', headers={"Content-Type": kind}, timeout=60)
        assert sent.status_code == 415
        assert sent.json()["error"] == f"the content type is application/json; {advice} JSON."


@pytest.mark.parametrize(
    "kind", [None, "", "application/x-www-form-urlencoded", "application/octet-stream", "image/png", "text/plain", "?"]
)
def test_plain_bodies_are_read_whatever_they_are_called(url: str, catalogue: Catalogue, kind: str | None) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    given = catalogue.classifier("digits").predict(png())[0]
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
