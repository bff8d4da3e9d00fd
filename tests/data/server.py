"""A small HTTP server that misbehaves on request."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Site:
    """What to serve, how, and what was asked.

    Attributes:
        body: the bytes of every path, where `files` is empty.
        files: bytes by path, `/a/b`; other paths are not found.
        faults: one per request, in order, then none: a status to answer, "cut" after half the announced bytes, or
            "stall" there.
        requests: the headers of every request, with its path under ":path".
    """

    body: bytes
    faults: list[int | str] = field(default_factory=list)
    requests: list[dict[str, str]] = field(default_factory=list)
    files: Mapping[str, bytes] = field(default_factory=dict)
    address: str = ""
    stall_s: float = 1.0
    closing: threading.Event = field(default_factory=threading.Event)
    delay_s: float = 0.0

    def start(self) -> ThreadingHTTPServer:
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{server.server_port}/"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return server

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.requests.append({":path": request.path, **request.headers})
        fault = self.faults.pop(0) if self.faults else None
        time.sleep(self.delay_s)
        if isinstance(fault, int):
            request.send_error(fault)
            return
        if self.files and request.path not in self.files:
            request.send_error(404)
            return
        body = self.files.get(request.path, self.body)
        request.send_response(200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if fault in ("cut", "stall"):
            request.wfile.write(body[: len(body) // 2])
            request.wfile.flush()
            if fault == "stall":
                self.closing.wait(self.stall_s)
            return
        request.wfile.write(body)
