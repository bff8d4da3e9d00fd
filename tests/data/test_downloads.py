"""Downloads from a real server on this machine that truncates, stalls, fails and changes its bytes."""

from __future__ import annotations

import hashlib
import multiprocessing
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from tests.data.server import Site
from triptych.data import downloads
from triptych.data.downloads import cache_directory, fetch
from triptych.data.transfer import _lock
from triptych.errors import DownloadError, RecipeError

BODY = random.Random(0).randbytes(300_000)
KEPT_BYTES = 131_072  # of a body cut in the middle, what whole blocks of 64 KiB have written
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
    seen: list[tuple[int, int | None]] = []
    assert fetch("sets/set.tsv", urls=[url], progress=lambda done, total: seen.append((done, total))) == path
    assert path.read_bytes() == BODY
    assert path.with_name("set.tsv.sha256").read_text() == f"{SHA256}  set.tsv\n"
    assert left(path) == ["set.tsv", "set.tsv.sha256"]
    assert seen[-1] == (len(BODY), len(BODY))
    assert seen == sorted(seen)
    assert fetch("sets/set.tsv", urls=[url]) == path
    assert len(site.requests) == 1


@pytest.mark.parametrize("known", [SHA256, f"sha256:{SHA256}", f"md5:{hashlib.md5(BODY).hexdigest()}"])
def test_a_published_checksum_is_checked_and_not_recorded(serve: Serve, path: Path, known: str) -> None:
    fetch("sets/set.tsv", urls=[serve(Site(BODY))], known_hash=known)
    assert left(path) == ["set.tsv"]


def test_wrong_bytes_never_reach_the_cache(serve: Serve, path: Path) -> None:
    url = serve(Site(OTHER))
    with pytest.raises(DownloadError) as caught:
        fetch("sets/set.tsv", urls=[url], known_hash=SHA256)
    assert str(caught.value) == (
        f"{path}: no address gave the file: {url} gave sha256 {OTHER_SHA256}, expected {SHA256}. "
        "The data may be damaged there, or have changed."
    )
    assert left(path) == []


def test_bytes_that_changed_since_the_first_download_are_refused_until_accepted(serve: Serve, path: Path) -> None:
    site = Site(BODY)
    url = serve(site)
    fetch("sets/set.tsv", urls=[url])
    path.unlink()
    site.body = OTHER
    record = path.with_name("set.tsv.sha256")
    with pytest.raises(DownloadError) as caught:
        fetch("sets/set.tsv", urls=[url])
    assert str(caught.value) == (
        f"{path}: no address gave the file: {url} gave sha256 {OTHER_SHA256}, expected {SHA256}. "
        f"The data may be damaged there, or have changed; to accept the new bytes, delete {record}."
    )
    record.unlink()
    assert fetch("sets/set.tsv", urls=[url]).read_bytes() == OTHER


def test_a_damaged_cached_file_is_refused(serve: Serve, path: Path) -> None:
    url = serve(Site(BODY))
    fetch("sets/set.tsv", urls=[url])
    path.write_bytes(OTHER)
    with pytest.raises(DownloadError) as caught:
        fetch("sets/set.tsv", urls=[url])
    assert str(caught.value) == (
        f"{path}: the cached file has sha256 {OTHER_SHA256}, expected {SHA256}. Delete it to download it again; "
        f"to accept the new bytes, delete {path}.sha256."
    )
    path.with_name("set.tsv.sha256").write_text("nonsense\n")
    with pytest.raises(DownloadError, match="the recorded checksum is 'nonsense'; expected 64 hexadecimal digits"):
        fetch("sets/set.tsv", urls=[url])


def test_a_truncated_download_is_resumed_where_it_stopped(serve: Serve, path: Path) -> None:
    site = Site(BODY, faults=["cut"])
    assert fetch("sets/set.tsv", urls=[serve(site)]).read_bytes() == BODY
    assert len(site.requests) == 2
    assert site.requests[1]["Range"] == f"bytes={KEPT_BYTES}-"
    assert site.requests[1]["If-Range"] == '"1"'
    assert left(path) == ["set.tsv", "set.tsv.sha256"]


def test_a_download_that_was_given_up_is_resumed_by_the_next_call(serve: Serve, path: Path) -> None:
    site = Site(BODY, faults=["cut"])
    url = serve(site)
    with pytest.raises(DownloadError, match=r"IncompleteRead|announced"):
        fetch("sets/set.tsv", urls=[url], retries=0)
    assert not path.exists()
    assert left(path) == ["set.tsv.part", "set.tsv.part.version"]
    assert fetch("sets/set.tsv", urls=[url], retries=0).read_bytes() == BODY
    assert site.requests[1]["Range"] == f"bytes={KEPT_BYTES}-"


@pytest.mark.parametrize("how", ["ranges ignored", "changed", "weak tag", "no tag"])
def test_a_download_starts_over_where_it_cannot_be_continued(serve: Serve, how: str) -> None:
    site = Site(BODY, faults=["cut"], tag={"weak tag": 'W/"1"', "no tag": None}.get(how, '"1"'))
    url = serve(site)
    with pytest.raises(DownloadError):
        fetch("sets/set.tsv", urls=[url], retries=0)
    if how == "ranges ignored":
        site.ranges = False
    if how == "changed":
        site.body, site.tag = OTHER, '"2"'
    assert fetch("sets/set.tsv", urls=[url], retries=0).read_bytes() == site.body
    assert ("Range" in site.requests[1]) == (how in ("ranges ignored", "changed"))


def test_a_part_that_is_whole_already_is_fetched_again(serve: Serve, path: Path) -> None:
    site = Site(BODY)
    path.parent.mkdir(parents=True)
    path.with_name("set.tsv.part").write_bytes(BODY)
    path.with_name("set.tsv.part.version").write_text('"1"\n')
    assert fetch("sets/set.tsv", urls=[serve(site)], retries=0).read_bytes() == BODY
    assert ["Range" in request for request in site.requests] == [True, False]


def test_an_answer_to_another_range_is_not_used(serve: Serve) -> None:
    site = Site(BODY, faults=["cut", "misplaced"])
    with pytest.raises(DownloadError, match=r"Content-Range is bytes 131073-.*; expected it to begin at byte 131072"):
        fetch("sets/set.tsv", urls=[serve(site)], retries=1)


def test_a_stalled_download_times_out_and_is_resumed(serve: Serve) -> None:
    site = Site(BODY, faults=["stall"], stall_s=30.0)
    assert fetch("sets/set.tsv", urls=[serve(site)], timeout_s=0.2).read_bytes() == BODY
    assert site.requests[1]["Range"] == f"bytes={KEPT_BYTES}-"
    site = Site(BODY, faults=["stall", "stall"], stall_s=30.0)
    with pytest.raises(DownloadError, match="Read timed out"):
        fetch("sets/other.tsv", urls=[serve(site)], timeout_s=0.2, retries=1)


def test_a_short_body_is_noticed_whatever_the_http_library_does(
    serve: Serve, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests.Response, "iter_content", lambda _response, _size: iter([BODY[:10]]))
    with pytest.raises(DownloadError, match="the file has 10 bytes; the server announced 300000"):
        fetch("sets/set.tsv", urls=[serve(Site(BODY))], retries=0)
    assert not path.exists()


def test_a_part_that_another_process_has_just_finished_is_not_written_to(tmp_path: Path) -> None:
    part = tmp_path / "part"
    with part.open("ab") as stream:
        part.replace(tmp_path / "finished")
        part.touch()
        assert not _lock(stream, part)
    with part.open("ab") as stream:
        assert _lock(stream, part)
        with part.open("ab") as other:
            assert not _lock(other, part)


def test_a_server_error_is_retried_and_a_missing_page_is_not(serve: Serve, path: Path) -> None:
    site = Site(BODY, faults=[500, 503])
    assert fetch("sets/set.tsv", urls=[serve(site)]).read_bytes() == BODY
    assert len(site.requests) == 3
    site = Site(BODY, faults=[404])
    url = serve(site)
    with pytest.raises(DownloadError) as caught:
        fetch("sets/other.tsv", urls=[url])
    assert str(caught.value) == (
        f"{path.with_name('other.tsv')}: no address gave the file: {url}: 404 Client Error: Not Found for url: {url}. "
        "Check the network, set TRIPTYCH_MIRROR, or put the file there by hand."
    )
    assert len(site.requests) == 1


def test_the_next_address_is_used_and_every_failure_is_told(serve: Serve, path: Path) -> None:
    broken, wrong, good = Site(BODY, faults=[404] * 2), Site(OTHER), Site(BODY)
    urls = [serve(site) for site in (broken, wrong, good)]
    assert fetch("sets/set.tsv", urls=urls, known_hash=SHA256).read_bytes() == BODY
    with pytest.raises(DownloadError) as caught:
        fetch("sets/other.tsv", urls=urls[:2], known_hash=SHA256)
    assert f"{urls[0]}: 404 Client Error" in str(caught.value)
    assert f"{urls[1]} gave sha256 {OTHER_SHA256}" in str(caught.value)


def test_the_mirror_is_tried_first(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror, original = Site(BODY), Site(BODY)
    url = serve(original)
    serve(mirror)
    monkeypatch.setenv("TRIPTYCH_MIRROR", mirror.address + "base/")
    fetch("sets/set.tsv", urls=[url])
    assert [request[":path"] for request in mirror.requests] == ["/base/sets/set.tsv"]
    assert original.requests == []


def test_nobody_listening_is_told() -> None:
    with pytest.raises(DownloadError, match="Connection refused"):
        fetch("sets/set.tsv", urls=["http://127.0.0.1:9/set.tsv"], retries=0)


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_offline_names_the_file_and_where_it_belongs(
    serve: Serve, path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    site = Site(BODY)
    url = serve(site)
    offline = True if how == "argument" else None
    if how == "environment":
        monkeypatch.setenv("TRIPTYCH_OFFLINE", "1")
    with pytest.raises(DownloadError) as caught:
        fetch("sets/set.tsv", urls=[url], offline=offline)
    assert str(caught.value) == (
        f"{path}: the file is not in the cache and downloads are off (TRIPTYCH_OFFLINE). "
        f"Fetch {url} elsewhere and put it there."
    )
    path.parent.mkdir(parents=True)
    path.write_bytes(BODY)
    assert fetch("sets/set.tsv", urls=[url], offline=offline) == path
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
    assert set(left(path)) <= {"set.tsv", "set.tsv.sha256", "set.tsv.part"}


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
    assert str(caught.value) == f"the file name is {name!r}; expected a relative path inside the cache."


def test_settings_that_cannot_be_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RecipeError, match=r"^timeout_s, retries are 0, 2; expected numbers > 0 and >= 0"):
        fetch("x", urls=[], timeout_s=0)
    with pytest.raises(RecipeError, match=r"^known_hash is 'nope:1'; expected a SHA-256, or <algorithm>:<digest>"):
        fetch("x", urls=[], known_hash="nope:1")
    monkeypatch.setenv("TRIPTYCH_OFFLINE", "yes")
    with pytest.raises(RecipeError, match=r"^TRIPTYCH_OFFLINE is 'yes'; expected 1"):
        fetch("x", urls=[])


def test_a_cache_that_cannot_be_written_is_told(serve: Serve, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(DownloadError, match=r"set\.tsv: cannot be written: (Not a directory|File exists)"):
        fetch("sets/set.tsv", urls=[serve(Site(BODY))], cache_dir=blocked)


def test_the_cache_is_the_argument_the_variable_or_the_users_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert cache_directory(tmp_path) == tmp_path
    assert cache_directory() == tmp_path / "cache"
    monkeypatch.delenv("TRIPTYCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_directory().name == "triptych"
