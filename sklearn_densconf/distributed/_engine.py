"""Tasks that share one model, run through joblib.

It does not import torch: a worker that measures plain features starts in a second, not in five.
"""

import os
import uuid
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import joblib

from sklearn_densconf._files import UNFINISHED
from sklearn_densconf._machine import keep_freed_memory
from sklearn_densconf.distributed._model_file import forget_model, read_model, write_model

DEATHS = 3  # of workers, after which a shard is given up


def each(
    task: Callable[[Any, Any], Any],
    model: Any,
    shards: Iterable[Any],
    n_jobs: int | None,
    folder: str | os.PathLike[str] | None,
) -> Generator[Any, None, None]:
    """Give ``task(model, shard)`` of each shard, in the order in which they come.

    Parameters
    ----------
    task : callable
        Runs in the worker.
    model : object
        What all tasks share: written to a file once, read once in each process.
    shards : iterable
        Taken one by one, a few ahead of the workers.
    n_jobs : int or None
        Workers, as in `joblib.Parallel`.
    folder : path or None
        Folder that all workers see, for the model's file, which is removed in the end.

    Yields
    ------
    object
        The result of a shard.

    Raises
    ------
    BrokenProcessPool
        If processes of this machine die three times without a result between.
    RuntimeError
        If three workers of a cluster die while they run the same shard.
    """
    if folder is not None:
        os.makedirs(folder, exist_ok=True)
    with TemporaryDirectory(prefix=UNFINISHED, dir=folder, ignore_cleanup_errors=True) as name:
        home = Path(name)
        write_model(model, home)
        try:
            yield from _persistently(task, home, shards, n_jobs)
        finally:
            forget_model()  # this process may have been a worker


def _persistently(
    task: Callable[[Any, Any], Any], home: Path, shards: Iterable[Any], n_jobs: int | None
) -> Iterator[Any]:
    """Give the results; shards of a dead worker are run again."""
    waiting: dict[int, Any] = {}  # given out, and without a result so far
    fresh = enumerate(shards)
    deaths = 0  # in a row
    while True:
        given_out = _given_out(waiting, fresh)
        calls = (joblib.delayed(_call)(task, home, os.getpid(), *item) for item in given_out)
        try:
            for index, result in _parallel(n_jobs)(calls):
                del waiting[index]
                deaths = 0
                yield result
            return
        except BrokenProcessPool as error:  # loky gives up all that is under way
            deaths += 1
            if deaths == DEATHS:
                raise
            warnings.warn(
                f"a worker died, {len(waiting)} shards are run again: {error}",
                RuntimeWarning,
                stacklevel=4,
            )


def _parallel(n_jobs: int | None) -> joblib.Parallel:
    try:
        return joblib.Parallel(n_jobs, return_as="generator_unordered", batch_size=1)
    except ValueError:  # "multiprocessing" and Ray's backend give nothing before all is done
        return joblib.Parallel(n_jobs, batch_size=1)


def _given_out(waiting: dict[int, Any], fresh: Iterator[tuple[int, Any]]) -> Iterator[Any]:
    """Give the shards that wait for a second run, then new ones."""
    yield from list(waiting.items())
    for index, shard in fresh:
        waiting[index] = shard
        yield index, shard


def _call(
    task: Callable[[Any, Any], Any], home: Path, caller: int, index: int, shard: Any
) -> tuple[int, Any]:
    if os.getpid() != caller:
        keep_freed_memory()
    model = read_model(home)
    with _marked(home, index):
        return index, task(model, shard)


@contextmanager
def _marked(home: Path, index: int) -> Iterator[None]:
    """Leave a mark of a shard for as long as it is under way: longer, if the worker dies.

    Dask gives up a task after four deaths; joblib 1.6 then waits for it for ever.
    """
    deaths = len(list(home.glob(f"{index}-*")))
    if deaths >= DEATHS:
        raise RuntimeError(
            f"{deaths} workers died while they ran shard {index}: out of memory? Make the shards "
            "smaller, or look at what is in that one"
        )
    mark = home / f"{index}-{uuid.uuid4().hex}"
    mark.touch()
    try:
        yield
    finally:
        mark.unlink(missing_ok=True)  # gone with its folder, if nobody waits for the shard
