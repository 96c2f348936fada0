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

from sklearn_densconf._files import UNFINISHED, naming
from sklearn_densconf._machine import keep_freed_memory
from sklearn_densconf.distributed._model_file import forget_model, read_model, write_model

DEATHS = 3  # of workers, after which a shard is abandoned


def each(
    task: Callable[[Any, Any], Any],
    model: Any,
    shards: Iterable[Any],
    n_jobs: int | None,
    folder: str | os.PathLike[str] | None,
) -> Generator[Any, None, None]:
    """Yield ``task(model, shard)`` for each shard, in the order in which they finish.

    Parameters
    ----------
    task : callable
        Runs in the worker.
    model : object
        Shared by all tasks: written to a file once, read once in each process.
    shards : iterable
        Taken one by one, a few ahead of the workers.
    n_jobs : int or None
        Workers, as in `joblib.Parallel`.
    folder : path or None
        Folder that all workers see, for the model's file, which is removed at the end.

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
    prefix = f"{UNFINISHED}model-"
    with TemporaryDirectory(prefix=prefix, dir=folder, ignore_cleanup_errors=True) as name:
        model_folder = Path(name)
        with naming(model_folder):
            write_model(model, model_folder)
        try:
            yield from _persistently(task, model_folder, shards, n_jobs)
        finally:
            forget_model()  # this process may have been a worker


def _persistently(
    task: Callable[[Any, Any], Any], model_folder: Path, shards: Iterable[Any], n_jobs: int | None
) -> Iterator[Any]:
    """Yield the results; run the shards of a dead worker again."""
    waiting: dict[int, Any] = {}  # sent to a worker, and without a result so far
    fresh = enumerate(shards)
    deaths = 0  # in a row
    while True:
        sent = _sent(waiting, fresh)
        calls = (joblib.delayed(_call)(task, model_folder, os.getpid(), *item) for item in sent)
        try:
            for index, result in _parallel(n_jobs)(calls):
                del waiting[index]
                deaths = 0
                yield result
            return
        except BrokenProcessPool as error:  # loky abandons all tasks that are running
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
    except ValueError:  # "multiprocessing" and Ray's backend return nothing before all is done
        return joblib.Parallel(n_jobs, batch_size=1)


def _sent(waiting: dict[int, Any], fresh: Iterator[tuple[int, Any]]) -> Iterator[Any]:
    """Yield the shards that wait for a second run, then new ones."""
    yield from list(waiting.items())
    for index, shard in fresh:
        waiting[index] = shard
        yield index, shard


def _call(
    task: Callable[[Any, Any], Any], model_folder: Path, caller: int, index: int, shard: Any
) -> tuple[int, Any]:
    if os.getpid() != caller:
        keep_freed_memory()
    model = read_model(model_folder)
    with _marked(model_folder, index):
        return index, task(model, shard)


@contextmanager
def _marked(model_folder: Path, index: int) -> Iterator[None]:
    """Keep a file while a shard runs; it stays if the worker dies, so that deaths can be counted.

    Dask abandons a task after four deaths of its workers; joblib 1.6 then waits for it for ever.
    """
    deaths = len(list(model_folder.glob(f"{index}-*")))
    if deaths >= DEATHS:
        raise RuntimeError(
            f"{deaths} workers died while they ran shard {index}: out of memory? Make the shards "
            "smaller, or check the contents of this one"
        )
    mark = model_folder / f"{index}-{uuid.uuid4().hex}"
    mark.touch()
    try:
        yield
    finally:
        mark.unlink(missing_ok=True)  # it may be gone with its folder, when the caller has stopped
