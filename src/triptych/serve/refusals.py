"""Why a request is not answered, as errors that know their HTTP status."""

from __future__ import annotations

from collections.abc import Mapping

from triptych.api.serving import TriptychError, did_you_mean


class RefusedError(TriptychError):
    """A request that cannot be answered; its text is for the person who sent it.

    Attributes:
        status: HTTP status.
        headers: further headers of the answer.
    """

    status = 400
    headers: Mapping[str, str] = {}


class BadRequestError(RefusedError):
    """It is not a well-formed request."""


class NoKeyError(RefusedError):
    """The key is missing or wrong."""

    status = 401
    headers = {"WWW-Authenticate": "Bearer"}  # noqa: RUF012 - never changed

    def __init__(self) -> None:
        super().__init__(
            "This server requires an API key, and the request has none or a wrong one.",
            hint="Send it as Authorization: Bearer KEY.",
        )


class NotAllowedError(RefusedError):
    """Not from there, or not on this server."""

    status = 403


class NotServedError(RefusedError):
    """No run, memory or pattern of that name."""

    status = 404


class IncompleteError(RefusedError):
    """The request was not complete in time."""

    status = 408


class ChangedError(RefusedError):
    """Other processes change the same memory."""

    status = 409


class TooLargeError(RefusedError):
    """More than a limit of the server, which the message names."""

    status = 413


class WrongKindError(RefusedError):
    """The body is of a kind that is not read at this address."""

    status = 415


class TooManyWrongKeysError(RefusedError):
    """Many requests with wrong keys are in progress."""

    status = 429
    headers = {"Retry-After": "1"}  # noqa: RUF012 - never changed

    def __init__(self) -> None:
        super().__init__("Too many requests with wrong API keys.", hint="Try again in 1 s.")


class BusyError(RefusedError):
    """As many requests wait as may wait."""

    status = 503
    headers = {"Retry-After": "1"}  # noqa: RUF012 - never changed

    def __init__(self, queue_size: int) -> None:
        super().__init__(
            f"The server is busy: {queue_size} requests are in progress, its limit queue_size.",
            field="queue_size",
            hint="Try again in 1 s.",
        )


class StoppingError(RefusedError):
    """The server is being stopped."""

    status = 503
    headers = {"Retry-After": "10"}  # noqa: RUF012 - never changed

    def __init__(self) -> None:
        super().__init__("The server is stopping.", hint="Try again in 10 s.")


class TooSlowError(RefusedError):
    """No answer in time."""

    status = 504


def check_limit(what: str, value: float, most: float, limit: str, advice: str = "Send a smaller request.") -> None:
    """Check that a value keeps to a limit of the server.

    Raises:
        TooLargeError: it does not; the message names the value, the rule and the limit.
    """
    if value > most:
        raise TooLargeError(
            field=what, value=value, expected=f"at most {most} (the server's limit {limit})", hint=advice
        )


def printable(text: str, longest: int = 60) -> str:
    """A text from outside in a form that is safe in a message: quoted, cut, control characters escaped."""
    return ascii(text if len(text) <= longest else text[:longest] + "...")


def not_served(what: str, name: str, known: list[str]) -> NotServedError:
    """The error for a name that is not served."""
    hint = did_you_mean(name[:100], known) if known else "None is served."
    return NotServedError(f"{what} is {printable(name)}; expected one that is served.", field=what, hint=hint)
