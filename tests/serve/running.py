"""A server in a thread, listening on a port of its own, as requests from outside meet it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from triptych.config.serve import ServeLimits
from triptych.serve.server import Address, make_server


@contextmanager
def running(app: Any, limits: ServeLimits | None = None) -> Iterator[str]:
    """The address of an application that is being served; `limits` are those of its connections."""
    server = make_server(app, Address(port=0), limits or ServeLimits())
    thread = threading.Thread(target=server.run)
    thread.start()
    until = time.monotonic() + 20
    while not server.started and thread.is_alive() and time.monotonic() < until:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
