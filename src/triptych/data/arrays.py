"""Arrays in `.npy` and `.npz` files. Nothing pickled is ever loaded."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.data.files import open_raw
from triptych.errors import DataError

DAMAGE = (ValueError, EOFError, OSError, zlib.error, zipfile.BadZipFile, NotImplementedError, MemoryError)


def read_npy(path: Path) -> NDArray[Any]:
    """The array of an `.npy` file.

    Raises:
        DataError: the file is missing or damaged, or holds Python objects, which would be unpickled.
    """
    with open_raw(path) as stream:
        return _array(stream, path)


def read_npz(path: Path, choose: Callable[[list[str]], Iterable[str]]) -> dict[str, NDArray[Any]]:
    """Some arrays of an `.npz` file, by name; the others are not read.

    Args:
        path: the file.
        choose: the names to read, of all names in the file.
    Raises:
        DataError: the file is missing or damaged, or a chosen array holds Python objects, which would be unpickled.
    """
    with open_raw(path) as stream:
        try:
            archive = zipfile.ZipFile(stream)
        except DAMAGE as error:
            raise _damaged(path, ".npz", error) from error
        with archive:
            members = {name.removesuffix(".npy"): name for name in archive.namelist()}
            arrays = {}
            for name in choose(list(members)):
                try:
                    content = archive.open(members[name])
                except DAMAGE as error:
                    raise _damaged(path, ".npz", error) from error
                with content:
                    arrays[name] = _array(content, path, name=name)
    return arrays


def _array(stream: Any, path: Path, *, name: str = "") -> NDArray[Any]:
    try:
        found: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    except DAMAGE as error:
        if "Object arrays" in str(error):
            which = f"the array {name!r}" if name else "it"
            raise DataError(
                f"{which} holds pickled Python objects, which can run code and are never loaded.",
                hint="Save it with a numeric dtype, or texts as dtype str.",
                path=path,
            ) from None
        raise _damaged(path, ".npz" if name else ".npy", error) from error
    return found


def _damaged(path: Path, kind: str, error: BaseException) -> DataError:
    return DataError(f"cannot be read as {kind}: {str(error).rstrip('.')}.", hint="Save the arrays again.", path=path)
