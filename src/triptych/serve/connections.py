"""Connections: none may wait for ever, and there are never more than the process has files for.

uvicorn closes a connection that was idle after a request, but not one that never sends a whole request's headers; and
asyncio, once the process has no file descriptors left, logs an error for every connection it cannot accept. Here a
connection that takes too long is closed, and where there are too many, the one that has been idle longest makes room.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from triptych.api.serving import ServeLimits

_OTHER_FILES = 64  # of the process: libraries, logs, models being read
_WITHOUT_LIMIT = 1000  # connections, where the system has no limit of open files
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: 40\r\n"
    b'retry-after: 1\r\nconnection: close\r\n\r\n{"error": "All connections are in use."}'
)


def capacity(limits: ServeLimits) -> tuple[int, int]:
    """Connections that may be open at a time, and how many are accepted in one go, which may exceed it for a moment.

    The first is the limit `max_connections`, or as many as the limit of open files leaves room for.
    """
    files = _open_files()
    backlog = max(8, min(128, files // 16))
    most = max(8, files - _OTHER_FILES - 4 * backlog)  # one that is refused is open for up to four turns of the loop
    return min(limits.max_connections or most, most), backlog


def protocol(limits: ServeLimits) -> Any:
    """The protocol object that uvicorn creates per connection."""
    return partial(Connection, idle_timeout_s=limits.idle_timeout_s, max_connections=capacity(limits)[0])


class Connection(HttpToolsProtocol):
    """One connection; it is idle until a request's headers are complete, and again after the answer.

    Args:
        config, server_state, app_state: uvicorn's.
        idle_timeout_s: seconds after which it is closed while idle.
        max_connections: of the server.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        idle_timeout_s: float,
        max_connections: int,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.idle_timeout_s, self.max_connections = idle_timeout_s, max_connections
        self.idle_since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._refused = False

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, if there is room or an idle one can make room."""
        if len(self.connections) >= self.max_connections:
            idle = [one for one in self.connections if isinstance(one, Connection) and one.is_idle]
            if idle:
                min(idle, key=lambda one: one.idle_since).close()
            else:
                self._refused, self.transport = True, transport
                transport.write(_BUSY)
                transport.close()
                return
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, and wait on where a request's headers are not complete."""
        if self._refused or self.transport.is_closing():
            return
        super().data_received(data)
        if self.is_idle and self._timer is None:
            self._wait()

    def on_headers_complete(self) -> None:
        """Begin a request."""
        self._stop_waiting()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Be idle again; uvicorn's own timer waits for the next request."""
        self.idle_since = time.monotonic()
        super().on_response_complete()

    def shutdown(self) -> None:
        """As the server stops: finish a request, unless it is still being sent."""
        if self.cycle is not None and not self.cycle.response_complete and self.cycle.more_body:
            self.close()
            return
        super().shutdown()

    def close(self) -> None:
        """Close the connection now."""
        self.connections.discard(self)
        self.transport.close()

    def _wait(self) -> None:
        self.idle_since = time.monotonic()
        self._timer = self.loop.call_later(self.idle_timeout_s, self.close)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _open_files() -> int:
    """The process's limit of open files."""
    try:
        import resource
    except ImportError:  # Windows
        return _WITHOUT_LIMIT
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2 * _WITHOUT_LIMIT if soft == resource.RLIM_INFINITY else min(soft, 65_536)
