"""Behind Debian's nginx, under a path: its default headers and those of the documentation, prefix removed and kept."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from tests.serve.answers import check_refusal
from tests.serve.running import running
from tests.serve.test_gate import predict, wait_for
from triptych.api.serving import Catalogue
from triptych.serve.app import build_app
from triptych.serve.server import Address, access_for

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(NGINX is None, reason="Debian's nginx is not installed")]
HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "serve.md"


@contextmanager
def nginx(folder: Path, location: str) -> Iterator[str]:
    """The address of an nginx with one location."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    file = folder / "nginx.conf"
    file.write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log; events {{}}\n"
        f"http {{ access_log off; {temporary} server {{ listen 127.0.0.1:{port}; {location} }} }}\n",
        encoding="utf-8",
    )
    assert NGINX is not None
    process = subprocess.Popen([NGINX, "-p", str(folder), "-c", str(file)], stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: _answers(url))
        yield url
    finally:
        process.terminate()
        process.wait(10)


def _answers(url: str) -> bool:
    try:
        requests.get(url, timeout=5)
    except requests.ConnectionError:
        return False
    return True


@contextmanager
def proxied(catalogue: Catalogue, folder: Path, location: str, *, origins: Sequence[str] = ()) -> Iterator[str]:
    """The public address of a server behind nginx; `location` has SERVER for its own."""
    access = access_for(Address(), key=None, insecure=False, allowed_origins=list(origins))
    app = build_app(catalogue, access=access, root_path="/models")
    with running(app) as own, nginx(folder, location.replace("SERVER", own)) as url:
        yield f"{url}/models"


def documented() -> str:
    """The location of the documentation."""
    text = "location" + HOW_TO.read_text(encoding="utf-8").split("```text\nlocation")[1].split("```")[0]
    assert "http://127.0.0.1:8000/" in text
    return text.replace("http://127.0.0.1:8000", "SERVER")


REMOVED = "location /models/ { proxy_pass SERVER/; }"
KEPT = "location /models { proxy_pass SERVER; }"


@pytest.mark.parametrize("location", [REMOVED, KEPT, documented()], ids=["removed", "kept", "documented"])
def test_page_and_api_answer_behind_nginx(catalogue: Catalogue, tmp_path: Path, location: str) -> None:
    with proxied(catalogue, tmp_path, location) as url:
        assert 'href="page.css"' in requests.get(f"{url}/", timeout=30).text
        redirected = requests.get(url, timeout=30)  # without the slash
        assert (redirected.url, redirected.status_code) == (f"{url}/", 200)
        for path in ("page.js", "page.css", "icon.svg", "v1/service", "healthz"):
            assert requests.get(f"{url}/{path}", timeout=30).status_code == 200
        assert predict(url).status_code == 200
        assert requests.get(f"{url}/openapi.json", timeout=30).json()["servers"] == [{"url": "/models"}]


@pytest.mark.parametrize(
    ("location", "allowed", "fetched_from", "status"),
    [
        (REMOVED, False, None, 403),  # nginx's own Host, over plain HTTP
        (REMOVED, False, "same-origin", 200),  # as browsers send it over HTTPS
        (REMOVED, False, "cross-site", 403),
        (REMOVED, True, None, 200),
        (documented(), False, None, 200),
    ],
)
def test_own_pages_are_recognised_behind_nginx(
    catalogue: Catalogue, tmp_path: Path, location: str, allowed: bool, fetched_from: str | None, status: int
) -> None:
    public = "http://models.example"
    with proxied(catalogue, tmp_path, location, origins=[public] if allowed else []) as url:
        parts = urlsplit(url)
        headers = {} if fetched_from is None else {"Sec-Fetch-Site": fetched_from}
        answer = predict(url, Origin=public if allowed else f"{parts.scheme}://{parts.netloc}", **headers)
        assert answer.status_code == status
        if status == 403:
            check_refusal(answer, 403, "Origin")


def test_the_page_in_a_browser_behind_nginx(catalogue: Catalogue, tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    from tests.serve.test_browser import CHROMIUM

    if CHROMIUM is None:
        pytest.skip("Debian's chromium is not installed")
    with proxied(catalogue, tmp_path, REMOVED) as url, playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        asked: list[str] = []
        page.on("request", lambda one: asked.append(one.url))
        page.goto(url)
        page.wait_for_selector("#panel-spell:not([hidden])")
        page.click("#spell-form button.go")
        page.wait_for_selector("#spell-answer:not([hidden])")
        assert all(one.startswith(url) for one in asked), asked
        browser.close()
