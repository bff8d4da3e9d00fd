"""Where a server may listen, its limits, and the command that starts it."""

from __future__ import annotations

import os
import signal
import socket
import time
import tomllib
from pathlib import Path

import pytest
import requests

from tests.command import begin, triptych
from tests.messages import check_message
from triptych.api.serving import load_catalogue
from triptych.config.serve import ServeLimits, describe_limits, load_limits
from triptych.errors import RecipeError, RunError, TriptychError
from triptych.serve.server import Address, access_for, checked_root_path


def test_only_this_machine_may_send_requests_without_a_key() -> None:
    for host, more in (("127.0.0.1", []), ("localhost", []), ("::1", []), ("127.8.8.8", ["127.8.8.8"])):
        names = ["localhost", "127.0.0.1", "[::1]", *more]
        assert list(access_for(Address(host), key=None, insecure=False).hosts or ()) == names
    for host in ("0.0.0.0", "::", "192.168.1.5", "models.example.org"):
        with pytest.raises(TriptychError) as caught:
            access_for(Address(host), key=None, insecure=False)
        assert caught.value.field == "--host"
        assert access_for(Address(host), key=None, insecure=True).hosts is None
        assert access_for(Address(host), key="long-enough", insecure=False).key == "long-enough"
    check_message("serve.no-key", caught.value)


@pytest.mark.parametrize("key", ["", "short", "with a space in it", "nicht-äscii", "line\nbreak-key"])
def test_keys_that_cannot_be_sent_or_are_short_are_refused(key: str) -> None:
    with pytest.raises(TriptychError) as caught:
        access_for(Address(), key=key, insecure=False)
    assert caught.value.field == "--api-key"
    if key == "short":
        check_message("serve.short-key", caught.value)


def test_origins_and_root_paths() -> None:
    access = access_for(Address(), key=None, insecure=False, allowed_origins=["https://App.example.org", "*"])
    assert access.origins == ("https://app.example.org", "*")
    for origin in ("app.example.org", "https://a/b", "ftp://a", ""):
        with pytest.raises(TriptychError) as caught:
            access_for(Address(), key=None, insecure=False, allowed_origins=[origin])
        assert (caught.value.field, caught.value.value) == ("--allow-origin", origin)
    for given, path in (("", ""), ("/", ""), ("x", "/x"), ("/x/", "/x"), ("/a/b-c", "/a/b-c")):
        assert checked_root_path(given) == path
    for given in ("/a b", "http://x", "/ä", "/x?y"):
        with pytest.raises(TriptychError) as caught:
            checked_root_path(given)
        assert (caught.value.field, caught.value.value) == ("--root-path", given)


def test_limits_come_from_a_file_and_from_options(tmp_path: Path) -> None:
    file = tmp_path / "limits.toml"
    file.write_text("max_sources = 3\ntimeout_s = 5\n", encoding="utf-8")
    limits = load_limits(file, ["timeout_s=7.5", "queue_size = 2"])
    assert limits.model_dump(include=limits.model_fields_set) == {"max_sources": 3, "timeout_s": 7.5, "queue_size": 2}
    assert tomllib.loads(describe_limits(limits)) == limits.model_dump()
    assert all(field.description for field in ServeLimits.model_fields.values())


@pytest.mark.parametrize("name", list(ServeLimits.model_fields))
def test_limits_out_of_range_are_refused(name: str) -> None:
    for value in ("-1", "inf", "nan", "many", "true"):
        with pytest.raises(RecipeError, match=f"{name} is "):
            load_limits(None, [f"{name}={value}"])


def test_limits_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        load_limits(None, ["max_nbest=3"])
    check_message("serve.unknown-limit", caught.value)
    with pytest.raises(RecipeError) as caught:
        load_limits(None, ["max_sources"])
    assert (caught.value.field, caught.value.value) == ("--limit", "max_sources")
    with pytest.raises(RecipeError) as caught:
        load_limits(tmp_path / "none.toml")
    assert caught.value.path == tmp_path / "none.toml"


def test_nothing_to_serve_and_one_name_twice_are_refused(see_run: Path) -> None:
    with pytest.raises(TriptychError) as caught:
        load_catalogue([], [], limits=ServeLimits())
    check_message("serve.nothing", caught.value)
    with pytest.raises(TriptychError) as caught:
        load_catalogue([str(see_run)] * 2, [], limits=ServeLimits())
    check_message("serve.same-name", caught.value)
    with pytest.raises(RunError):
        load_catalogue(["nowhere"], [], limits=ServeLimits())


def wait_until_ready(port: int) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            assert requests.get(f"http://127.0.0.1:{port}/readyz", timeout=5).json() == {"status": "ready"}
            return
        except requests.ConnectionError:
            time.sleep(0.2)


@pytest.mark.slow
def test_the_command_serves_refuses_and_stops(see_run: Path, tmp_path: Path) -> None:
    refused = triptych("serve", see_run, "--host", "0.0.0.0", runs=tmp_path)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "--insecure" in refused.stderr
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        busy = triptych("serve", see_run, "--port", str(port), runs=tmp_path)
        assert busy.returncode == 2
        assert f"Cannot listen on 127.0.0.1, port {port}" in busy.stderr
    process = begin("serve", see_run, "--port", str(port), "--limit", "timeout_s=30", runs=tmp_path)
    wait_until_ready(port)
    with socket.create_connection(("127.0.0.1", port)) as half, socket.create_connection(("127.0.0.1", port)) as idle:
        half.sendall(b"POST /v1/see/digits/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\nhalf")
        time.sleep(0.5)
        began = time.monotonic()
        os.kill(process.pid, signal.SIGTERM)  # which half a body does not delay
        process.communicate(timeout=20)
        assert time.monotonic() - began < 15
        assert half.recv(100) == idle.recv(100) == b""
    assert process.returncode in (0, -signal.SIGTERM)


@pytest.mark.slow
def test_limits_are_shown(tmp_path: Path) -> None:
    shown = triptych("serve", "--show-limits", "--limit", "max_batch=7", runs=tmp_path)
    assert tomllib.loads(shown.stdout) == {**ServeLimits().model_dump(), "max_batch": 7}


def test_the_documentation_lists_the_limits() -> None:
    text = (Path(__file__).parents[2] / "docs" / "how-to" / "serve.md").read_text(encoding="utf-8")
    for name, field in ServeLimits.model_fields.items():
        default = f"{field.default:,}" if isinstance(field.default, int) else f"{field.default:g}"
        assert f"| `{name}` | {default} | {field.description} |" in text
