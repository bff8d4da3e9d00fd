"""Why a request is not answered, as errors that know their HTTP status."""

from __future__ import annotations

from triptych.errors import TriptychError


class RefusedError(TriptychError):
    """A request that cannot be answered; its text is for the person who sent it.

    Attributes:
        status: HTTP status.
        headers: what the answer carries besides.
    """

    status = 400

    def __init__(self, message: str, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.headers = headers or {}


class NotAllowedError(RefusedError):
    """Not from there, or not on this server."""

    status = 403


class NoKeyError(RefusedError):
    """The key is missing or wrong."""

    status = 401

    def __init__(self) -> None:
        super().__init__(
            "the key is missing or wrong; expected the server's. Send it as Authorization: Bearer KEY.",
            headers={"WWW-Authenticate": "Bearer"},
        )


class NotServedError(RefusedError):
    """No run, memory or pattern of that name."""

    status = 404


class TooLargeError(RefusedError):
    """Beyond one of the server's bounds, which the message names."""

    status = 413


class WrongKindError(RefusedError):
    """The body is of a kind that is not read at this address."""

    status = 415


class BusyError(RefusedError):
    """As many requests wait as may wait."""

    status = 503

    def __init__(self, queue_size: int, *, retry_after_s: int = 1) -> None:
        super().__init__(
            f"the requests under way are {queue_size}; expected fewer (--queue-size). Try again in {retry_after_s} s.",
            headers={"Retry-After": str(retry_after_s)},
        )


class StoppingError(RefusedError):
    """The server is being stopped."""

    status = 503

    def __init__(self) -> None:
        super().__init__("the server is stopping. Try again in a while.", headers={"Retry-After": "10"})


class IncompleteError(RefusedError):
    """The request was not complete in time."""

    status = 408


class TooSlowError(RefusedError):
    """No answer in time."""

    status = 504


def check_bound(what: str, value: float, bound: float, option: str, advice: str = "Send less.") -> None:
    """See that a value keeps to a bound of the server.

    Raises:
        TooLargeError: it does not; the message names the value, the bound and the option that sets it.
    """
    if value > bound:
        raise TooLargeError(f"{what} is {value}; expected at most {bound} ({option} of the server). {advice}")
