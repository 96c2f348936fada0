"""One thread for small products of matrices, where a network may be next. A leaf.

The threads of OpenBLAS wait for their next product busily, for up to 0.1 s, and a network on the
same cores takes twice its time meanwhile. One thread alone wakes no others.

References
----------
https://github.com/OpenMathLib/OpenBLAS/issues/3187, "Slowdown when using openblas-pthreads
alongside openmp based parallel code".
"""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController

FEWEST = 2**13  # multiplications: fewer are left to one thread by OpenBLAS itself
MOST = 2**28  # multiplications: 10 ms of one thread; a network takes longer for such a batch
_LIMITED = threading.Lock()  # by one user at a time, who gives back the threads that there were


@contextmanager
def one_thread_if_few(n_multiplications: float) -> Iterator[None]:
    """Compute with one thread of BLAS, if that is soon done and torch is loaded."""
    few = FEWEST <= n_multiplications < MOST and "torch" in sys.modules
    if not (few and _LIMITED.acquire(blocking=False)):
        yield
        return
    try:
        with _libraries().limit(limits=1):
            yield
    finally:
        _LIMITED.release()


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")
