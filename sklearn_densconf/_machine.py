"""The machine under the arrays: threads that compute ahead, BLAS's threads, malloc. A leaf.

**BLAS.** The threads of OpenBLAS wait for their next product busily, for up to 0.1 s, and whatever
computes in threads of its own takes twice its time meanwhile: the network that is next in a
pipeline, or the next fit. One thread alone wakes no others.

**malloc.** glibc gives the memory of activations back to the system after every layer or two, and
has it cleared again: much of a network's time, more where several processes do so at once.

References
----------
https://github.com/OpenMathLib/OpenBLAS/issues/3187, "Slowdown when using openblas-pthreads
alongside openmp based parallel code".
"""

import ctypes
import platform
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from functools import cache
from typing import TypeVar

from threadpoolctl import ThreadpoolController

Item = TypeVar("Item")
Result = TypeVar("Result")

FEWEST = 2**13  # multiplications: fewer are left to one thread by OpenBLAS itself
MOST = 2**28  # multiplications: 10 ms of one thread
_LIMITED = threading.Lock()  # by one caller at a time, who restores the threads that there were

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # as in glibc's malloc.h
_LARGEST = 2**25  # bytes: larger blocks glibc always takes from the system
_KEPT = 2**30  # bytes


def ahead(
    function: Callable[[Item], Result], items: Iterable[Item], *, n_threads: int, n_waiting: int
) -> Iterator[Result]:
    """Yield what a function makes of each item, in order.

    Parameters
    ----------
    function : callable
        From an item to a result. It sees numpy's error state as it is here.
    items : iterable
        The items.
    n_threads : int
        How many threads compute.
    n_waiting : int
        How many results there may be before they are wanted.

    Yields
    ------
    object
        The results.
    """
    waiting: deque[Future[Result]] = deque()
    threads = ThreadPoolExecutor(n_threads, thread_name_prefix="densconf")
    try:
        for item in items:
            waiting.append(threads.submit(copy_context().run, function, item))
            if len(waiting) > n_waiting:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        threads.shutdown(cancel_futures=True)


@contextmanager
def one_thread_if_few(n_multiplications: float) -> Iterator[None]:
    """Compute with one thread of BLAS, if that is soon done."""
    if not (FEWEST <= n_multiplications < MOST and _LIMITED.acquire(blocking=False)):
        yield
        return
    try:
        with _libraries().limit(limits=1):
            yield
    finally:
        _LIMITED.release()


def number_of_threads() -> int:
    """Return how many BLAS may use: what else computes in threads takes as many."""
    return max((about["num_threads"] for about in _libraries().info()), default=1)


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")


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
