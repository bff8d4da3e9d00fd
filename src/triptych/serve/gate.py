"""What every request passes before it reaches a route: who asks, how much, how long, and what is counted of it.

It wraps the whole application, so that nothing is parsed before its size is known. Log lines and metrics are made of
the route's template, the status and times: no text from outside gets into them.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import secrets
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from triptych.serve.catalogue import printable
from triptych.serve.limits import Limits
from triptych.serve.metrics import Metrics
from triptych.serve.refusals import BusyError, IncompleteError, NoKeyError, NotAllowedError, RefusedError, TooLargeError

logger = logging.getLogger("triptych.serve")

_ALWAYS_ANSWERED = ("/healthz", "/readyz")  # by those who watch over the server, under load and without a key
_NEEDS_KEY = ("/v1/", "/metrics")
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_GONE = 499  # the client left before there was an answer
SECURITY_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


@dataclass(frozen=True)
class Access:
    """Who may ask.

    Attributes:
        key: what requests must carry; None asks for none.
        hosts: names the server answers to, without ports; None for any. On a loopback address this keeps out pages
            of other sites that point a name of theirs at it.
    """

    key: str | None = None
    hosts: Sequence[str] | None = None


class Gate:
    """ASGI middleware.

    Args:
        app: what answers.
        access: who may ask.
        limits: how much at once.
        metrics: where requests are counted.
    """

    def __init__(self, app: Any, *, access: Access, limits: Limits, metrics: Metrics) -> None:
        self.app, self.access, self.limits, self.metrics = app, access, limits, metrics
        self._in_flight = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request, or hand it on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, answer = time.monotonic(), _Answer(send)
        self._in_flight += 1
        self.metrics.in_flight(self._in_flight)
        try:
            await self._answer(scope, receive, answer)
        finally:
            self._in_flight -= 1
            self.metrics.in_flight(self._in_flight)
            self._record(scope, answer.status or _GONE, time.monotonic() - began)

    async def _answer(self, scope: Any, receive: Any, answer: _Answer) -> None:
        try:
            self._check(scope)
            body = await self._body(scope, receive)
            if body is None:
                return
            await self.app(scope, _Replay(body, receive), answer)
        except RefusedError as refusal:
            await answer.refuse(refusal.status, str(refusal), refusal.headers)
        except Exception as error:  # noqa: BLE001 - a fault of the server's, which must not end it
            number = secrets.token_hex(4)
            frames = "; ".join(
                f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)
            )
            logger.error("error %s: %s %s at %s", number, type(error).__name__, printable(str(error), 500), frames)
            await answer.refuse(500, f"the server made an error. Its log tells of it under {number}.", {})

    def _check(self, scope: Any) -> None:
        """See that the request may be answered.

        Raises:
            RefusedError: it may not.
        """
        path = scope["path"]
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "")
        if self.access.hosts is not None and _host_name(host) not in self.access.hosts:
            raise NotAllowedError(
                f"Host is {printable(host)}; expected one of {', '.join(self.access.hosts)} (--allow-host)."
            )
        origin = headers.get("origin")
        if scope["method"] not in ("GET", "HEAD") and origin is not None and urlsplit(origin).netloc != host:
            raise NotAllowedError(f"Origin is {printable(origin)}; expected this server's own pages only.")
        if self.access.key is not None and path.startswith(_NEEDS_KEY):
            kind, _, key = headers.get("authorization", "").partition(" ")
            right = hmac.compare_digest(key.strip().encode("latin-1"), self.access.key.encode("utf-8"))
            if kind.lower() != "bearer" or not right:
                raise NoKeyError
        if self._in_flight > self.limits.queue_size and path not in _ALWAYS_ANSWERED:
            raise BusyError(self.limits.queue_size)

    async def _body(self, scope: Any, receive: Any) -> bytes | None:
        """The whole body; None where the client leaves before its end.

        Raises:
            TooLargeError, IncompleteError: it is more, or takes longer, than the server allows.
        """
        most = self.limits.max_body_bytes
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if not declared.isdigit() or len(declared) > 15:
            raise TooLargeError(
                f"Content-Length is {printable(declared.decode('latin-1'))}; expected a number of bytes up to {most} "
                "(--max-body-bytes of the server). Send less."
            )
        if int(declared) > most:
            raise TooLargeError(_too_large(str(int(declared)), most))
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self.limits.timeout_s):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > most:
                        raise TooLargeError(_too_large(f"more than {most}", most))
                    if not message.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError:
            raise IncompleteError(
                f"the request is not complete after {self.limits.timeout_s:g} s; expected less (--timeout-s of the "
                "server). Send it again."
            ) from None

    def _record(self, scope: Any, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "other"
        route = getattr(scope.get("route"), "path", "none")
        self.metrics.request(method, route, status, seconds)
        logger.info("%s %s %d %.1f ms", method, route, status, 1000 * seconds)


class _Answer:
    """The way back, which adds the security headers and remembers the status."""

    def __init__(self, send: Any) -> None:
        self._send = send
        self.status = 0

    async def __call__(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = [(name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]
            message = {**message, "headers": [*message.get("headers", []), *own]}
        await self._send(message)

    async def refuse(self, status: int, words: str, headers: dict[str, str]) -> None:
        """Say why there is no answer, unless one has begun."""
        if self.status:
            return
        content = json.dumps({"error": words}).encode()
        every = {"content-type": "application/json", "content-length": str(len(content)), "connection": "close"}
        every |= {name.lower(): value for name, value in headers.items()}
        pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in every.items()]
        await self({"type": "http.response.start", "status": status, "headers": pairs})
        await self({"type": "http.response.body", "body": content})


class _Replay:
    """Gives a body that was read already, and then whatever the connection gives."""

    def __init__(self, body: bytes, receive: Any) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Any:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


def _too_large(size: str, most: int) -> str:
    return f"the body is {size} bytes; expected at most {most} (--max-body-bytes of the server). Send less."


def _host_name(host: str) -> str:
    """The name of a Host header, without its port."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() and not host.endswith("]") else host
    return name.lower()
