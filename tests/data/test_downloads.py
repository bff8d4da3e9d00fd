"""Downloads from a real server on this machine that truncates, stalls, fails and changes its bytes."""

from __future__ import annotations

import hashlib
import multiprocessing
import random
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.data.server import Site
from tests.messages import check_message
from triptych.data import downloads
from triptych.data.downloads import cache_directory, fetch
from triptych.errors import DownloadError, RecipeError

BODY = random.Random(0).randbytes(300_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
OTHER = random.Random(1).randbytes(1000)
OTHER_SHA256 = hashlib.sha256(OTHER).hexdigest()


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("TRIPTYCH_OFFLINE", "TRIPTYCH_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(downloads, "BACKOFF_S", 0.001)


@pytest.fixture
def serve() -> Iterator[Callable[[Site], str]]:
    running = []

    def start(site: Site) -> str:
        running.append((site, site.start()))
        return site.address + "set.tsv"

    yield start
    for site, server in running:
        site.closing.set()
        server.shutdown()
        server.server_close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "sets" / "set.tsv"


def left(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.parent.iterdir())


Serve = Callable[[Site], str]


def test_a_file_is_downloaded_once_and_its_checksum_recorded(serve: Serve, path: Path) -> None:
    site = Site(BODY)
    url = serve(site)
    assert fetch("sets/set.tsv", urls=[url]) == path
    assert path.read_bytes() == BODY
    assert path.with_name("set.tsv.sha256").read_text() == f"{SHA256}  set.tsv\n"
    assert left(path) == ["set.tsv", "set.tsv.sha256"]
    assert fetch("sets/set.tsv", urls=[url]) == path
    assert len(site.requests) == 1


@pytest.mark.parametrize("known", [SHA256, f"sha256:{SHA256}", f"md5:{hashlib.md5(BODY).hexdigest()}"])
def test_a_published_checksum_is_checked_and_not_recorded(serve: Serve, path: Path, known: str) -> None:
    fetch("sets/set.tsv", urls=[serve(Site(BODY))], known_hash=known)
    assert left(path) == ["set.tsv"]


def test_a_terminal_shows_the_progress_and_a_log_does_not(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = serve(Site(BODY))
    fetch("sets/a.tsv", urls=[url])
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    fetch("sets/b.tsv", urls=[url])
    assert "100%" in capsys.readouterr().err


def test_wrong_bytes_never_reach_the_cache(serve: Serve, path: Path) -> None:
    site = Site(OTHER)
    with pytest.raises(DownloadError) as caught:
        fetch("sets/set.tsv", urls=[serve(site)], known_hash=SHA256)
    assert caught.value.path == path
    assert OTHER_SHA256 in str(caught.value)
    assert caught.value.hint == "The data may be damaged there, or have changed."
    assert left(path) == []
    assert len(site.requests) == 1, "the same bytes would come again"


def test_bytes_that_changed_since_the_first_download_are_refused_until_accepted(serve: Serve, path: Path) -> None:
    site = Site(BODY)
    url = serve(site)
    fetch("sets/set.tsv", urls=[url])
    path.unlink()
    site.body = OTHER
    record = path.with_name("set.tsv.sha256")
    with pytest.raises(DownloadError) as caught:
        fetch("sets/set.tsv", urls=[url])
    assert caught.value.hint == (
        f"The data may be damaged there, or have changed, or delete {record} to accept the new bytes."
    )
    record.unlink()
    assert fetch("sets/set.tsv", urls=[url]).read_bytes() == OTHER


def test_a_damaged_cached_file_is_refused(serve: Serve, path: Path, tmp_path: Path) -> None:
    url = serve(Site(BODY))
    fetch("sets/set.tsv", urls=[url])
    path.write_bytes(OTHER)
    with pytest.raises(DownloadError) as caught:
        fetch("sets/set.tsv", urls=[url])
    assert (caught.value.path, caught.value.value, caught.value.expected) == (path, OTHER_SHA256, SHA256)
    check_message("downloads.damaged", caught.value, tmp_path)
    record = path.with_name("set.tsv.sha256")
    record.write_text("nonsense\n")
    with pytest.raises(DownloadError) as caught:
        fetch("sets/set.tsv", urls=[url])
    assert (caught.value.path, caught.value.value) == (record, "nonsense")


def test_a_file_may_be_read_by_whom_the_user_lets(serve: Serve, path: Path) -> None:
    fetch("sets/set.tsv", urls=[serve(Site(BODY))])
    other = path.with_name("other")
    other.touch()
    assert path.stat().st_mode == other.stat().st_mode


@pytest.mark.parametrize("fault", ["cut", "stall"])
def test_a_download_that_breaks_off_is_tried_again(
    serve: Serve, path: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(BODY, faults=[fault], stall_s=30.0)
    monkeypatch.setattr(downloads, "TIMEOUT_S", 0.2)
    assert fetch("sets/set.tsv", urls=[serve(site)]).read_bytes() == BODY
    assert len(site.requests) == 2
    assert left(path) == ["set.tsv", "set.tsv.sha256"]
    site = Site(BODY, faults=[fault] * 2, stall_s=30.0)
    monkeypatch.setattr(downloads, "RETRIES", 1)
    with pytest.raises(DownloadError, match=r"IncompleteRead|Read timed out"):
        fetch("sets/other.tsv", urls=[serve(site)])
    assert left(path) == ["set.tsv", "set.tsv.sha256"]


def test_a_server_error_is_retried_and_a_missing_page_is_not(serve: Serve, path: Path) -> None:
    site = Site(BODY, faults=[500, 503])
    assert fetch("sets/set.tsv", urls=[serve(site)]).read_bytes() == BODY
    assert len(site.requests) == 3
    site = Site(BODY, faults=[404])
    url = serve(site)
    with pytest.raises(DownloadError) as caught:
        fetch("sets/other.tsv", urls=[url])
    assert caught.value.path == path.with_name("other.tsv")
    assert f"{url}: 404 Client Error" in str(caught.value)
    assert caught.value.hint.startswith("Check the network, set TRIPTYCH_MIRROR")
    assert len(site.requests) == 1


def test_the_next_address_is_used_and_every_failure_is_reported(serve: Serve, path: Path) -> None:
    broken, wrong, good = Site(BODY, faults=[404] * 2), Site(OTHER), Site(BODY)
    urls = [serve(site) for site in (broken, wrong, good)]
    assert fetch("sets/set.tsv", urls=urls, known_hash=SHA256).read_bytes() == BODY
    with pytest.raises(DownloadError) as caught:
        fetch("sets/other.tsv", urls=urls[:2], known_hash=SHA256)
    assert f"{urls[0]}: 404 Client Error" in str(caught.value)
    assert f"{urls[1]}: " in str(caught.value)
    assert OTHER_SHA256 in str(caught.value)


def test_the_mirror_is_tried_first(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror, original = Site(BODY), Site(BODY)
    url = serve(original)
    serve(mirror)
    monkeypatch.setenv("TRIPTYCH_MIRROR", mirror.address + "base/")
    fetch("sets/set.tsv", urls=[url])
    assert [request[":path"] for request in mirror.requests] == ["/base/sets/set.tsv"]
    assert original.requests == []


def test_a_refused_connection_is_reported() -> None:
    with pytest.raises(DownloadError, match="Connection refused"):
        fetch("sets/set.tsv", urls=["http://127.0.0.1:9/set.tsv"])


def test_offline_names_the_file_and_where_it_belongs(serve: Serve, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(BODY)
    url = serve(site)
    monkeypatch.setenv("TRIPTYCH_OFFLINE", "1")
    with pytest.raises(DownloadError) as caught:
        fetch("sets/set.tsv", urls=[url])
    assert caught.value.path == path
    assert caught.value.hint == f"Download {url} elsewhere and put it there."
    path.parent.mkdir(parents=True)
    path.write_bytes(BODY)
    assert fetch("sets/set.tsv", urls=[url]) == path
    assert path.with_name("set.tsv.sha256").read_text().startswith(SHA256)
    assert site.requests == []


def test_threads_that_fetch_the_same_file_all_get_it_whole(serve: Serve, path: Path) -> None:
    url = serve(Site(BODY, delay_s=0.1))
    got: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: got.append(fetch("sets/set.tsv", urls=[url]).read_bytes())) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [BODY] * 6
    assert left(path) == ["set.tsv", "set.tsv.sha256"]


def _fetch_in_process(url: str) -> bytes:
    return fetch("sets/set.tsv", urls=[url]).read_bytes()


def test_processes_that_fetch_the_same_file_all_get_it_whole(serve: Serve) -> None:
    url = serve(Site(BODY, delay_s=0.1))
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(_fetch_in_process, [url] * 4, chunksize=1) == [BODY] * 4


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../x", "a/../../x", "c:x", "a\\b"])
def test_a_name_outside_the_cache_is_refused(name: str) -> None:
    with pytest.raises(RecipeError) as caught:
        fetch(name, urls=[])
    assert (caught.value.field, caught.value.value) == ("the file name", name)


def test_settings_that_cannot_be_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_OFFLINE", "yes")
    with pytest.raises(RecipeError) as caught:
        fetch("x", urls=[])
    assert (caught.value.field, caught.value.value) == ("TRIPTYCH_OFFLINE", "yes")


def test_a_cache_that_cannot_be_written_is_an_error(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("TRIPTYCH_CACHE", str(blocked))
    with pytest.raises(DownloadError, match=r"set\.tsv: cannot be written: (Not a directory|File exists)"):
        fetch("sets/set.tsv", urls=[serve(Site(BODY))])


def test_the_cache_is_the_variable_or_the_users_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_directory() == tmp_path / "cache"
    monkeypatch.delenv("TRIPTYCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_directory().name == "triptych"
