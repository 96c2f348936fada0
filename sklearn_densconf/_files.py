"""Files that are there whole or not at all, and arrays with a checksum. A leaf.

Everything is written under another name beside its place, brought to the disk, and then renamed,
which POSIX and Windows do in one step: whoever dies meanwhile, a reader never sees half a file.
The other name tells whose it is, so that what dead processes left can be swept.

An array is an ordinary .npy file with a checksum behind its values, where numpy does not look.
"""

import hashlib
import os
import re
import shutil
import socket
import sys
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO
from weakref import WeakSet

import numpy as np

UNFINISHED = "unfinished-"  # how the names of all that is temporary begin
_NAME = re.compile(rf"{UNFINISHED}(?:([0-9a-f]{{12}})-(\d+)-)?[0-9a-f]{{32}}\.tmp")
_DAY = 86400.0  # seconds, after which what another machine left counts as dead
_BLOCK = 2**20  # bytes read at once


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
        The name to write to, in the same folder; removed if anything fails. What dead processes
        left there is removed, too.
    """
    sweep(path.parent)
    with naming(path), _unfinished(path.parent) as unfinished:
        yield unfinished
        _bring_to_disk(unfinished)
        unfinished.replace(path)
        _bring_to_disk(path.parent)


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
    sweep(folder)
    with naming(folder), _unfinished(folder) as unfinished:
        unfinished.mkdir()
        yield unfinished
        written = sorted(unfinished.iterdir())
        for path in written:
            _bring_to_disk(path)
        for path in written:
            path.replace(folder / path.name)
        _bring_to_disk(folder)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Have errors of the disk name a file: of one that is being written they know another name.

    Parameters
    ----------
    path : Path
        What the user knows.
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename2 is None and _is_unknown(error.filename):
            error.filename = str(path)
        raise


def _is_unknown(name: Any) -> bool:
    """Tell whether a file's name in an error tells the user nothing."""
    is_name = isinstance(name, (str, bytes, os.PathLike))
    return not is_name or is_unfinished(Path(os.fsdecode(name)))


def write_content(path: Path, content: bytes) -> None:
    """Write bytes to a file: whole or not at all.

    Parameters
    ----------
    path : Path
        The file; one that is there is replaced.
    content : bytes
        What it shall hold.
    """
    with whole_file(path) as unfinished:
        unfinished.write_bytes(content)


def write_array(
    path: Path, parts: Iterable[np.ndarray], shape: tuple[int, ...], dtype: Any, key: str
) -> str:
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

    Returns
    -------
    str
        SHA-256 of the file's bytes, in hexadecimal digits.
    """
    with whole_file(path) as unfinished, unfinished.open("wb") as file:
        summed = _Summed(file, key)
        header = np.lib.format.header_data_from_array_1_0(np.empty(0, dtype))
        np.lib.format.write_array_header_2_0(summed, header | {"shape": shape})
        for part in parts:
            summed.write(np.ascontiguousarray(part, dtype).tobytes())
        return summed.close()


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


def sweep(folder: Path) -> None:
    """Delete what processes that are dead were writing in a folder, and nothing else.

    Parameters
    ----------
    folder : Path
        The folder, which need not be there. What another machine writes there is left for a day.
    """
    with suppress(OSError):
        for name in os.listdir(folder):
            if _is_left(folder / name):
                delete_unfinished(folder / name)


def is_unfinished(path: Path) -> bool:
    """Tell by its name whether a file or folder is one that was being written here."""
    return _NAME.fullmatch(path.name) is not None


def delete_unfinished(path: Path) -> None:
    """Delete a file, or a folder with its files, that was being written; it may be gone."""
    with suppress(OSError):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextmanager
def _unfinished(folder: Path) -> Iterator[Path]:
    writing = _Writing(f"{UNFINISHED}{_machine()}-{os.getpid()}-{uuid.uuid4().hex}.tmp")
    try:
        yield folder / writing.name
    finally:
        delete_unfinished(folder / writing.name)


class _Writing:
    """Lives as long as the file of this name is being written, whatever interrupts that."""

    def __init__(self, name: str) -> None:
        self.name = name
        _ALIVE.add(self)


_ALIVE: "WeakSet[_Writing]" = WeakSet()


def _is_left(path: Path) -> bool:
    """Tell whether its writer is dead."""
    found = _NAME.fullmatch(path.name)
    if found is None or path.name in {writing.name for writing in _ALIVE.copy()}:
        return False
    machine, pid = found.groups()
    if machine == _machine():
        return int(pid) == os.getpid() or not _is_running(int(pid))
    with suppress(OSError):
        return time.time() - path.stat().st_mtime > _DAY
    return False


def _is_running(pid: int) -> bool:
    if sys.platform == "win32":  # os.kill would end it
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


@cache
def _machine() -> str:
    """Return what tells process numbers of this machine, or container, from those of others."""
    about = [socket.gethostname(), str(uuid.getnode())]
    with suppress(OSError):
        about.append(os.readlink("/proc/self/ns/pid"))
    with suppress(OSError):
        about.append(Path("/proc/sys/kernel/random/boot_id").read_text())
    return hashlib.sha256(repr(about).encode()).hexdigest()[:12]


def _bring_to_disk(path: Path) -> None:
    """Have the machine write what it holds of a file or folder, so that a power cut takes none."""
    is_folder = path.is_dir()
    if is_folder and os.name == "nt":  # folders cannot be opened there
        return
    number = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
    try:
        os.fsync(number)
    except OSError:
        if not is_folder:  # some file systems cannot do it for folders
            raise
    finally:
        os.close(number)


class _Summed:
    """A file whose content is hashed while it is written."""

    def __init__(self, file: BinaryIO, key: str) -> None:
        self._file = file
        self._of_all = hashlib.sha256()
        self._keyed = hashlib.sha256(key.encode())

    def write(self, content: bytes) -> int:
        self._of_all.update(content)
        self._keyed.update(content)
        return self._file.write(content)

    def close(self) -> str:
        """Write the checksum, and return the one of all bytes."""
        self.write(self._keyed.digest())
        return self._of_all.hexdigest()
