"""Running the application: one process, one address, a stop that lets requests finish."""

from __future__ import annotations

import ipaddress
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import uvicorn

from triptych.api.serving import ServeLimits, TriptychError
from triptych.serve.access import Access
from triptych.serve.connections import capacity, protocol

_OWN_NAMES = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True)
class Address:
    """Where to listen.

    Attributes:
        host: name or address of this machine.
        port: 0 for any free one.
    """

    host: str = "127.0.0.1"
    port: int = 8000

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def names(self) -> tuple[str, ...]:
        """Names in the Host header of those who call it, where that is a loopback address."""
        own = f"[{self.host}]" if ":" in self.host else self.host
        return tuple(dict.fromkeys((*_OWN_NAMES, own)))


def access_for(
    address: Address,
    *,
    key: str | None,
    insecure: bool,
    allowed_hosts: Sequence[str] = (),
    allowed_origins: Sequence[str] = (),
) -> Access:
    """Access rules of a server at an address.

    Raises:
        TriptychError: others can reach it without a key, and --insecure was not given; the key is short; or an origin
            is malformed.
    """
    if key is not None and (len(key) < 8 or not key.isascii() or not key.isprintable() or " " in key):
        raise TriptychError(
            f"The API key has {len(key)} characters; expected at least 8, printable ASCII without spaces.",
            field="--api-key",
            hint="Make one with: openssl rand -hex 24",
        )
    if key is None and not address.is_loopback and not insecure:
        raise TriptychError(
            f"--host is {address.host}, which others can reach, and there is no API key.",
            field="--host",
            hint="Set TRIPTYCH_API_KEY, or pass --insecure to serve without a key.",
        )
    for origin in allowed_origins:
        if origin != "*" and not re.fullmatch(r"https?://[^/\s]+", origin):
            raise TriptychError(
                field="--allow-origin", value=origin, expected="scheme and host, such as https://app.example.org"
            )
    origins = tuple(origin.lower() for origin in allowed_origins)
    if allowed_hosts:
        return Access(key, tuple(name.lower() for name in allowed_hosts), origins)
    return Access(key, address.names if address.is_loopback else None, origins)


def checked_root_path(path: str) -> str:
    """A root path with a slash at its beginning and none at its end; empty for none.

    Raises:
        TriptychError: it has characters that a path of an address has not.
    """
    if not re.fullmatch(r"[\w\-./~]*", path, re.ASCII) or "//" in path:
        raise TriptychError(field="--root-path", value=path, expected="a path such as /models")
    whole = path.strip("/")
    return f"/{whole}" if whole else ""


def make_server(app: Any, address: Address, limits: ServeLimits) -> uvicorn.Server:
    """A server that is ready to run.

    Args:
        app: the application.
        address: where to listen.
        limits: its `timeout_s` is also the time for requests in progress when the server is stopped.
    """
    config = uvicorn.Config(
        app,
        host=address.host,
        port=address.port,
        http=protocol(limits),
        lifespan="on",
        access_log=False,  # the gate's own lines hold nothing from outside
        log_config=_LOGGING,
        server_header=False,
        date_header=False,
        ws="none",
        backlog=capacity(limits)[1],
        timeout_keep_alive=max(1, round(limits.idle_timeout_s)),
        timeout_graceful_shutdown=max(1, round(limits.timeout_s)),
    )
    return uvicorn.Server(config)


def run_server(app: Any, address: Address, limits: ServeLimits) -> None:
    """Answer until SIGINT or SIGTERM; then accept nothing new, finish the requests in progress, and return.

    Raises:
        TriptychError: the address cannot be used.
    """
    sys.setswitchinterval(0.0005)  # PyTorch's thread takes Python's lock at each of its many calls
    try:
        make_server(app, address, limits).run()
    except SystemExit as ended:
        if ended.code:
            raise TriptychError(
                f"Cannot listen on {address.host}, port {address.port}; the line above gives the reason.",
                field="--port",
                hint="Choose another --host or --port.",
            ) from None
        raise


_LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain", "stream": "ext://sys.stderr"}},
    "loggers": {
        "uvicorn": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
        "triptych.serve": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
    },
}
