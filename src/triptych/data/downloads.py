"""Files fetched once, checked, and kept in a cache: `fetch`.

The cache is the user's cache folder, or TRIPTYCH_CACHE. Beside a file without a published checksum lies
`<file>.sha256`, as `sha256sum -c` reads it: the checksum of the first download, which every later one must equal.
TRIPTYCH_MIRROR is a base address that is tried first; TRIPTYCH_OFFLINE=1 forbids the network.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pooch
import requests

from triptych.data.transfer import Transfer, TransferError
from triptych.errors import DownloadError, RecipeError

Progress = Callable[[int, int | None], None]
BACKOFF_S = 0.5


def fetch(
    name: str,
    *,
    urls: Sequence[str],
    known_hash: str | None = None,
    cache_dir: Path | str | None = None,
    offline: bool | None = None,
    timeout_s: float = 30.0,
    retries: int = 2,
    progress: Progress | None = None,
) -> Path:
    """The path of a file in the cache, downloaded if it is not there yet.

    A download is resumed where the server allows it, checked, and then moved into place in one step, so that several
    processes may fetch the same file at once. Addresses are tried in order; a failure that may pass is retried.

    Args:
        name: where the file lies in the cache: a relative path with forward slashes.
        urls: complete addresses of the same bytes, the best first.
        known_hash: the published checksum: SHA-256, or another as "md5:...". None trusts the first download.
        cache_dir: the cache; None takes TRIPTYCH_CACHE or the user's cache folder.
        offline: never use the network; None asks TRIPTYCH_OFFLINE.
        timeout_s: longest wait for a connection, and for each next part of an answer, in seconds, > 0.
        retries: further attempts for each address, >= 0.
        progress: called with the bytes here so far and the total, None where the server does not say.
    Raises:
        DownloadError: no address gave the file, its bytes are not the expected ones, or it is needed offline.
        RecipeError: an argument or a TRIPTYCH_ variable has no usable value.
    """
    if not timeout_s > 0 or retries < 0:
        raise RecipeError(f"timeout_s, retries are {timeout_s}, {retries}; expected numbers > 0 and >= 0.")
    path = cache_directory(cache_dir) / _checked_name(name)
    expected = _Expected.of(path, known_hash)
    if path.is_file():
        expected.check_cached(path)
        return path
    mirror = os.environ.get("TRIPTYCH_MIRROR", "")
    addresses = [f"{mirror.rstrip('/')}/{name}", *urls] if mirror else list(urls)
    if _is_offline(offline):
        raise DownloadError(
            "the file is not in the cache and downloads are off (TRIPTYCH_OFFLINE). "
            f"Fetch {addresses[0] if addresses else name} elsewhere and put it there.",
            path=path,
        )
    _download_from_any(addresses, path, expected, Transfer(timeout_s, progress), retries)
    expected.check_cached(path)
    return path


def cache_directory(cache_dir: Path | str | None = None) -> Path:
    """The given cache folder, or TRIPTYCH_CACHE, or the platform's cache folder for Triptych, as an absolute path."""
    chosen = cache_dir or os.environ.get("TRIPTYCH_CACHE") or pooch.os_cache("triptych")
    return Path(chosen).expanduser().absolute()


class _WrongBytesError(Exception):
    """A complete download whose checksum is not the expected one; the text names both."""


@dataclass(frozen=True)
class _Expected:
    """The checksum a file must have.

    Attributes:
        algorithm: a name hashlib knows.
        digest: hexadecimal; None at first use of a file without a published checksum.
        record_path: where the file's SHA-256 is recorded.
        published: whether the caller knew the checksum, so that the record does not decide.
    """

    algorithm: str
    digest: str | None
    record_path: Path
    published: bool

    @classmethod
    def of(cls, path: Path, known_hash: str | None) -> _Expected:
        record_path = path.with_name(f"{path.name}.sha256")
        if known_hash is not None:
            algorithm, _, digest = known_hash.rpartition(":")
            algorithm = algorithm.lower() or "sha256"
            if algorithm not in hashlib.algorithms_available or not digest:
                raise RecipeError(f"known_hash is {known_hash!r}; expected a SHA-256, or <algorithm>:<digest>.")
            return cls(algorithm, digest.lower(), record_path, published=True)
        try:
            words = record_path.read_text(encoding="utf-8").split()
        except (FileNotFoundError, NotADirectoryError):
            return cls("sha256", None, record_path, published=False)
        except (OSError, UnicodeDecodeError) as error:
            raise DownloadError(f"the checksum cannot be read: {error}.", path=record_path) from error
        if not words or len(words[0]) != 64:
            raise DownloadError(
                f"the recorded checksum is {' '.join(words)[:80]!r}; expected 64 hexadecimal digits. "
                "Delete the file to accept the next download.",
                path=record_path,
            )
        return cls("sha256", words[0].lower(), record_path, published=False)

    @property
    def known(self) -> bool:
        """Whether any bytes can be told right from wrong."""
        return self.digest is not None

    def check(self, path: Path) -> None:
        """Raise _WrongBytesError unless the file has the checksum, if there is one."""
        found = pooch.file_hash(str(path), alg=self.algorithm)
        if self.digest is not None and found != self.digest:
            raise _WrongBytesError(f"{self.algorithm} {found}, expected {self.digest}")

    def check_cached(self, path: Path) -> None:
        """Check a file that is in the cache; one put there by hand without a record is trusted and recorded."""
        try:
            self.check(path)
        except _WrongBytesError as error:
            raise DownloadError(
                f"the cached file has {error}. Delete it to download it again{self.how_to_accept()}.", path=path
            ) from None
        if not self.known:
            self.record(path)

    def record(self, path: Path) -> None:
        """Write the file's SHA-256 beside it, unless it is written already."""
        if self.record_path.exists():
            return
        temporary = self.record_path.with_name(f"{self.record_path.name}.{os.getpid()}.{time.monotonic_ns()}")
        temporary.write_text(f"{pooch.file_hash(str(path), alg='sha256')}  {path.name}\n", encoding="utf-8")
        temporary.replace(self.record_path)

    def how_to_accept(self) -> str:
        """A further next step where the expected bytes are only those of the first download."""
        return "" if self.published else f"; to accept the new bytes, delete {self.record_path}"


def _download_from_any(
    addresses: Sequence[str], path: Path, expected: _Expected, transfer: Transfer, retries: int
) -> None:
    """Fetch the first address that gives the expected bytes into place."""
    failures: list[str] = []
    advice = "Check the network, set TRIPTYCH_MIRROR, or put the file there by hand"
    for address in addresses:
        try:
            _download(address, path, expected, transfer, retries)
        except _WrongBytesError as error:
            failures.append(f"{address} gave {error}")
            advice = f"The data may be damaged there, or have changed{expected.how_to_accept()}"
        except (requests.RequestException, TransferError) as error:
            failures.append(f"{address}: {' '.join(str(error).split())[:300]}")
        except OSError as error:
            raise DownloadError(f"cannot be written: {error.strerror or error}.", path=path) from error
        else:
            return
    raise DownloadError(f"no address gave the file: {'; '.join(failures)}. {advice}.", path=path)


def _download(address: str, path: Path, expected: _Expected, transfer: Transfer, retries: int) -> None:
    """Fetch one address into place, trying again after failures that may pass."""
    pooch.get_logger().setLevel("WARNING")

    def download_and_check(url: str, output_file: str, _: object) -> None:
        transfer(url, Path(output_file), part=path.with_name(f"{path.name}.part"))
        expected.check(Path(output_file))

    for attempt in range(retries + 1):
        try:
            pooch.retrieve(address, known_hash=None, fname=path.name, path=path.parent, downloader=download_and_check)
        except (requests.RequestException, TransferError) as error:
            if attempt == retries or not _may_pass(error):
                raise
            time.sleep(BACKOFF_S * 2**attempt)
        else:
            return


def _may_pass(error: Exception) -> bool:
    """Whether another attempt could succeed: not with an address that is wrong, nor after an answer such as 404."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return error.response.status_code >= 500 or error.response.status_code in (408, 429)
    transient = (TransferError, requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
    return isinstance(error, transient)


def _checked_name(name: str) -> PurePosixPath:
    parts = PurePosixPath(name)
    if not parts.name or parts.is_absolute() or ".." in parts.parts or "\\" in name or ":" in name:
        raise RecipeError(f"the file name is {name!r}; expected a relative path inside the cache.")
    return parts


def _is_offline(offline: bool | None) -> bool:
    if offline is not None:
        return offline
    value = os.environ.get("TRIPTYCH_OFFLINE", "")
    if value not in ("", "0", "1"):
        raise RecipeError(f"TRIPTYCH_OFFLINE is {value!r}; expected 1 (no downloads) or 0.")
    return value == "1"
