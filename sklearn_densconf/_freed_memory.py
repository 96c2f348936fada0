"""Freed memory that a process keeps while a network computes on its CPU. A leaf.

glibc gives the memory of activations back to the system after every layer or two, and has it
cleared again: a third of MobileNetV2's time, more where several processes do so at once.
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
_LOCK = threading.Lock()
_users = 0


def keep_freed_memory() -> None:
    """Keep it until the process ends: for workers, which do nothing else; call it as you like."""
    global _users  # noqa: PLW0603 - the setting is the process's
    with _LOCK:
        _users += 1
        _limit(_KEPT)


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep it for a while, up to 1 GiB; what is kept then goes back as soon as more is freed.

    Afterwards the thresholds are those that glibc comes to by itself, in a process that has freed
    one block of 32 MiB.
    """
    global _users  # noqa: PLW0603
    keep_freed_memory()
    try:
        yield
    finally:
        with _LOCK:
            _users -= 1
            if _users == 0:
                _limit(2 * _LARGEST)


def _limit(n_bytes: int) -> None:
    """Set how much freed memory is kept."""
    libc = _libc()
    if libc is not None:
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST)
        libc.mallopt(_M_TRIM_THRESHOLD, n_bytes)


@cache
def _libc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
