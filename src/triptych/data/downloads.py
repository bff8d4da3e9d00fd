"""Files downloaded once, checked, and kept in a cache: `fetch`.

The cache is the user's cache folder, or TRIPTYCH_CACHE. Beside a file without a published checksum lies
`<file>.sha256`, as `sha256sum -c` reads it: the checksum of the first download, which every later one must equal.
TRIPTYCH_MIRROR is a base address that is tried first; TRIPTYCH_OFFLINE=1 forbids the network.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pooch
import requests

from triptych.errors import DownloadError, RecipeError
from triptych.files import write_text_atomically

BACKOFF_S = 0.5
RETRIES = 2  # further attempts for each address
TIMEOUT_S = 30.0  # longest wait for a connection, and for each next part of an answer
_BLOCK_BYTES = 2**16


def fetch(name: str, *, urls: Sequence[str], known_hash: str | None = None) -> Path:
    """The path of a file in the cache, downloaded if it is not there yet.

    A download is checked and then moved into place in one step, so that several processes may fetch the same file at
    once. Addresses are tried in order; a failure that may be temporary is retried. A terminal shows a progress bar.

    Args:
        name: where the file lies in the cache: a relative path with forward slashes.
        urls: complete addresses of the same bytes, the best first.
        known_hash: the published checksum: SHA-256, or another as "md5:...". None trusts the first download.
    Raises:
        DownloadError: no address gave the file, its bytes are not the expected ones, or it is needed offline.
        RecipeError: the name or a TRIPTYCH_ variable has no usable value.
    """
    path = cache_directory() / _checked_name(name)
    record = path.with_name(f"{path.name}.sha256")
    expected = known_hash or _recorded(record)
    accept = "" if known_hash else f", or delete {record} to accept the new bytes"
    if path.is_file():
        _check_cached(path, expected, accept)
    else:
        mirror = os.environ.get("TRIPTYCH_MIRROR", "")
        addresses = [f"{mirror.rstrip('/')}/{name}", *urls] if mirror else list(urls)
        if _is_offline():
            raise DownloadError(
                "the file is not in the cache and downloads are off (TRIPTYCH_OFFLINE).",
                hint=f"Download {addresses[0] if addresses else name} elsewhere and put it there.",
                path=path,
            )
        _download_from_any(addresses, path, expected, accept)
    if expected is None:
        write_text_atomically(record, f"{pooch.file_hash(str(path), alg='sha256')}  {path.name}\n")
    return path


def cache_directory() -> Path:
    """TRIPTYCH_CACHE, or the platform's cache folder for Triptych, as an absolute path."""
    chosen = os.environ.get("TRIPTYCH_CACHE") or pooch.os_cache("triptych")
    return Path(chosen).expanduser().absolute()


def _recorded(record: Path) -> str | None:
    """The SHA-256 of the first download; None before it."""
    try:
        words = record.read_text(encoding="utf-8").split()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise DownloadError(f"the checksum cannot be read: {error}.", path=record) from error
    if not words or len(words[0]) != 64:
        raise DownloadError(
            field="the recorded checksum",
            value=" ".join(words)[:80],
            expected="64 hexadecimal digits",
            hint="Delete the file to accept the next download.",
            path=record,
        )
    return words[0].lower()


def _check_cached(path: Path, expected: str | None, accept: str) -> None:
    if expected is None:
        return  # put there by hand
    algorithm, _, digest = expected.rpartition(":")
    found = pooch.file_hash(str(path), alg=algorithm or "sha256")
    if found != digest.lower():
        raise DownloadError(
            field=f"the {algorithm or 'sha256'} of the cached file",
            value=found,
            expected=digest,
            hint=f"Delete the file to download it again{accept}.",
            path=path,
        )


def _download_from_any(addresses: Sequence[str], path: Path, expected: str | None, accept: str) -> None:
    """Download from the first address that gives the expected bytes."""
    pooch.get_logger().setLevel("WARNING")
    download = pooch.HTTPDownloader(
        progressbar=sys.stderr.isatty(),
        chunk_size=_BLOCK_BYTES,
        timeout=TIMEOUT_S,
        headers={"Accept-Encoding": "identity"},  # a .gz file must not be unpacked on the way
    )
    failures: list[str] = []
    hint = "Check the network, set TRIPTYCH_MIRROR, or put the file there by hand."

    def with_own_permissions(url: str, output: str, pup: object) -> None:
        Path(output).unlink()  # pooch's temporary file is private
        download(url, output, pup)

    for address in addresses:
        for attempt in range(RETRIES + 1):
            try:
                pooch.retrieve(
                    address, known_hash=expected, fname=path.name, path=path.parent, downloader=with_own_permissions
                )
            except ValueError as error:  # other bytes than expected
                failures.append(f"{address}: {str(error).partition('. ')[0]}")
                hint = f"The data may be damaged there, or have changed{accept}."
            except requests.RequestException as error:
                if attempt < RETRIES and _may_be_temporary(error):
                    time.sleep(BACKOFF_S * 2**attempt)
                    continue
                failures.append(f"{address}: {' '.join(str(error).split())[:300]}")
            except OSError as error:
                raise DownloadError(f"cannot be written: {error.strerror or error}.", path=path) from error
            else:
                return
            break
    raise DownloadError(f"no address gave the file: {'; '.join(failures)}.", hint=hint, path=path)


def _may_be_temporary(error: requests.RequestException) -> bool:
    """Whether another attempt could succeed: not after an answer such as 404."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return error.response.status_code >= 500 or error.response.status_code in (408, 429)
    transient = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
    return isinstance(error, transient)


def _checked_name(name: str) -> PurePosixPath:
    parts = PurePosixPath(name)
    if not parts.name or parts.is_absolute() or ".." in parts.parts or "\\" in name or ":" in name:
        raise RecipeError(field="the file name", value=name, expected="a relative path inside the cache")
    return parts


def _is_offline() -> bool:
    value = os.environ.get("TRIPTYCH_OFFLINE", "")
    if value not in ("", "0", "1"):
        raise RecipeError(field="TRIPTYCH_OFFLINE", value=value, expected="1 (no downloads) or 0")
    return value == "1"
