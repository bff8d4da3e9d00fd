"""Connections that send nothing, or half a request's headers, or are too many."""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from tests.command import surroundings
from tests.serve.running import running
from tests.serve.test_gate import connect, predict, wait_for
from triptych.api.serving import Catalogue
from triptych.config.serve import ServeLimits
from triptych.serve.app import build_app
from triptych.serve.connections import capacity


def is_closed(connection: socket.socket) -> bool:
    connection.settimeout(0.01)
    try:
        return connection.recv(1000) == b""
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True


@pytest.mark.parametrize(
    "sent", [b"", b"\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n", b"POST /v1/x HTT"], ids=["nothing", "line", "half", "verb"]
)
def test_idle_connections_and_slow_headers_are_closed(catalogue: Catalogue, sent: bytes) -> None:
    limits = ServeLimits(idle_timeout_s=0.4)
    with running(build_app(catalogue, limits), limits) as url, connect(url) as idle:
        began = time.monotonic()
        while not is_closed(idle):
            assert time.monotonic() - began < 10
            if sent and time.monotonic() - began < 2:
                idle.send(sent if sent == b"\r\n" else b"")  # more of it does not help
        assert time.monotonic() - began >= 0.3


def test_a_connection_that_was_used_is_closed_too(catalogue: Catalogue) -> None:
    limits = ServeLimits(idle_timeout_s=1)
    with running(build_app(catalogue, limits), limits) as url, connect(url) as used:
        used.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert used.recv(1000).startswith(b"HTTP/1.1 200")
        used.sendall(b"GET /healthz HTTP/1.1\r\nHo")
        wait_for(lambda: is_closed(used))


def test_requests_that_take_long_are_not_idle(catalogue: Catalogue) -> None:
    from tests.serve.test_gate import Held

    limits = ServeLimits(idle_timeout_s=0.2)
    app = build_app(catalogue, limits)
    with running(app, limits) as url:
        held = Held(app)
        import threading

        threading.Timer(1.0, held.go.set).start()
        assert predict(url).status_code == 200


def test_the_longest_idle_connection_makes_room(catalogue: Catalogue) -> None:
    limits = ServeLimits(max_connections=8)
    with running(build_app(catalogue, limits), limits) as url:
        idle = []
        for _ in range(20):
            idle.append(connect(url))
            time.sleep(0.01)
        assert predict(url).status_code == 200
        wait_for(lambda: [is_closed(one) for one in idle] == [True] * 13 + [False] * 7)
        for one in idle:
            one.close()


def test_connections_stay_below_the_limit_of_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    for files, most in ((200, 88), (1024, 704), (65_536, 64_960)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, files=files: (files, files))
        connections, backlog = capacity(ServeLimits())
        assert connections == most
        assert connections + 4 * backlog + 64 <= files
        assert capacity(ServeLimits(max_connections=10))[0] == 10


@pytest.mark.slow
def test_a_server_with_few_files_survives_many_connections(see_run: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "triptych", "serve", str(see_run), "--port", str(port)]
    log = tmp_path / "log"
    with log.open("wb") as written:
        process = subprocess.Popen(
            ["bash", "-c", 'ulimit -n 200; exec "$@"', "bash", *command], stderr=written, env=surroundings(tmp_path)
        )
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(lambda: _ready(url), 60)
            idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(400)]
            for _ in range(20):
                assert requests.get(f"{url}/healthz", timeout=5).status_code == 200
            assert log.stat().st_size < 10_000
            assert b"Too many open files" not in log.read_bytes()
            for one in idle:
                one.close()
        finally:
            process.terminate()
            process.wait(30)


def _ready(url: str) -> bool:
    try:
        return requests.get(f"{url}/readyz", timeout=5).status_code == 200
    except requests.ConnectionError:
        return False
