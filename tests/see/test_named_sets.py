"""Named sets: the digits as installed, and Kuzushiji-MNIST from a cache and from a server on this machine."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from tests.data.server import Site
from triptych.data import downloads
from triptych.errors import DataError, DownloadError
from triptych.see import named_sets
from triptych.see.named_sets import list_named_sets, resolve


def test_the_digits_are_scikit_learns() -> None:
    source = resolve("digits").load()
    part = source.splits["all"]
    values = np.asarray(part.images)
    assert values.shape == (1797, 8, 8)
    assert values.min() == 0
    assert values.max() == 255
    assert np.array_equal(np.round(values / 255 * 16), load_digits().images)
    assert part.labels == load_digits().target.tolist()
    assert source.classes == tuple("0123456789")
    assert part.names[7] == "digits:7"
    assert source.fingerprints[0]["path"] == "digits"
    assert source.fingerprints == resolve("digits").load().fingerprints


def idx(values: np.ndarray[Any, Any]) -> bytes:
    return bytes((0, 0, 8, values.ndim)) + b"".join(n.to_bytes(4, "big") for n in values.shape) + values.tobytes()


@pytest.fixture
def kmnist() -> dict[str, bytes]:
    """The set's four files in miniature: 20 training and 10 test images of 4 x 4 pixels."""
    files = {}
    for name in named_sets._KMNIST_MD5:
        values = np.arange(20 if name.startswith("train") else 10, dtype=np.uint8) % 10
        files[name] = gzip.compress(idx(values if "labels" in name else np.tile(values[:, None, None], (1, 4, 4))))
    return files


def md5s(files: dict[str, bytes]) -> dict[str, str]:
    return {name: hashlib.md5(data).hexdigest() for name, data in files.items()}


def test_kmnist_is_read_from_the_cache_when_its_bytes_are_right(
    kmnist: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path))
    monkeypatch.setenv("TRIPTYCH_OFFLINE", "1")
    (tmp_path / "kmnist").mkdir()
    for name, data in kmnist.items():
        (tmp_path / "kmnist" / name).write_bytes(data)
    with pytest.raises(
        DownloadError, match=r"train-images-idx3-ubyte\.gz: the md5 of the cached file is .*; expected bdb82020"
    ):
        resolve("kmnist").load()
    monkeypatch.setattr(named_sets, "_KMNIST_MD5", md5s(kmnist))
    source = resolve("kmnist").load()
    assert {split: len(part) for split, part in source.splits.items()} == {"train": 20, "test": 10}
    assert source.classes == tuple("0123456789")


@pytest.fixture
def site(kmnist: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Site]:
    """Stands for the set's servers: nothing under `/gone/`, the files under `/kmnist/`."""
    site = Site(b"", files={f"/kmnist/{name}": data for name, data in kmnist.items()})
    server = site.start()
    monkeypatch.setattr(named_sets, "_KMNIST_ADDRESSES", (f"{site.address}gone/", f"{site.address}kmnist/"))
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path))
    monkeypatch.delenv("TRIPTYCH_MIRROR", raising=False)
    monkeypatch.delenv("TRIPTYCH_OFFLINE", raising=False)
    yield site
    server.shutdown()
    server.server_close()


def test_kmnist_is_fetched_once_from_the_first_server_that_has_it(
    site: Site, kmnist: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(named_sets, "_KMNIST_MD5", md5s(kmnist))
    monkeypatch.setattr(downloads, "BACKOFF_S", 0.0)
    site.faults = [404, "cut"]  # the first download breaks off half-way, and is tried again
    source = resolve("kmnist").load()
    assert {split: len(part) for split, part in source.splits.items()} == {"train": 20, "test": 10}
    assert np.asarray(source.splits["test"].images)[7].tolist() == [[7] * 4] * 4
    assert source.splits["test"].labels == list(range(10))
    for name, data in kmnist.items():
        assert (tmp_path / "kmnist" / name).read_bytes() == data
    first, *others = kmnist
    asked = [f"/gone/{first}", f"/kmnist/{first}", f"/kmnist/{first}"]
    asked += [f"/{place}/{name}" for name in others for place in ("gone", "kmnist")]
    assert [request[":path"] for request in site.requests] == asked
    resolve("kmnist").load()
    assert len(site.requests) == len(asked)


def test_kmnist_with_other_bytes_than_the_published_is_not_kept(site: Site, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"kmnist/train-images-idx3-ubyte\.gz: MD5 hash .* expected md5:bdb82020"):
        resolve("kmnist").load()
    assert not (tmp_path / "kmnist" / "train-images-idx3-ubyte.gz").exists()


def test_kmnist_has_the_published_checksums_and_mirrors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file is asked for under its checksum at every mirror, until one answers."""
    asked: dict[str, tuple[list[str], str]] = {}

    def fetch(name: str, *, urls: list[str], known_hash: str) -> Path:
        asked[name] = (urls, known_hash)
        return tmp_path / "kmnist" / Path(name).name

    monkeypatch.setattr(named_sets, "fetch", fetch)
    (tmp_path / "kmnist").mkdir()
    with pytest.raises(DataError):
        resolve("kmnist").load()
    assert {name: digest for name, (_, digest) in asked.items()} == {
        "kmnist/train-images-idx3-ubyte.gz": "md5:bdb82020997e1d708af4cf47b453dcf7",
        "kmnist/train-labels-idx1-ubyte.gz": "md5:e144d726b3acfaa3e44228e80efcd344",
        "kmnist/t10k-images-idx3-ubyte.gz": "md5:5c965bf0a639b31b8f53240b1b52f4d7",
        "kmnist/t10k-labels-idx1-ubyte.gz": "md5:7320c461ea6c1c855c0b718fb2a4b134",
    }
    for name, (urls, _) in asked.items():
        assert len(urls) >= 2
        assert all(url.endswith(f"/{name.partition('/')[2]}") for url in urls)


def test_every_listed_set_resolves_to_itself() -> None:
    for named_set in list_named_sets():
        found = resolve(named_set.name)
        assert (found.name, found.description) == (named_set.name, named_set.description)
        assert found.description.endswith(".")
        assert found.licence


def test_an_unknown_set_is_named_with_the_nearest() -> None:
    with pytest.raises(DataError) as caught:
        resolve("kminst")
    assert (caught.value.field, caught.value.value) == ("data.set", "kminst")
    assert caught.value.hint == "Did you mean 'kmnist'?"
