"""Who may ask, how much, how long; and what a server does with clients that break off."""

from __future__ import annotations

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

from tests.serve.running import running
from triptych.serve.app import build_app
from triptych.serve.catalogue import Catalogue
from triptych.serve.gate import Access, Gate
from triptych.serve.limits import Limits
from triptych.serve.metrics import Metrics

WORD = {"sources": ["K AA T"]}


def connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    assert parts.hostname is not None
    return socket.create_connection((parts.hostname, parts.port or 80), timeout=20)


def predict(url: str, **headers: str) -> requests.Response:
    return requests.post(f"{url}/v1/spell/first/predict", json=WORD, headers=headers, timeout=30)


def test_without_the_key_nothing_is_told_but_health(catalogue: Catalogue) -> None:
    with running(build_app(catalogue, access=Access("correct horse"))) as url:
        for path in ("/v1/service", "/v1/runs/first", "/metrics", "/v1/anything"):
            answer = requests.get(url + path, timeout=30)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert answer.json()["error"].startswith("the key is missing or wrong")
        assert predict(url, Authorization="Bearer wrong").status_code == 401
        assert predict(url, Authorization="Basic correct horse").status_code == 401
        assert predict(url, Authorization="Bearer correct horse").status_code == 200
        for path in ("/healthz", "/readyz", "/", "/page.js", "/openapi.json"):
            assert requests.get(url + path, timeout=30).status_code == 200


def test_other_names_and_other_sites_are_refused(catalogue: Catalogue) -> None:
    with running(build_app(catalogue, access=Access(hosts=("localhost", "127.0.0.1")))) as url:
        assert predict(url).status_code == 200
        foreign = predict(url, Host="evil.example:80")
        assert (foreign.status_code, "Host is 'evil.example:80'" in foreign.json()["error"]) == (403, True)
        cross = predict(url, Origin="http://evil.example")
        assert (cross.status_code, "Origin is 'http://evil.example'" in cross.json()["error"]) == (403, True)
        assert predict(url, Origin=url).status_code == 200


def test_bodies_beyond_the_bound_are_refused_declared_or_not(catalogue: Catalogue) -> None:
    with running(build_app(catalogue, Limits(max_body_bytes=1000))) as url:
        address = f"{url}/v1/spell/first/predict"
        declared = requests.post(address, data=b"x" * 1001, timeout=30)
        chunked = requests.post(address, data=iter([b"x" * 600, b"x" * 600]), timeout=30)
        assert (declared.status_code, chunked.status_code) == (413, 413)
        assert "the body is 1001 bytes; expected at most 1000 (--max-body-bytes" in declared.json()["error"]
        assert "more than 1000 bytes; expected at most 1000 (--max-body-bytes" in chunked.json()["error"]
        assert predict(url).status_code == 200


def test_half_a_body_and_clients_that_leave_do_no_harm(catalogue: Catalogue) -> None:
    head = b"POST /v1/spell/first/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    with running(build_app(catalogue, Limits(timeout_s=0.5))) as url:
        with connect(url) as half:
            half.sendall(head + b'Content-Length: 100\r\n\r\n{"sources": [')
            answer = b"".join(iter(lambda: half.recv(4096), b"")).decode()
            assert answer.startswith("HTTP/1.1 408")
            assert "not complete after 0.5 s; expected less (--timeout-s" in answer
        for _ in range(20):
            with connect(url) as gone:
                gone.sendall(head + b'Content-Length: 25\r\n\r\n{"sources": ["K AA T"]}   ')
            with connect(url) as broken:
                broken.sendall(head + b'Content-Length: 100\r\n\r\n{"sou')
        assert predict(url).status_code == 200
        until = time.monotonic() + 10
        while "triptych_requests_in_flight 1.0" not in requests.get(f"{url}/metrics", timeout=30).text:
            assert time.monotonic() < until, "requests of clients that left are still counted"
            time.sleep(0.05)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("[" * 100_000, 400),
        ('{"sources": ["K"], "seed": ' + "9" * 5000 + "}", 400),
        ('{"sources": ["K"], "seed": 1e999}', 422),
        ('{"sources": ', 422),
        ("null", 422),
        ("", 422),
        ("\x00", 422),
    ],
)
def test_bodies_that_are_no_request_are_refused_in_words(url: str, body: str, status: int) -> None:
    headers = {"Content-Type": "application/json"}
    answer = requests.post(f"{url}/v1/spell/first/predict", data=body, headers=headers, timeout=30)
    assert answer.status_code == status
    assert len(answer.json()["error"]) < 300


def test_beyond_the_queue_requests_are_told_to_come_back_and_health_still_answers(catalogue: Catalogue) -> None:
    app = build_app(catalogue, Limits(queue_size=2))
    begun, go = threading.Event(), threading.Event()

    def hold(_: Sequence[None]) -> list[None]:
        begun.set()
        go.wait(20)
        return [None]

    with running(app) as url, ThreadPoolExecutor(6) as pool:
        app.state.studio.worker.submit(None, hold)
        assert begun.wait(10)
        answers = [pool.submit(predict, url) for _ in range(6)]
        until = time.monotonic() + 10
        while sum(answer.done() for answer in answers) < 4 and time.monotonic() < until:
            time.sleep(0.02)
        assert requests.get(f"{url}/healthz", timeout=5).json() == {"status": "ok"}
        go.set()
        found = [answer.result(20) for answer in answers]
    assert sorted(answer.status_code for answer in found) == [200, 200, 503, 503, 503, 503]
    refused = next(answer for answer in found if answer.status_code == 503)
    assert refused.headers["retry-after"] == "1"
    assert "are 2; expected fewer (--queue-size)" in refused.json()["error"]


def test_an_answer_that_takes_too_long_is_given_up(catalogue: Catalogue) -> None:
    app = build_app(catalogue, Limits(timeout_s=0.2))
    go = threading.Event()

    def hold(_: Sequence[None]) -> list[None]:
        go.wait(20)
        return [None]

    with running(app) as url:
        app.state.studio.worker.submit(None, hold)
        answer = predict(url)
        go.set()
        assert answer.status_code == 504
        assert "longer than 0.2 s; expected less (--timeout-s" in answer.json()["error"]
        assert predict(url).status_code == 200


def test_stopping_finishes_what_is_under_way(catalogue: Catalogue) -> None:
    app = build_app(catalogue)
    begun, go = threading.Event(), threading.Event()

    def hold(_: Sequence[None]) -> list[None]:
        begun.set()
        go.wait(20)
        return [None]

    with ThreadPoolExecutor(1) as pool:
        with running(app) as url:
            app.state.studio.worker.submit(None, hold)
            assert begun.wait(10)
            answer = pool.submit(predict, url)
            while not app.state.studio.worker.waiting:
                time.sleep(0.01)
            threading.Timer(0.5, go.set).start()
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


async def call(gate: Gate, path: str) -> list[dict[str, object]]:
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    await gate({"type": "http", "method": "GET", "path": path, "headers": []}, receive, send)
    return sent


def test_a_fault_of_the_servers_is_told_without_its_insides(caplog: pytest.LogCaptureFixture) -> None:
    import asyncio

    async def broken(*_: object) -> None:
        raise RuntimeError("secret\nforged line")

    gate = Gate(broken, access=Access(), limits=Limits(), metrics=Metrics())
    with caplog.at_level(logging.ERROR, logger="triptych.serve"):
        logging.getLogger("triptych.serve").addHandler(caplog.handler)
        start, body = asyncio.run(call(gate, "/v1/x"))
        logging.getLogger("triptych.serve").removeHandler(caplog.handler)
    assert start["status"] == 500
    assert b"secret" not in bytes(body["body"])  # type: ignore[call-overload]
    (line,) = {record.getMessage() for record in caplog.records}
    assert "\n" not in line
    assert "RuntimeError 'secret\\nforged line'" in line


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
    assert len(asked) >= 15
    for method, path in asked:
        if not path.startswith("/v1/"):
            continue
        answer = requests.request(method, f"{url}{path}?qq=1", timeout=30)
        assert (path, answer.status_code) == (path, 422)
        assert answer.json()["error"].startswith("the query parameter is 'qq'; expected "), path
    assert requests.get(f"{url}/v1/runs/first?qq=1", timeout=30).json() == {
        "error": "the query parameter is 'qq'; expected none at this address. Leave it out."
    }
    for path in ("/", "/page.js", "/healthz"):
        assert requests.get(f"{url}{path}?qq=1", timeout=30).status_code == 200
    listed = requests.get(f"{url}/v1/memories/store/patterns?limti=3", timeout=30)
    assert listed.json()["error"].endswith("Did you mean 'limit'?")


def test_a_length_that_is_no_number_of_bytes_is_refused_in_words(catalogue: Catalogue) -> None:
    with running(build_app(catalogue, Limits(max_body_bytes=1000))) as url, connect(url) as long:
        long.sendall(b"POST /readyz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000000000\r\n\r\n")
        answer = b"".join(iter(lambda: long.recv(4096), b"")).decode()
    assert "Content-Length is '1000000000000000'; expected a number of bytes up to 1000 (--max-body-bytes" in answer
