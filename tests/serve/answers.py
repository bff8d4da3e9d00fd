"""Answers that are errors: their status and field, and their sentence in the file of messages."""

from __future__ import annotations

import requests

from tests.messages import check_message
from triptych.errors import TriptychError


def check_refusal(answer: requests.Response, status: int, field: str | None, name: str = "") -> None:
    """An answer has that status and is about that field; with a name, its sentence is the one of that name."""
    content = answer.json()
    assert (answer.status_code, content.get("field")) == (status, field), content
    assert "/tmp" not in content["error"]
    if name:
        check_message(f"serve.{name}", TriptychError(content["error"]))
