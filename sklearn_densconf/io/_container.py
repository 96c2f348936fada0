"""The file: JSON and arrays behind it, all under one checksum. It knows no estimators.

Eight letters say what it is, then come the version of the layout, the length of the JSON, the
JSON, the arrays, each at a multiple of `ALIGNMENT`, and the SHA-256 of all that. Nothing in it
is pickled.
"""

import hashlib
import json
import re
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sklearn_densconf._files import whole_file

MAGIC = b"densconf"
VERSION = 1
ALIGNMENT = 64  # bytes
_START = struct.Struct("<8sIQ")
_CHECKSUM = 32  # bytes
_DTYPE = re.compile(r"[<>|=]?[biufcSUmM]\d+(\[\d*\w+\])?")


def write(path: Path, content: Any, arrays: list[np.ndarray]) -> None:
    """Write a file: whole or not at all.

    Parameters
    ----------
    path : Path
        Its name; a file that is there is replaced.
    content : object
        What JSON can hold, without NaN and infinities.
    arrays : list of ndarray
        None of dtype object. They are written in their own order, or in that of C.
    """
    orders = [_order(array) for array in arrays]
    starts = list(_starts(arrays))
    about = [
        {"dtype": array.dtype.str, "shape": array.shape, "order": order, "start": start}
        for array, order, start in zip(arrays, orders, starts, strict=True)
    ]
    header = json.dumps({"content": content, "arrays": about}, allow_nan=False).encode()
    digest = hashlib.sha256()
    with whole_file(path) as unfinished, unfinished.open("wb") as file:
        for part in _parts(header, zip(arrays, orders, strict=True)):
            digest.update(part)
            file.write(part)
        file.write(digest.digest())


def read(path: Path) -> tuple[Any, list[np.ndarray]]:
    """Read a file, after a look at all of it.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    content : object
        What was written.
    arrays : list of ndarray
        Copies, in the order in memory that they had.

    Raises
    ------
    ValueError
        If it is no such file, a newer version has written it, or it is damaged.
    """
    whole = path.read_bytes()
    if len(whole) < _START.size or not whole.startswith(MAGIC):
        raise ValueError(f"{path} was not written by sklearn_densconf.io.save")
    _, version, n_bytes = _START.unpack_from(whole)
    if version != VERSION:
        raise ValueError(
            f"{path} is of version {version}, and this version of sklearn_densconf reads {VERSION}:"
            " it is from a newer version, or damaged; update sklearn_densconf"
        )
    if hashlib.sha256(memoryview(whole)[:-_CHECKSUM]).digest() != whole[-_CHECKSUM:]:
        raise ValueError(f"{path} is damaged: its checksum is another; copy or save it again")
    begin, end = _START.size + n_bytes, len(whole) - _CHECKSUM
    try:
        header = json.loads(whole[_START.size : begin])
        data = memoryview(whole)[_aligned(begin) : end]
        return header["content"], [_array(about, data) for about in header["arrays"]]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} holds no estimator ({error!r}): save it again") from error


def _order(array: np.ndarray) -> Literal["C", "F"]:
    """Return the order in memory: BLAS sums arrays of another order in another way."""
    return "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"


def _starts(arrays: list[np.ndarray]) -> Iterator[int]:
    start = 0
    for array in arrays:
        yield start
        start = _aligned(start + array.nbytes)


def _parts(
    header: bytes, arrays: Iterable[tuple[np.ndarray, Literal["C", "F"]]]
) -> Iterator[bytes]:
    """Yield what the file consists of, padding included."""
    yield from _padded(_START.pack(MAGIC, VERSION, len(header)) + header)
    for array, order in arrays:
        yield from _padded(array.tobytes(order))


def _padded(content: bytes) -> Iterator[bytes]:
    yield content
    yield bytes(_aligned(len(content)) - len(content))


def _array(about: dict[str, Any], data: memoryview) -> np.ndarray:
    shape, start = tuple(about["shape"]), about["start"]
    if not _DTYPE.fullmatch(about["dtype"]) or about["order"] not in ("C", "F"):
        raise ValueError(f"an array is {about}")
    if not all(type(number) is int and number >= 0 for number in (*shape, start)):
        raise ValueError(f"an array is {about}")
    dtype = np.dtype(about["dtype"])
    return np.ndarray(shape, dtype, data, start, order=about["order"]).copy("K")


def _aligned(n_bytes: int) -> int:
    return -(-n_bytes // ALIGNMENT) * ALIGNMENT
