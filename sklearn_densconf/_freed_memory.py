"""Freed memory that a process keeps while a network computes on its CPU. A leaf.

glibc gives the memory of activations back to the system after every layer or two, and has it
cleared again: much of a network's time, more where several processes do so at once.
"""

import ctypes
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # as in glibc's malloc.h
_LARGEST = 2**25  # bytes: larger blocks glibc always takes from the system
_KEPT = 2**30  # bytes


class _Malloc:
    """The process's malloc, and how many have asked it to keep what is freed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0

    def add(self, n_users: int) -> None:
        """Count users who come, or go (-1); only while there are any, freed memory is kept."""
        with self._lock:
            self._users += n_users
            libc = _libc()
            if libc is not None:
                libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST)
                libc.mallopt(_M_TRIM_THRESHOLD, _KEPT if self._users else 2 * _LARGEST)


_MALLOC = _Malloc()


def keep_freed_memory() -> None:
    """Keep it until the process ends: for workers, which do nothing else; call it as you like."""
    _MALLOC.add(1)


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep it for a while, up to 1 GiB; what is kept then goes back as soon as more is freed.

    Afterwards the thresholds are those that glibc comes to by itself, in a process that has freed
    one block of 32 MiB.
    """
    _MALLOC.add(1)
    try:
        yield
    finally:
        _MALLOC.add(-1)


@cache
def _libc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
