"""Where a server may listen, its bounds, and the command that starts it."""

from __future__ import annotations

import os
import signal
import socket
import time
from dataclasses import fields
from pathlib import Path

import pytest
import requests

from tests.command import begin, triptych
from triptych.cli.serve import serve
from triptych.errors import RunError, TriptychError
from triptych.serve.catalogue import load_catalogue
from triptych.serve.limits import Limits, option
from triptych.serve.server import Address, access_for


def test_only_this_machine_may_ask_without_a_key() -> None:
    for host in ("127.0.0.1", "localhost", "::1", "127.8.8.8"):
        assert access_for(Address(host), key=None, insecure=False).hosts == ("localhost", "127.0.0.1", "[::1]")
    for host in ("0.0.0.0", "::", "192.168.1.5", "models.example.org"):
        with pytest.raises(TriptychError, match=f"--host is {host} and there is no key"):
            access_for(Address(host), key=None, insecure=False)
        assert access_for(Address(host), key=None, insecure=True).hosts is None
        assert access_for(Address(host), key="long enough".replace(" ", "-"), insecure=False).key == "long-enough"


@pytest.mark.parametrize("key", ["", "short", "with a space in it", "nicht-äscii", "line\nbreak-key"])
def test_keys_that_cannot_be_sent_or_are_guessed_are_refused(key: str) -> None:
    with pytest.raises(TriptychError, match=f"the API key has {len(key)} characters; expected at least 8"):
        access_for(Address(), key=key, insecure=False)


def test_every_bound_is_an_option_with_the_same_default() -> None:
    defaults = serve.__defaults__ or ()
    names = serve.__code__.co_varnames[: serve.__code__.co_argcount]
    options = dict(zip(names, defaults, strict=True))
    assert {field.name: options[field.name] for field in fields(Limits)} == vars(Limits())


@pytest.mark.parametrize("name", [field.name for field in fields(Limits)])
def test_bounds_out_of_range_are_refused(name: str) -> None:
    for value in (-1, float("inf"), float("nan")):
        with pytest.raises(TriptychError, match=f"{option(name)} is {value}; expected a number >= "):
            Limits(**{name: value})  # type: ignore[arg-type]


def test_nothing_to_serve_and_one_name_twice_are_refused(see_run: Path) -> None:
    with pytest.raises(TriptychError, match="none; expected at least one"):
        load_catalogue([], [], device="cpu", max_image_pixels=1)
    with pytest.raises(TriptychError, match="'digits' is there twice"):
        load_catalogue([str(see_run)] * 2, [], device="cpu", max_image_pixels=1)
    with pytest.raises(RunError, match="run is 'nowhere'"):
        load_catalogue(["nowhere"], [], device="cpu", max_image_pixels=1)


@pytest.mark.slow
def test_the_command_serves_refuses_and_stops(see_run: Path, tmp_path: Path) -> None:
    refused = triptych("serve", see_run, "--host", "0.0.0.0", runs=tmp_path)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "--insecure" in refused.stderr
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        busy = triptych("serve", see_run, "--port", str(port), runs=tmp_path)
        assert busy.returncode == 2
        assert f"--host and --port are 127.0.0.1 and {port}" in busy.stderr
    process = begin("serve", see_run, "--port", str(port), runs=tmp_path)
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            assert requests.get(f"http://127.0.0.1:{port}/readyz", timeout=5).json() == {"status": "ready"}
            break
        except requests.ConnectionError:
            time.sleep(0.2)
    os.kill(process.pid, signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode in (0, -signal.SIGTERM)
