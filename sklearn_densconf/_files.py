"""Files that are there whole or not at all, and arrays with a checksum. A leaf.

Everything is written under another name beside its place and then renamed, which POSIX and
Windows do in one step: whoever dies meanwhile, a reader never sees half a file.

An array is an ordinary .npy file with a checksum behind its values, where numpy does not look.
"""

import hashlib
import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import numpy as np

UNFINISHED = "unfinished-"  # how the names of all that is temporary begin


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield another name to write to; the file gets its own name only once it is whole.

    Parameters
    ----------
    path : Path
        The file's own name; a file that is there is replaced.

    Yields
    ------
    Path
        The name to write to, in the same folder; removed if anything fails.
    """
    unfinished = path.with_name(f"{UNFINISHED}{uuid.uuid4().hex}.tmp")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def whole_files(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder; its files move into ``folder`` together, once all are written.

    Parameters
    ----------
    folder : Path
        Where the files shall be, made if it is missing; files of the same names are replaced.

    Yields
    ------
    Path
        The folder to write to; removed, with all that is in it, if anything fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=UNFINISHED) as name:
        yield Path(name)
        for path in sorted(Path(name).iterdir()):
            os.replace(path, folder / path.name)


def write_array(
    path: Path, parts: Iterable[np.ndarray], shape: tuple[int, ...], dtype: Any, key: str
) -> None:
    """Write an array in parts, and a checksum behind it: whole or not at all.

    Not mapped into memory: where the disk is full a write raises OSError, a page ends the process.

    Parameters
    ----------
    path : Path
        The .npy file; one that is there is replaced.
    parts : iterable of ndarray
        Its rows, in order.
    shape : tuple of int
        Shape of the whole array.
    dtype : dtype
        Its type, which is not object.
    key : str
        What the array is; it enters the checksum, so that no other array passes for this one.
    """
    with whole_file(path) as unfinished, unfinished.open("wb") as file:
        summed = _Summed(file, key)
        header = np.lib.format.header_data_from_array_1_0(np.empty(0, dtype))
        np.lib.format.write_array_header_2_0(summed, header | {"shape": shape})
        for part in parts:
            summed.write(np.ascontiguousarray(part, dtype).tobytes())
        file.write(summed.digest.digest())


def is_sound(path: Path, key: str, n_rows: int) -> bool:
    """Check that `write_array` wrote a file under this key, with so many rows.

    Parameters
    ----------
    path : Path
        The file, which need not be there.
    key : str
        The key it was written with.
    n_rows : int
        Number of rows it should have.

    Returns
    -------
    bool
        Whether it is there, and as it was written.
    """
    if not path.is_file():
        return False
    digest = hashlib.sha256(key.encode())
    n_bytes = path.stat().st_size - digest.digest_size
    with path.open("rb") as file:
        while n_bytes > 0 and (content := file.read(min(n_bytes, _BLOCK))):
            digest.update(content)
            n_bytes -= len(content)
        if n_bytes or file.read() != digest.digest():
            return False
    return np.load(path, mmap_mode="r").shape[:1] == (n_rows,)


class _Summed:
    """A file whose content is hashed while it is written."""

    def __init__(self, file: BinaryIO, key: str) -> None:
        self._file = file
        self.digest = hashlib.sha256(key.encode())

    def write(self, content: bytes) -> int:
        self.digest.update(content)
        return self._file.write(content)


_BLOCK = 2**20  # bytes read at once
