"""A server under load: what gathering requests into batches gives, and whether any request is lost.

    python benchmarks/serve.py RUN

Starts `triptych serve RUN` for a run of spell, and asks it for predictions over connections that are kept open: first
one client, one request after the other, then many clients at once, repeated in turn. Every answer is compared with the
one that the lone client got. Prints requests per second, the median and the 99th percentile of the time for one
request, and the ratio of throughputs.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import math
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from timing import Result, show

TARGET = 5.0


@dataclass
class Load:
    """What some clients saw.

    Attributes:
        clients: at once.
        latencies: seconds, of every request that was answered as it should be.
        lost: requests with another status, another answer, or none.
        seconds: in all.
    """

    clients: int
    latencies: list[float] = field(default_factory=list)
    lost: int = 0
    seconds: float = 0.0

    @property
    def per_second(self) -> float:
        """Requests answered."""
        return len(self.latencies) / self.seconds

    def percentile_ms(self, share: float) -> float:
        """Milliseconds within which that share of requests was answered."""
        ordered = sorted(self.latencies)
        return 1000 * ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


@dataclass(frozen=True)
class Question:
    """A request ready to be sent, and the texts it should bring."""

    content: bytes
    expected: tuple[str, ...]


class Client:
    """One connection, kept open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, content: bytes) -> tuple[int, bytes]:
        """Send a whole request; status and body of the answer."""
        self.writer.write(content)
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(head.split("content-length: ")[1].split("\r\n")[0])
        return int(head.split(" ", 2)[1]), await self.reader.readexactly(length)


def texts(body: bytes) -> tuple[str, ...]:
    """The candidates of an answer with one source."""
    return tuple(candidate["text"] for candidate in json.loads(body)["predictions"][0]["candidates"])


def request(run: str, port: int, source: str, settings: dict[str, Any]) -> bytes:
    """A prediction's request, as bytes."""
    body = json.dumps({"sources": [source], **settings}).encode()
    head = (
        f"POST /v1/spell/{run}/predict HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def questions(run: str, port: int, sources: Sequence[str], settings: dict[str, Any]) -> list[Question]:
    """Every source with what a lone client gets for it."""
    client = Client(*await asyncio.open_connection("127.0.0.1", port))
    found = []
    for source in sources:
        content = request(run, port, source, settings)
        status, body = await client.ask(content)
        if status != 200:
            raise SystemExit(f"status is {status} for {source!r}; expected 200: {body.decode()}")
        found.append(Question(content, texts(body)))
    client.writer.close()
    return found


async def press(port: int, asked: Sequence[Question], clients: int, seconds: float) -> Load:
    """Ask without pause for a while."""
    load = Load(clients)
    until = time.perf_counter() + seconds

    async def one(first: int) -> None:
        client = Client(*await asyncio.open_connection("127.0.0.1", port))
        for question in itertools.islice(itertools.cycle(asked), first, None):
            began = time.perf_counter()
            if began > until:
                break
            try:
                status, body = await client.ask(question.content)
            except (OSError, asyncio.IncompleteReadError):
                load.lost += 1
                return
            if status == 200 and texts(body) == question.expected:
                load.latencies.append(time.perf_counter() - began)
            else:
                load.lost += 1
        client.writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(clients)))
    load.seconds = time.perf_counter() - began
    return load


def merged(loads: Sequence[Load]) -> Load:
    """Several repeats as one."""
    whole = Load(loads[0].clients, seconds=sum(load.seconds for load in loads), lost=sum(load.lost for load in loads))
    whole.latencies = [latency for load in loads for latency in load.latencies]
    return whole


def measure(run: str, *, clients: int, seconds: float, repeats: int, settings: dict[str, Any]) -> list[Load]:
    """One client and many, in turn, against a server of its own; the loads of all repeats of each."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("triptych")), "serve", run, "--port", str(port)]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    drain: list[str] = []
    try:
        service = wait_for(port, server, drain)
        (card,) = service["runs"]

        async def all_loads() -> list[list[Load]]:
            asked = await questions(card["name"], port, card["examples"], settings)
            await press(port, asked, clients, 1.0)  # warms up
            found: list[list[Load]] = []
            for repeat in range(repeats):
                print(f"repeat {repeat + 1}/{repeats}", file=sys.stderr, flush=True)
                found.append([await press(port, asked, 1, seconds), await press(port, asked, clients, seconds)])
            return found

        found = asyncio.run(all_loads())
    finally:
        server.terminate()
        server.wait()
    return [merged(loads) for loads in zip(*found, strict=True)]


def wait_for(port: int, server: subprocess.Popen[str], drain: list[str]) -> dict[str, Any]:
    """What the server serves, once it answers; its log is read all the while so that it never waits for a reader."""
    import threading

    assert server.stderr is not None, "opened as a pipe"
    threading.Thread(target=lambda: drain.extend(server.stderr or ()), daemon=True).start()
    until = time.monotonic() + 120
    while time.monotonic() < until and server.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/service", timeout=5) as answer:
                document: dict[str, Any] = json.load(answer)
                return document
        except OSError:
            time.sleep(0.2)
    raise SystemExit("the server did not start: " + "".join(drain[-5:]))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run of spell that was tested")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each load in each repeat")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    results = []
    for name, settings in (("greedy", {"method": "greedy"}), ("beam 5", {"method": "beam", "n_best": 5})):
        lone, many = measure(
            arguments.run,
            clients=arguments.clients,
            seconds=arguments.seconds,
            repeats=arguments.repeats,
            settings=settings,
        )
        details: dict[str, float | int | str] = {
            "lost": lone.lost + many.lost,
            "answered": len(lone.latencies) + len(many.latencies),
        }
        for label, load in (("1", lone), (str(arguments.clients), many)):
            details[f"per_second_{label}"] = round(load.per_second, 1)
            details[f"p50_ms_{label}"] = round(1000 * statistics.median(load.latencies), 1)
            details[f"p99_ms_{label}"] = round(load.percentile_ms(0.99), 1)
        results.append(
            Result(f"{name}, {arguments.clients} clients", many.per_second / lone.per_second, TARGET, details)
        )
    show(results, as_json=arguments.json)
    if any(result.details["lost"] for result in results):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
