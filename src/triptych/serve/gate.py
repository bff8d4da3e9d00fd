"""Middleware of all requests: access, size and time limits, and the line in the log.

It wraps the whole application, so that nothing is parsed before its size is known. Log lines and metrics are made of
the route's template, the status and times: no text from outside gets into them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import time
import traceback
from contextvars import ContextVar
from typing import Any

from triptych.api.serving import ServeLimits
from triptych.serve.access import Access
from triptych.serve.metrics import Metrics
from triptych.serve.refusals import (
    BadRequestError,
    BusyError,
    IncompleteError,
    RefusedError,
    TooLargeError,
    check_limit,
    printable,
)

logger = logging.getLogger("triptych.serve")
CLIENT: ContextVar[str] = ContextVar("CLIENT", default="")  # address of the client whose request is being answered

_ALWAYS_ANSWERED = ("/healthz", "/readyz")  # for monitoring: under load and without a key
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_GONE = 499  # the client left before there was an answer
SECURITY_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


class Gate:
    """ASGI middleware.

    Args:
        app: the application behind it.
        access: who may send requests.
        limits: how much at once.
        metrics: where requests are counted.
        root_path: the path that a proxy serves the application under, without a slash at its end; it may be in a
            request's path or have been removed.
    """

    def __init__(self, app: Any, *, access: Access, limits: ServeLimits, metrics: Metrics, root_path: str = "") -> None:
        self.app, self.access, self.limits, self.metrics, self.root_path = app, access, limits, metrics, root_path
        self._in_flight = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request, or pass it on."""
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
        CLIENT.set((scope.get("client") or ("",))[0])
        try:
            path = self._enter(scope)
            if path == "":
                await answer.redirect(f"{self.root_path}/")
                return
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            self.access.check_host(headers)
            self.access.check_origin(scope["method"], headers)
            await self.access.check_key(path, headers)
            if self._in_flight > self.limits.queue_size and path not in _ALWAYS_ANSWERED:
                raise BusyError(self.limits.queue_size)
            body = await self._body(headers, receive)
            if body is not None:
                await self._pass_on(scope, body, receive, answer)
        except RefusedError as refusal:
            await answer.refuse(refusal)
        except Exception as error:  # noqa: BLE001 - a fault of the server's, which must not end it
            number = secrets.token_hex(4)
            frames = "; ".join(
                f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)
            )
            logger.error("error %s: %s %s at %s", number, type(error).__name__, printable(str(error), 500), frames)
            await answer.refuse(_fault(number))

    def _enter(self, scope: Any) -> str:
        """Note the root path in the scope, and return the path below it."""
        path: str = scope["path"]
        if self.root_path and (path == self.root_path or path.startswith(f"{self.root_path}/")):
            path = path[len(self.root_path) :]
        scope["root_path"], scope["path"] = self.root_path, self.root_path + path
        return path

    async def _pass_on(self, scope: Any, body: bytes, receive: Any, answer: _Answer) -> None:
        """Have the application answer, and stop it when the client leaves."""
        work = asyncio.ensure_future(self.app(scope, _Replay(body), answer))
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                work.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await work
                return
            work.result()
        finally:
            gone.cancel()
            work.cancel()

    async def _body(self, headers: dict[str, str], receive: Any) -> bytes | None:
        """The whole body; None where the client leaves before its end.

        Raises:
            BadRequestError, TooLargeError, IncompleteError: its length is malformed, or it is larger, or takes longer,
                than the server allows.
        """
        most = self.limits.max_body_bytes
        declared = headers.get("content-length", "0")
        if not (declared.isascii() and declared.isdigit()):
            raise BadRequestError(
                f"Content-Length is {printable(declared)}; expected a number of bytes.", field="Content-Length"
            )
        check_limit("Content-Length", int(declared[:20]), most, "max_body_bytes")
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
                        raise TooLargeError(
                            f"The body has more than {most} bytes, the server's limit max_body_bytes.",
                            field="max_body_bytes",
                            hint="Send a smaller request.",
                        )
                    if not message.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError:
            raise IncompleteError(
                f"The request was not complete after {self.limits.timeout_s:g} s, the server's limit timeout_s.",
                field="timeout_s",
                hint="Send it again.",
            ) from None

    def _record(self, scope: Any, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "other"
        route = getattr(scope.get("route"), "path", "none")
        self.metrics.request(method, route, status, seconds)
        logger.info("%s %s %d %.1f ms", method, route, status, 1000 * seconds)


class _Answer:
    """Sends an answer, adds the security headers and remembers the status."""

    def __init__(self, send: Any) -> None:
        self._send = send
        self.status = 0

    async def __call__(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = [(name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]
            message = {**message, "headers": [*message.get("headers", []), *own]}
        await self._send(message)

    async def refuse(self, refusal: RefusedError) -> None:
        """Send the reason of a refusal, unless a response has begun."""
        if self.status:
            return
        content = json.dumps(error_content(refusal)).encode()
        headers = {"content-type": "application/json", "connection": "close", **refusal.headers}
        await self._whole(refusal.status, content, headers)

    async def redirect(self, path: str) -> None:
        """Send the client to another path."""
        await self._whole(307, b"", {"location": path})

    async def _whole(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        every = {**headers, "content-length": str(len(content))}
        pairs = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in every.items()]
        await self({"type": "http.response.start", "status": status, "headers": pairs})
        await self({"type": "http.response.body", "body": content})


class _Replay:
    """Gives a body that was read already, and nothing more: the gate itself hears of clients that leave."""

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body

    async def __call__(self) -> Any:
        if self._body is None:
            await asyncio.Event().wait()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


async def _disconnected(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def error_content(error: Any) -> dict[str, str]:
    """An error as a request's answer: one sentence without paths of this machine, and the field it is about."""
    text = str(error)
    if error.path is not None:
        for place in (f"{error.path}:{error.line}: ", f"{error.path}: "):
            text = text.removeprefix(place)
        text = text.replace(str(error.path), error.path.name)
    return {"error": text} | ({"field": error.field} if error.field else {})


def _fault(number: str) -> RefusedError:
    fault = RefusedError(f"Internal server error. See entry {number} in the server's log.")
    fault.status = 500
    return fault
