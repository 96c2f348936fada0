"""The threads of BLAS: how many there are, and one for small products. A leaf.

The threads of OpenBLAS wait for their next product busily, for up to 0.1 s, and whatever computes
in threads of its own takes twice its time meanwhile: the network that is next in a pipeline, or
the next fit. One thread alone wakes no others.

References
----------
https://github.com/OpenMathLib/OpenBLAS/issues/3187, "Slowdown when using openblas-pthreads
alongside openmp based parallel code".
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController

FEWEST = 2**13  # multiplications: fewer are left to one thread by OpenBLAS itself
MOST = 2**28  # multiplications: 10 ms of one thread
_LIMITED = threading.Lock()  # by one user at a time, who gives back the threads that there were


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
    """Give how many BLAS may use: what else computes in threads takes as many."""
    return max((about["num_threads"] for about in _libraries().info()), default=1)


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")
