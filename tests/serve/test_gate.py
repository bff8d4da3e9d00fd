"""Who may send requests, how large, how long; and what a server does with clients that break off."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from tests.serve.answers import check_refusal
from tests.serve.running import running
from triptych.api.serving import Catalogue
from triptych.config.serve import ServeLimits
from triptych.serve.access import MOST_WRONG_KEYS, Access
from triptych.serve.app import build_app
from triptych.serve.gate import Gate
from triptych.serve.metrics import Metrics

WORD = {"sources": ["K AA T"]}
HEAD = b"POST /v1/spell/first/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


def connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    assert parts.hostname is not None
    return socket.create_connection((parts.hostname, parts.port or 80), timeout=20)


def predict(url: str, **headers: str) -> requests.Response:
    return requests.post(f"{url}/v1/spell/first/predict", json=WORD, headers=headers, timeout=30)


def counter(url: str, name: str) -> float:
    lines = requests.get(f"{url}/metrics", timeout=30).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def wait_for(condition: Any, seconds: float = 10) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.02)


class Held:
    """Occupies the thread that computes until it is released."""

    def __init__(self, app: Any) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        app.state.triptych.worker.submit(None, self._hold)
        assert self.begun.wait(10)

    def _hold(self, _: Sequence[None]) -> list[None]:
        self.begun.set()
        self.go.wait(20)
        return [None]


def test_without_the_key_only_health_and_the_page_answer(catalogue: Catalogue) -> None:
    with running(build_app(catalogue, access=Access("correct horse"))) as url:
        for path in ("/v1/service", "/v1/runs/first", "/metrics", "/v1/anything"):
            answer = requests.get(url + path, timeout=30)
            assert answer.headers["www-authenticate"] == "Bearer"
            check_refusal(answer, 401, None, "wrong-key")
        assert predict(url, Authorization="Bearer wrong").status_code == 401
        assert predict(url, Authorization="Basic correct horse").status_code == 401
        assert predict(url, Authorization="Bearer correct horse").status_code == 200
        for path in ("/healthz", "/readyz", "/", "/page.js", "/openapi.json"):
            assert requests.get(url + path, timeout=30).status_code == 200


def test_names_are_in_the_api_description_only_with_the_key(catalogue: Catalogue) -> None:
    with running(build_app(catalogue, access=Access("correct horse"))) as url:
        without = requests.get(f"{url}/openapi.json", timeout=30)
        named = requests.get(f"{url}/openapi.json", headers={"Authorization": "Bearer correct horse"}, timeout=30)
        for name in ("first", "digits", "store"):
            assert (f'"enum":["{name}"]' in without.text, f'"enum":["{name}"]' in named.text) == (False, True)
        assert "digits" not in without.text
        assert "enum" not in json.dumps(without.json()["paths"])
        again = requests.get(f"{url}/openapi.json", timeout=30)
        assert again.json() == without.json()


def test_wrong_keys_are_slowed_down_and_right_ones_are_not(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("triptych.serve.access.WRONG_KEY_DELAY_S", 5.0)
    with running(build_app(catalogue, access=Access("correct horse"))) as url, ThreadPoolExecutor(32) as pool:
        guesses = [pool.submit(predict, url, Authorization=f"Bearer {number}") for number in range(MOST_WRONG_KEYS + 4)]
        wait_for(lambda: sum(guess.done() for guess in guesses) == 4)
        for guess in guesses:
            if guess.done():
                assert guess.result().headers["retry-after"] == "1"
                check_refusal(guess.result(), 429, None, "many-wrong-keys")
        assert predict(url, Authorization="Bearer correct horse").status_code == 200
        assert requests.get(f"{url}/v1/service", timeout=30).status_code == 401  # no key: the page's first request
        assert sum(guess.done() for guess in guesses) == 4
        assert sorted(guess.result().status_code for guess in guesses) == [401] * MOST_WRONG_KEYS + [429] * 4


def test_other_names_and_other_sites_are_refused(catalogue: Catalogue) -> None:
    with running(build_app(catalogue, access=Access(hosts=("localhost", "127.0.0.1")))) as url:
        assert predict(url).status_code == 200
        check_refusal(predict(url, Host="evil.example:80"), 403, "Host", "other-host")
        check_refusal(predict(url, Origin="http://evil.example"), 403, "Origin", "other-origin")
        cross = predict(url, Origin="http://evil.example", **{"Sec-Fetch-Site": "cross-site"})
        check_refusal(cross, 403, "Origin")
        assert predict(url, Origin=url).status_code == 200
        behind_a_proxy = predict(url, Origin="https://models.example", **{"Sec-Fetch-Site": "same-origin"})
        assert behind_a_proxy.status_code == 200


def test_pages_of_allowed_origins_may_send_requests_and_read_answers(catalogue: Catalogue) -> None:
    origin = "https://app.example"
    access = Access("correct horse", hosts=("localhost", "127.0.0.1"), origins=(origin,))
    with running(build_app(catalogue, access=access)) as url:
        address = f"{url}/v1/spell/first/predict"
        asked = {
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization, content-type",
        }
        preflight = requests.options(address, headers=asked, timeout=30)
        assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (200, origin)
        assert "Authorization" in preflight.headers["access-control-allow-headers"]
        answer = predict(url, Origin=origin, Authorization="Bearer correct horse")
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, origin)
        refused = predict(url, Origin=origin)
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, origin)
        asked["Origin"] = "https://evil.example"
        assert requests.options(address, headers=asked, timeout=30).status_code == 400
        foreign = predict(url, Origin="https://evil.example", Authorization="Bearer correct horse")
        assert (foreign.status_code, "access-control-allow-origin" in foreign.headers) == (403, False)


@pytest.mark.parametrize("prefix", ["", "/x/y"], ids=["removed by the proxy", "kept by the proxy"])
def test_everything_is_found_under_a_root_path(catalogue: Catalogue, prefix: str) -> None:
    access = Access("correct horse")
    with running(build_app(catalogue, access=access, root_path="/x/y")) as url:
        page = requests.get(f"{url}{prefix}/", timeout=30)
        assert (page.status_code, 'src="page.js"' in page.text) == (200, True)
        assert requests.get(f"{url}{prefix}/page.js", timeout=30).status_code == 200
        assert predict(url + prefix).status_code == 401
        assert predict(url + prefix, Authorization="Bearer correct horse").status_code == 200
        document = requests.get(f"{url}{prefix}/openapi.json", timeout=30).json()
        assert document["servers"] == [{"url": "/x/y"}]
        assert "/v1/service" in document["paths"]
        slash = requests.get(f"{url}/x/y", timeout=30, allow_redirects=False)
        assert (slash.status_code, slash.headers["location"]) == (307, "/x/y/")
        assert requests.get(f"{url}/x/y2/", timeout=30).status_code == 404


def test_bodies_beyond_the_limit_are_refused_declared_or_not(catalogue: Catalogue) -> None:
    with running(build_app(catalogue, ServeLimits(max_body_bytes=1000))) as url:
        address = f"{url}/v1/spell/first/predict"
        declared = requests.post(address, data=b"x" * 1001, timeout=30)
        check_refusal(declared, 413, "Content-Length", "declared-body")
        chunked = requests.post(address, data=iter([b"x" * 600, b"x" * 600]), timeout=30)
        check_refusal(chunked, 413, "max_body_bytes", "chunked-body")
        with connect(url) as long:
            long.sendall(b"POST /readyz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000000000\r\n\r\n")
            assert b"HTTP/1.1 413" in b"".join(iter(lambda: long.recv(4096), b""))
        assert predict(url).status_code == 200


def test_half_a_body_and_clients_that_leave_do_no_harm(catalogue: Catalogue) -> None:
    with running(build_app(catalogue, ServeLimits(timeout_s=0.5))) as url:
        with connect(url) as half:
            half.sendall(HEAD + b'Content-Length: 100\r\n\r\n{"sources": [')
            answer = b"".join(iter(lambda: half.recv(4096), b"")).decode()
            assert answer.startswith("HTTP/1.1 408")
            assert "not complete after 0.5 s, the server's limit timeout_s" in answer
        for _ in range(20):
            with connect(url) as gone:
                gone.sendall(HEAD + b'Content-Length: 25\r\n\r\n{"sources": ["K AA T"]}   ')
            with connect(url) as broken:
                broken.sendall(HEAD + b'Content-Length: 100\r\n\r\n{"sou')
        assert predict(url).status_code == 200
        wait_for(lambda: counter(url, "triptych_requests_in_flight") == 1)


def test_work_of_clients_that_left_is_dropped_and_logged(
    catalogue: Catalogue, caplog: pytest.LogCaptureFixture
) -> None:
    app = build_app(catalogue)
    body = json.dumps({"sources": ["K AA T"] * 64, "method": "beam", "n_best": 16}).encode()
    logger = logging.getLogger("triptych.serve")
    with running(app) as url:
        logger.addHandler(caplog.handler)
        batches = counter(url, "triptych_batch_requests_sum")
        held = Held(app)
        worker = app.state.triptych.worker
        clients = [connect(url) for _ in range(20)]
        for client in clients:
            client.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        wait_for(lambda: worker.waiting == 20)
        for client in clients:
            client.close()
        wait_for(lambda: counter(url, "triptych_requests_in_flight") == 1)
        held.go.set()
        assert predict(url).status_code == 200
        assert counter(url, "triptych_batch_requests_sum") - batches == 2  # the one that held the thread, and the last
        logger.removeHandler(caplog.handler)
    lines = [record.getMessage() for record in caplog.records if record.name == "triptych.serve"]
    assert sum(" 499 " in line for line in lines) == 20


@pytest.mark.parametrize(
    ("body", "status", "name"),
    [
        (b"[" * 100_000, 400, "nested"),
        (b'{"sources": ["K"], "seed": ' + b"9" * 5000 + b"}", 400, "digits"),
        (b'{"sources": ["\xff"]}', 400, "encoding"),
        (b'{"sources": ', 422, "cut-off"),
        (b"null", 422, "null"),
        (b"", 422, "no-body"),
        (b"\x00", 422, "zero"),
        (b"[]", 422, "list"),
        (b'{"sources": ["K"], "seed": 1e999}', 422, ""),
    ],
)
def test_bodies_that_are_not_requests_are_refused(url: str, body: bytes, status: int, name: str) -> None:
    headers = {"Content-Type": "application/json"}
    answer = requests.post(f"{url}/v1/spell/first/predict", data=body, headers=headers, timeout=30)
    check_refusal(answer, status, "body" if name else "seed", name and f"body-{name}")
    assert len(answer.json()["error"]) < 300


def test_beyond_the_queue_requests_are_refused_and_health_still_answers(catalogue: Catalogue) -> None:
    app = build_app(catalogue, ServeLimits(queue_size=2))
    with running(app) as url, ThreadPoolExecutor(6) as pool:
        held = Held(app)
        answers = [pool.submit(predict, url) for _ in range(6)]
        wait_for(lambda: sum(answer.done() for answer in answers) == 4)
        assert requests.get(f"{url}/healthz", timeout=5).json() == {"status": "ok"}
        held.go.set()
        found = [answer.result(20) for answer in answers]
    assert sorted(answer.status_code for answer in found) == [200, 200, 503, 503, 503, 503]
    refused = next(answer for answer in found if answer.status_code == 503)
    assert refused.headers["retry-after"] == "1"
    check_refusal(refused, 503, "queue_size", "busy")


def test_an_answer_that_takes_too_long_is_given_up(catalogue: Catalogue) -> None:
    app = build_app(catalogue, ServeLimits(timeout_s=0.2))
    with running(app) as url:
        held = Held(app)
        answer = predict(url)
        held.go.set()
        check_refusal(answer, 504, "timeout_s", "timeout")
        assert predict(url).status_code == 200


def test_stopping_finishes_requests_in_progress(catalogue: Catalogue) -> None:
    app = build_app(catalogue)
    with ThreadPoolExecutor(1) as pool:
        with running(app) as url:
            held = Held(app)
            answer = pool.submit(predict, url)
            wait_for(lambda: app.state.triptych.worker.waiting == 1)
            threading.Timer(0.5, held.go.set).start()
        assert answer.result(1).status_code == 200
    with pytest.raises(requests.ConnectionError):
        predict(url)


def test_nothing_from_outside_gets_into_the_log(catalogue: Catalogue, caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("triptych.serve")
    with running(build_app(catalogue)) as url:
        logger.addHandler(caplog.handler)
        requests.get(f"{url}/evil%0aINFO%20forged", timeout=30)
        for query, status in (("", 404), ("?forged=1", 422)):
            address = f"{url}/v1/spell/x%0d%0aforged/predict{query}"
            assert requests.post(address, json={"sources": ["forged"]}, timeout=30).status_code == status
        predict(url, **{"User-Agent": "forged"})
        logger.removeHandler(caplog.handler)
    lines = [record.getMessage() for record in caplog.records if record.name == "triptych.serve"]
    assert [line.rsplit(" ", 2)[0] for line in lines] == [
        "GET none 404", "POST /v1/spell/{run}/predict 404", "POST /v1/spell/{run}/predict 422",
        "POST /v1/spell/{run}/predict 200",
    ]  # fmt: skip
    assert "forged" not in "".join(lines)


def test_health_and_page_answer_head_requests(url: str) -> None:
    for path in ("/", "/healthz", "/readyz", "/page.js"):
        answer = requests.head(url + path, timeout=30)
        assert (answer.status_code, answer.content) == (200, b"")


async def call(gate: Gate, path: str, **headers: str) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []
    waiting = asyncio.Event()
    received = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> dict[str, Any]:
        for message in received:
            return message
        await waiting.wait()
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    await gate({"type": "http", "method": "GET", "path": path, "headers": pairs}, receive, send)
    return sent


def test_a_fault_of_the_server_is_reported_without_details(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("secret\nforged line")

    gate = Gate(broken, access=Access(), limits=ServeLimits(), metrics=Metrics())
    with caplog.at_level(logging.ERROR, logger="triptych.serve"):
        logging.getLogger("triptych.serve").addHandler(caplog.handler)
        start, body = asyncio.run(call(gate, "/v1/x"))
        logging.getLogger("triptych.serve").removeHandler(caplog.handler)
    assert start["status"] == 500
    assert b"secret" not in body["body"]
    (line,) = {record.getMessage() for record in caplog.records}
    assert "\n" not in line
    assert "RuntimeError 'secret\\nforged line'" in line
    assert (
        json.loads(body["body"])["error"]
        == f"Internal server error. See entry {line.split()[1][:-1]} in the server's log."
    )


@pytest.mark.parametrize("length", ["-1", "1e3", "ten", "", "٣"])
def test_a_malformed_length_is_a_bad_request(length: str) -> None:
    async def unreachable(*_: object) -> None:
        raise AssertionError

    gate = Gate(unreachable, access=Access(), limits=ServeLimits(), metrics=Metrics())
    start, body = asyncio.run(call(gate, "/v1/x", content_length=length))
    assert start["status"] == 400
    assert json.loads(body["body"])["field"] == "Content-Length"


def addresses(document: dict[str, Any]) -> list[tuple[str, str]]:
    names = {"{run}": "first", "{memory}": "store", "{pattern}": "3"}
    found = []
    for template, operations in document["paths"].items():
        path = template.replace("{run}", "digits") if template.startswith("/v1/see") else template
        for name, value in names.items():
            path = path.replace(name, value)
        found += [(method, path) for method in operations]
    return found


def test_every_address_refuses_query_parameters_it_does_not_take(url: str) -> None:
    asked = addresses(requests.get(f"{url}/openapi.json", timeout=30).json())
    assert len(asked) >= 12
    for method, path in asked:
        if path.startswith("/v1/"):
            check_refusal(requests.request(method, f"{url}{path}?qq=1", timeout=30), 422, "query")
    check_refusal(requests.get(f"{url}/v1/runs/first?qq=1", timeout=30), 422, "query", "query-none")
    for path in ("/", "/page.js", "/healthz"):
        assert requests.get(f"{url}{path}?qq=1", timeout=30).status_code == 200
    listed = requests.get(f"{url}/v1/memories/store/patterns?limti=3", timeout=30)
    check_refusal(listed, 422, "query", "query-near")
