"""Results that threads compute ahead of their use. A leaf."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(
    function: Callable[[Item], Result], items: Iterable[Item], *, n_threads: int, n_waiting: int
) -> Iterator[Result]:
    """Give what a function makes of each item, in order.

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
