"""Running the application: one process, one address, a stop that lets requests finish."""

from __future__ import annotations

import ipaddress
import sys
from dataclasses import dataclass
from typing import Any

import uvicorn

from triptych.errors import TriptychError
from triptych.serve.gate import Access

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


def access_for(address: Address, *, key: str | None, insecure: bool, allowed_hosts: tuple[str, ...] = ()) -> Access:
    """Who may ask a server at an address.

    Raises:
        TriptychError: others can reach it, no key is asked for, and that was not said to be meant; or the key is short.
    """
    if key is not None and (len(key) < 8 or not key.isascii() or not key.isprintable() or " " in key):
        raise TriptychError(
            f"the API key has {len(key)} characters; expected at least 8, printable ASCII without spaces. "
            "Make one with: openssl rand -hex 24"
        )
    if key is None and not address.is_loopback and not insecure:
        raise TriptychError(
            f"--host is {address.host} and there is no key; expected one where others can reach the server. "
            "Set TRIPTYCH_API_KEY, or say --insecure if that is meant."
        )
    if allowed_hosts:
        return Access(key, tuple(name.lower() for name in allowed_hosts))
    return Access(key, _OWN_NAMES if address.is_loopback else None)


def make_server(app: Any, address: Address, *, grace_s: float) -> uvicorn.Server:
    """A server that is ready to run.

    Args:
        app: the application.
        address: where to listen.
        grace_s: seconds that requests under way are given when it is stopped.
    """
    config = uvicorn.Config(
        app,
        host=address.host,
        port=address.port,
        lifespan="on",
        access_log=False,  # the gate's own lines hold nothing from outside
        log_config=_LOGGING,
        server_header=False,
        date_header=False,
        ws="none",
        timeout_keep_alive=15,
        timeout_graceful_shutdown=max(1, round(grace_s)),
    )
    return uvicorn.Server(config)


def run_server(app: Any, address: Address, *, grace_s: float) -> None:
    """Answer until SIGINT or SIGTERM; then take nothing new, finish what is under way, and return.

    Raises:
        TriptychError: the address cannot be used.
    """
    try:
        make_server(app, address, grace_s=grace_s).run()
    except SystemExit as ended:
        if ended.code:
            raise TriptychError(
                f"--host and --port are {address.host} and {address.port}; expected an address that is free. "
                "The line above says why it cannot be used."
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


def tune_threads() -> None:
    """Let threads take turns every half millisecond: PyTorch's thread asks for the lock at each of its many calls."""
    sys.setswitchinterval(0.0005)
