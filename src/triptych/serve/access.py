"""Access control: accepted host names, accepted origins of pages, and the API key."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from triptych.serve.refusals import NoKeyError, NotAllowedError, TooManyWrongKeysError, printable

WRONG_KEY_DELAY_S = 0.5
MOST_WRONG_KEYS = 8  # answered at a time: together with the delay, 16 guesses a second
_NEEDS_KEY = ("/v1/", "/metrics")


@dataclass
class Access:
    """Rules for requests: hosts, origins and key.

    Attributes:
        key: what requests must carry; None requires none.
        hosts: names that the server answers to, without ports; None for any. On a loopback address this keeps out
            pages of other sites that point a name of theirs at it.
        origins: other sites whose pages may send requests, such as `https://app.example.org`; `*` for all.
    """

    key: str | None = None
    hosts: Sequence[str] | None = None
    origins: Sequence[str] = ()
    _wrong: int = field(default=0, init=False)

    def check_host(self, headers: Mapping[str, str]) -> None:
        """Check the name that the server was called by.

        Raises:
            NotAllowedError: it is not one of its names.
        """
        host = headers.get("host", "")
        if self.hosts is not None and _host_name(host) not in self.hosts:
            raise NotAllowedError(
                f"Host is {printable(host)}; expected one of {', '.join(self.hosts)}.",
                field="Host",
                hint="Add a name with the server's option --allow-host.",
            )

    def check_origin(self, method: str, headers: Mapping[str, str]) -> None:
        """Check that a request which may change something does not come from another site's page.

        Browsers say where a request comes from in Sec-Fetch-Site, which holds behind any proxy; where that is missing,
        Origin is compared with Host.

        Raises:
            NotAllowedError: it does.
        """
        origin = headers.get("origin")
        if method in ("GET", "HEAD") or origin is None or "*" in self.origins or origin in self.origins:
            return
        own_page = urlsplit(origin).netloc == headers.get("host", "")
        if headers.get("sec-fetch-site") == "same-origin" or own_page:
            return
        raise NotAllowedError(
            f"Origin is {printable(origin)}; expected this server's own pages or an allowed origin.",
            field="Origin",
            hint="Allow it with the server's option --allow-origin, or have the proxy pass the Host header on.",
        )

    def has_key(self, headers: Mapping[str, str]) -> bool:
        """Whether a request carries the key, or none is required."""
        if self.key is None:
            return True
        kind, _, key = headers.get("authorization", "").partition(" ")
        right = hmac.compare_digest(key.strip().encode("latin-1"), self.key.encode("utf-8"))
        return right and kind.lower() == "bearer"

    async def check_key(self, path: str, headers: Mapping[str, str]) -> None:
        """Check the key of a request to an address that requires it, and slow down those who guess.

        Raises:
            NoKeyError: it is missing, or wrong, which is answered after a delay.
            TooManyWrongKeysError: many wrong keys wait for their answers.
        """
        if not path.startswith(_NEEDS_KEY) or self.has_key(headers):
            return
        if "authorization" in headers:
            if self._wrong >= MOST_WRONG_KEYS:
                raise TooManyWrongKeysError
            self._wrong += 1
            try:
                await asyncio.sleep(WRONG_KEY_DELAY_S)
            finally:
                self._wrong -= 1
        raise NoKeyError


def _host_name(host: str) -> str:
    """The name in a Host header, without its port."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() and not host.endswith("]") else host
    return name.lower()
