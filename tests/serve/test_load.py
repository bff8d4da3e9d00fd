"""A server process under load and abuse: nothing is lost, it stays up, and its memory comes back."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.command import begin, surroundings
from tests.conftest import ToyRuns
from tests.serve.test_see_routes import bomb, png

pytestmark = pytest.mark.slow
BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "serve.py"


def test_sixty_four_clients_lose_nothing(toy_runs: ToyRuns) -> None:
    done = subprocess.run(
        [sys.executable, str(BENCHMARK), str(toy_runs.folder / "first"), "--repeats", "1", "--seconds", "3", "--json"],
        capture_output=True,
        text=True,
        check=False,
        env=surroundings(toy_runs.folder),
    )
    assert done.returncode == 0, done.stderr
    for figures in json.loads(done.stdout).values():
        assert figures["lost"] == 0
        assert figures["answered"] > 100
        assert figures["ratio"] > 1  # how much more depends on the model and on what else the machine does


@pytest.fixture
def server(see_run: Path, tmp_path: Path) -> Iterator[tuple[int, int]]:
    """Process and port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = begin("serve", see_run, "--port", str(port), runs=tmp_path)
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            requests.get(f"http://127.0.0.1:{port}/readyz", timeout=5)
            break
        except requests.ConnectionError:
            time.sleep(0.2)
    yield process.pid, port
    process.terminate()
    process.communicate(timeout=30)


def resident_mib(process: int) -> float:
    pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_bombs_and_broken_bodies_leave_no_memory_behind(server: tuple[int, int]) -> None:
    process, port = server
    address = f"http://127.0.0.1:{port}/v1/see/digits/predict"
    large, small, whole = bomb(20_000), bomb(4000), png((1500, 1500))

    def abuse(rounds: int) -> None:
        for _ in range(rounds):
            assert requests.post(address, data=large, timeout=30).status_code == 413
            assert requests.post(address, data=small, timeout=30).status_code == 200
            assert requests.post(address, data=b"x" * 8_000_001, timeout=30).status_code == 413
            with socket.create_connection(("127.0.0.1", port)) as gone:
                gone.sendall(
                    b"POST /v1/see/digits/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 6000000\r\n\r\n"
                )
                gone.sendall(whole[:1_000_000])

    abuse(6)
    before = resident_mib(process)
    abuse(24)
    time.sleep(1)
    assert requests.post(address, data=png(), timeout=30).status_code == 200
    assert resident_mib(process) - before < 40  # one 16-megapixel image decoded and kept would be 15 MiB
